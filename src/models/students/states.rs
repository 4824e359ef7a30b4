//! States of all tokens of a batch, `[T, B, X]`: turned round, and reduced to one for each text.

use tch::Tensor;

use super::super::{ModelError, TokenBatch};

/// The maximum over each example's tokens and where it is: `[T, B, X]` to `[B, X]`, twice.
///
/// - `mask`: `[B, T]`, where there is padding
pub(super) fn maximum(
    states: &Tensor,
    mask: Option<&Tensor>,
) -> Result<(Tensor, Tensor), ModelError> {
    let masked = match mask {
        None => states.shallow_clone(),
        Some(mask) => {
            let padding = mask.f_transpose(0, 1)?.f_logical_not()?.f_unsqueeze(2)?;
            states.f_masked_fill(&padding, f64::NEG_INFINITY)?
        }
    };
    Ok(masked.f_max_dim(0, false)?)
}

/// Where each token of `[T, B]` goes when every example is reversed within its length, as indices
/// into the flat `[T · B]`. Padding stays. Applied twice it is the identity. `None` where all examples
/// are as long as the batch.
pub(super) fn reversal(batch: &TokenBatch) -> Result<Option<Tensor>, ModelError> {
    if batch.mask.is_none() {
        return Ok(None);
    }
    let (b, t) = batch.ids.size2()?;
    let flat: Vec<i64> = (0..t)
        .flat_map(|time| {
            batch.lengths.iter().enumerate().map(move |(example, &length)| {
                let length = length as i64;
                let source = if time < length { length - 1 - time } else { time };
                source * b + example as i64
            })
        })
        .collect();
    Ok(Some(Tensor::f_from_slice(&flat)?.f_to_device(batch.ids.device())?))
}

/// `[T, B, X]` with its tokens in the order of `reverse`; without one, time itself is reversed.
pub(super) fn reordered(x: &Tensor, reverse: Option<&Tensor>) -> Result<Tensor, ModelError> {
    match reverse {
        None => Ok(x.f_flip([0])?),
        Some(flat) => {
            Ok(x.f_flatten(0, 1)?.f_index_select(0, flat)?.f_view(x.size().as_slice())?)
        }
    }
}

/// `[T, B, H]` to `[B, H]`: each example's state after its last token.
pub(super) fn last_states(states: &Tensor, lengths: &[usize]) -> Result<Tensor, ModelError> {
    let b = lengths.len();
    let flat: Vec<i64> =
        lengths.iter().enumerate().map(|(i, length)| ((length - 1) * b + i) as i64).collect();
    let flat = Tensor::f_from_slice(&flat)?.f_to_device(states.device())?;
    Ok(states.f_flatten(0, 1)?.f_index_select(0, &flat)?)
}
