//! The layers that models share.

use tch::Tensor;

use super::{Builder, Init, ModelError, linear::Kernels};

/// Ba et al. 2016: normalises the last dimension, then scales and shifts.
#[derive(Debug)]
pub(super) struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    epsilon: f64,
}

impl LayerNorm {
    /// Over a last dimension of `size`; must be in the file.
    pub(super) fn new(
        builder: &Builder,
        name: &str,
        size: i64,
        epsilon: f64,
    ) -> Result<Self, ModelError> {
        Ok(Self {
            weight: builder.get(&format!("{name}.weight"), &[size], Init::Required)?,
            bias: builder.get(&format!("{name}.bias"), &[size], Init::Required)?,
            epsilon,
        })
    }

    /// The layer, laid out to be served.
    pub(super) fn served(&self, kernels: &Kernels) -> Result<Self, ModelError> {
        let (weight, bias) = (kernels.tensor(&self.weight)?, kernels.tensor(&self.bias)?);
        Ok(Self { weight, bias, epsilon: self.epsilon })
    }

    /// Applies the layer to the last dimension.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        let size = self.weight.size();
        let (weight, bias) = (Some(&self.weight), Some(&self.bias));
        Ok(x.f_layer_norm(size, weight, bias, self.epsilon, true)?)
    }
}

/// Srivastava et al. 2014; nothing at probability 0.
pub(super) fn dropout(x: Tensor, probability: f64) -> Result<Tensor, ModelError> {
    if probability > 0.0 { Ok(x.f_dropout(probability, true)?) } else { Ok(x) }
}

/// `[R, H]` with rows of zeros up to `[rows, H]`.
pub(super) fn padded_to(rows: i64, x: Tensor) -> Result<Tensor, ModelError> {
    let missing = rows - x.size()[0];
    if missing == 0 { Ok(x) } else { Ok(x.f_constant_pad_nd([0, 0, 0, missing])?) }
}
