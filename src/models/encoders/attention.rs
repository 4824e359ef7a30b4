//! Scaled dot-product attention over the heads of a batch whose tokens lie in rows, as several families
//! compute it.
//!
//! `B` examples, `T` tokens, `H` hidden size, `A` heads, `D = H / A`, `R >= B T` rows.

use tch::{Kind, Tensor};

use super::super::{ModelError, TokenBatch, dropout::dropout};

/// What attention must know of the examples that lie in `R` rows.
#[derive(Debug)]
pub(super) struct Shape {
    /// `B`.
    pub(super) examples: i64,
    /// `T`.
    pub(super) tokens: i64,
    /// Added to the scores: `[B, 1, 1, T]`, or `[B, A, T, T]` where a family adds more than a mask.
    pub(super) bias: Option<Tensor>,
}

impl Shape {
    /// Of a batch whose attention only leaves padding out.
    pub(super) fn masked(batch: &TokenBatch, kind: Kind) -> Result<Self, ModelError> {
        let (examples, tokens) = batch.ids.size2()?;
        Ok(Self { examples, tokens, bias: padding_mask(batch, kind)? })
    }

    /// `[R, A D]` to `[B, A, T, D]`.
    pub(super) fn split(&self, rows: &Tensor, heads: i64) -> Result<Tensor, ModelError> {
        let (b, t) = (self.examples, self.tokens);
        let heads = [b, t, heads, rows.size()[1] / heads];
        Ok(rows.f_narrow(0, 0, b * t)?.f_view(heads)?.f_transpose(1, 2)?)
    }
}

/// `[B, 1, 1, T]`, to be added to the scores of every head and query: 0 at tokens, -∞ at padding. Absent where
/// nothing is padded.
pub(super) fn padding_mask(batch: &TokenBatch, kind: Kind) -> Result<Option<Tensor>, ModelError> {
    let Some(mask) = &batch.mask else { return Ok(None) };
    let zeros = Tensor::f_zeros(mask.size(), (kind, mask.device()))?;
    let mask = zeros.f_masked_fill(&mask.f_logical_not()?, f64::NEG_INFINITY)?;
    Ok(Some(mask.f_unsqueeze(1)?.f_unsqueeze(1)?))
}

/// `softmax(Q K^T / √D + bias) V` of each head (Vaswani et al. 2017, arXiv 1706.03762, eq. 1): three of `[R, H]` to
/// `[B T, H]`.
pub(super) fn attend(
    parts: [Tensor; 3],
    heads: i64,
    shape: &Shape,
    drop: f64,
) -> Result<Tensor, ModelError> {
    let [query, key, value] = parts.map(|rows| shape.split(&rows, heads));
    attend_heads([&query?, &key?, &value?], shape.bias.as_ref(), None, drop)
}

/// `softmax(scale Q K^T + bias) V` of heads that are split already: three of `[B, A, T, D]` to `[B T, A D]`. The scale is
/// `1 / √D` where a family has no other. Dropout is of the softmax's values.
pub(super) fn attend_heads(
    [query, key, value]: [&Tensor; 3],
    bias: Option<&Tensor>,
    scale: Option<f64>,
    drop: f64,
) -> Result<Tensor, ModelError> {
    let attended = if drop > 0.0 {
        let scale = scale.unwrap_or_else(|| (query.size()[3] as f64).sqrt().recip());
        let scores = query.f_mul_scalar(scale)?.f_matmul(&key.f_transpose(2, 3)?)?;
        let scores = match bias {
            Some(bias) => scores.f_add(bias)?,
            None => scores,
        };
        dropout(scores.f_softmax(-1, None::<Kind>)?, drop)?.f_matmul(value)?
    } else {
        Tensor::f_scaled_dot_product_attention(query, key, value, bias, 0.0, false, scale, false)?
    };
    Ok(attended.f_transpose(1, 2)?.f_flatten(0, 1)?.f_flatten(1, 2)?)
}

/// From scores of each query and each of `W` relative positions, `[B, A, T, W]`, those of each query and key,
/// `[B, A, T, S]`: `index`, `[1, 1, T, S]` or `[B, 1, T, S]`, says where a pair's relative position stands.
pub(super) fn of_pairs(scores: &Tensor, index: &Tensor) -> Result<Tensor, ModelError> {
    let (size, pairs) = (scores.size(), index.size());
    let index = index.f_expand([size[0], size[1], pairs[2], pairs[3]], false)?;
    Ok(scores.f_gather(-1, &index, false)?)
}
