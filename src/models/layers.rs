//! The layers that models share.

use tch::Tensor;

use super::{Builder, Init, ModelError};

/// `x W^T + b`.
#[derive(Debug)]
pub(super) struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    /// `[.., input]` to `[.., output]`, named `name.weight` and `name.bias`.
    pub(super) fn new(
        builder: &Builder,
        name: &str,
        input: i64,
        output: i64,
        weight: Init,
        bias: Init,
    ) -> Result<Self, ModelError> {
        Ok(Self {
            weight: builder.get(&format!("{name}.weight"), &[output, input], weight)?,
            bias: builder.get(&format!("{name}.bias"), &[output], bias)?,
        })
    }

    /// Applies the layer to the last dimension.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        Ok(x.f_linear(&self.weight, Some(&self.bias))?)
    }
}

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
