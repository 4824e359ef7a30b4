//! Tokenised examples side by side, padded to the longest of them.

use tch::{Device, Kind, Tensor};

use super::ModelError;
use crate::text::Tokens;

/// `B` examples as tensors of `[B, T]`, `T` the longest length.
#[derive(Debug)]
pub struct TokenBatch {
    /// `[B, T]` int64; 0 where there is no token.
    pub ids: Tensor,
    /// `[B, T]` int64 segment of each token.
    pub type_ids: Tensor,
    /// `[B]` tokens of each example, at least 1.
    pub lengths: Vec<usize>,
    /// `[B, T]` bool, true at tokens; absent when no example is padded.
    pub mask: Option<Tensor>,
}

impl TokenBatch {
    /// Pads to the longest example. An example without tokens becomes a single padding token.
    pub fn new(examples: &[&Tokens], device: Device) -> Result<Self, ModelError> {
        let lengths: Vec<usize> = examples.iter().map(|e| e.len().max(1)).collect();
        let longest = lengths.iter().copied().max().unwrap_or(1);
        Self::padded_to(examples, lengths, longest, device)
    }

    fn padded_to(
        examples: &[&Tokens],
        lengths: Vec<usize>,
        width: usize,
        device: Device,
    ) -> Result<Self, ModelError> {
        let size = [examples.len() as i64, width as i64];
        let mut ids = vec![0i64; examples.len() * width];
        let mut type_ids = vec![0i64; examples.len() * width];
        for (row, tokens) in examples.iter().enumerate() {
            let at = row * width..row * width + tokens.len();
            ids[at.clone()].copy_from_slice(&tokens.ids);
            type_ids[at].copy_from_slice(&tokens.type_ids);
        }
        let to_device = |values: &[i64]| -> Result<Tensor, ModelError> {
            Ok(Tensor::f_from_slice(values)?.f_view(size)?.f_to_device(device)?)
        };
        let mask = if lengths.iter().all(|&length| length == width) {
            None
        } else {
            let positions = Tensor::f_arange(width as i64, (Kind::Int64, device))?;
            let ends: Vec<i64> = lengths.iter().map(|&length| length as i64).collect();
            let ends = Tensor::f_from_slice(&ends)?.f_to_device(device)?.f_unsqueeze(1)?;
            Some(positions.f_unsqueeze(0)?.f_lt_tensor(&ends)?)
        };
        Ok(Self { ids: to_device(&ids)?, type_ids: to_device(&type_ids)?, lengths, mask })
    }
}

#[cfg(test)]
impl TokenBatch {
    /// Pads further than needed, as an original that pads to a fixed length does.
    pub(super) fn padded(examples: &[&Tokens], width: usize) -> Result<Self, ModelError> {
        let lengths: Vec<usize> = examples.iter().map(|e| e.len()).collect();
        Self::padded_to(examples, lengths, width, crate::testing::device())
    }
}
