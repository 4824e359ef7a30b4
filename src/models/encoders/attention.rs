//! Scaled dot-product attention over the heads of a batch whose tokens lie in rows, as several families
//! compute it.
//!
//! `B` examples, `T` tokens, `H` hidden size, `A` heads, `D = H / A`, `R >= B T` rows.

use tch::{Kind, Tensor};

use super::super::{ModelError, TokenBatch, layers::dropout};

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
/// `[B T, H]`. Dropout is of the softmax's values.
pub(super) fn attend(
    [query, key, value]: [Tensor; 3],
    heads: i64,
    shape: &Shape,
    drop: f64,
) -> Result<Tensor, ModelError> {
    let (b, t, hidden) = (shape.examples, shape.tokens, query.size()[1]);
    // [R, H] -> [B, A, T, D]
    let split = |rows: Tensor| {
        let heads = [b, t, heads, hidden / heads];
        rows.f_narrow(0, 0, b * t)?.f_view(heads)?.f_transpose(1, 2)
    };
    let (query, key, value) = (split(query)?, split(key)?, split(value)?);
    let attended = if drop > 0.0 {
        let scale = ((hidden / heads) as f64).sqrt().recip();
        let scores = query.f_mul_scalar(scale)?.f_matmul(&key.f_transpose(2, 3)?)?;
        let scores = match &shape.bias {
            Some(bias) => scores.f_add(bias)?,
            None => scores,
        };
        dropout(scores.f_softmax(-1, None::<Kind>)?, drop)?.f_matmul(&value)?
    } else {
        let bias = shape.bias.as_ref();
        Tensor::f_scaled_dot_product_attention(&query, &key, &value, bias, 0.0, false, None, false)?
    };
    Ok(attended.f_transpose(1, 2)?.f_reshape([b * t, hidden])?)
}
