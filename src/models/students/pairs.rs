//! A batch of text pairs as twice as many texts, for models that read both with the same weights.

use tch::Kind;

use super::super::{ModelError, TokenBatch};
use crate::text::Tokens;

/// `B` pairs to `2B` texts, all first ones before all second ones. A text without tokens becomes a
/// single padding token.
pub(super) fn split(batch: &TokenBatch) -> Result<TokenBatch, ModelError> {
    let read = |tensor: &tch::Tensor| -> Result<Vec<i64>, ModelError> {
        let flat = tensor.f_to_device(tch::Device::Cpu)?.f_to_kind(Kind::Int64)?.f_flatten(0, 1)?;
        Ok(Vec::<i64>::try_from(flat)?)
    };
    let (ids, types) = (read(&batch.ids)?, read(&batch.type_ids)?);
    let width = batch.ids.size()[1] as usize;
    let mut texts: [Vec<Tokens>; 2] = [Vec::new(), Vec::new()];
    for (row, &length) in batch.lengths.iter().enumerate() {
        let mut pair = [Tokens::default(), Tokens::default()];
        for at in row * width..row * width + length {
            pair[usize::from(types[at] != 0)].ids.push(ids[at]);
        }
        for (texts, mut text) in texts.iter_mut().zip(pair) {
            text.type_ids = vec![0; text.ids.len()];
            texts.push(text);
        }
    }
    TokenBatch::new(&texts.iter().flatten().collect::<Vec<_>>(), batch.ids.device())
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    #[test]
    fn first_texts_come_before_second_ones_and_an_absent_one_is_padding() {
        let tokens = |ids: &[i64], types: &[i64]| Tokens {
            ids: ids.into(),
            type_ids: types.into(),
            truncated: false,
        };
        let (pair, single) = (tokens(&[4, 5, 6], &[0, 1, 1]), tokens(&[7], &[0]));
        let batch = TokenBatch::new(&[&pair, &single], Device::Cpu).unwrap();
        let texts = split(&batch).unwrap();
        assert_eq!(texts.lengths, [1, 1, 2, 1]);
        let ids = Vec::<i64>::try_from(texts.ids.flatten(0, 1)).unwrap();
        assert_eq!(ids, [4, 0, 7, 0, 5, 6, 0, 0]);
    }
}
