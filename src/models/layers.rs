//! The layers that models share.

use tch::{Device, Kind, Tensor};

use super::{Builder, Init, ModelError, linear::Kernels, weights::apart};
use crate::shared::Shared;

/// Ba et al. 2016: normalises the last dimension, then scales and shifts.
#[derive(Debug, Clone)]
pub(super) struct LayerNorm {
    weight: Shared,
    bias: Option<Shared>,
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
        Self::optional_bias(builder, name, size, epsilon, true, Init::Required)
    }

    /// With or without a shift. Where `init` does not require it of the file, a norm that changes nothing.
    pub(super) fn optional_bias(
        builder: &Builder,
        name: &str,
        size: i64,
        epsilon: f64,
        bias: bool,
        init: Init,
    ) -> Result<Self, ModelError> {
        let part = |part: &str, fresh| {
            let init = if matches!(init, Init::Required) { init } else { fresh };
            builder.get(&format!("{name}.{part}"), &[size], init).map(Shared::from)
        };
        let weight = part("weight", Init::Ones)?;
        let bias = bias.then(|| part("bias", Init::Zeros)).transpose()?;
        Ok(Self { weight, bias, epsilon })
    }

    /// The layer, laid out to be served.
    pub(super) fn served(&self, kernels: &Kernels) -> Result<Self, ModelError> {
        let bias = self.bias.as_ref().map(|bias| kernels.tensor(bias)).transpose()?;
        Ok(Self { weight: kernels.tensor(&self.weight)?, bias, epsilon: self.epsilon })
    }

    /// The same layer elsewhere, in memory of its own.
    pub(super) fn to_device(&self, device: Device) -> Result<Self, ModelError> {
        let there = |part: &Shared| apart(part, device, part.kind()).map(Shared::from);
        let bias = self.bias.as_ref().map(there).transpose()?;
        Ok(Self { weight: there(&self.weight)?, bias, epsilon: self.epsilon })
    }

    /// Applies the layer to the last dimension.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        let size = self.weight.size();
        let (weight, bias) = (Some(&*self.weight), self.bias.as_deref());
        Ok(x.f_layer_norm(size, weight, bias, self.epsilon, true)?)
    }
}

/// `[R, H]` with rows of zeros up to `[rows, H]`.
pub(super) fn padded_to(rows: i64, x: Tensor) -> Result<Tensor, ModelError> {
    let missing = rows - x.size()[0];
    if missing == 0 { Ok(x) } else { Ok(x.f_constant_pad_nd([0, 0, 0, missing])?) }
}

/// `[B, T, H]` through `layers`, as float32. Each token is a row, `[R, H]`, and rows are added up to a number that
/// the kernels like.
pub(super) fn by_rows(
    kernels: Option<&Kernels>,
    hidden: &Tensor,
    layers: impl FnOnce(Tensor) -> Result<Tensor, ModelError>,
) -> Result<Tensor, ModelError> {
    let (b, t, width) = hidden.size3()?;
    let rows = kernels.map_or(b * t, |kernels| kernels.rows(b * t));
    let rows = layers(padded_to(rows, hidden.f_reshape([b * t, width])?)?)?;
    let hidden = rows.f_narrow(0, 0, b * t)?.f_view([b, t, width])?;
    Ok(hidden.f_to_kind(Kind::Float)?)
}
