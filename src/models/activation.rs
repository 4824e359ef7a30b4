//! The activations that checkpoints name in `config.json`.

use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::ModelError;

/// A function of each value alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Activation {
    /// Exact GELU, with the error function.
    #[default]
    #[serde(rename = "gelu")]
    Gelu,
    /// GELU by tanh.
    #[serde(rename = "gelu_new", alias = "gelu_pytorch_tanh")]
    GeluTanh,
    /// ReLU.
    #[serde(rename = "relu")]
    Relu,
    /// Hyperbolic tangent.
    #[serde(rename = "tanh")]
    Tanh,
}

impl Activation {
    /// [`apply`](Self::apply) in the memory of `x`, which nobody else has, unless gradients need it.
    pub(super) fn apply_to(self, mut x: Tensor) -> Result<Tensor, ModelError> {
        if x.requires_grad() {
            return self.apply(&x);
        }
        Ok(match self {
            Self::Gelu => x.f_gelu_("none")?,
            Self::GeluTanh => x.f_gelu_("tanh")?,
            Self::Relu => x.f_relu_()?,
            Self::Tanh => x.f_tanh_()?,
        })
    }

    pub(super) fn apply(self, x: &Tensor) -> Result<Tensor, ModelError> {
        Ok(match self {
            Self::Gelu => x.f_gelu("none")?,
            Self::GeluTanh => x.f_gelu("tanh")?,
            Self::Relu => x.f_relu()?,
            Self::Tanh => x.f_tanh()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    #[test]
    fn an_activation_in_place_is_the_same_and_leaves_gradients_what_they_need() {
        use Activation::{Gelu, GeluTanh, Relu, Tanh};
        let x = Tensor::linspace(-3.0, 3.0, 13, (Kind::Float, Device::Cpu));
        for activation in [Gelu, GeluTanh, Relu, Tanh] {
            let expected = activation.apply(&x).unwrap();
            assert!(activation.apply_to(x.copy()).unwrap().allclose(&expected, 1e-6, 1e-6, false));
            let trained = x.copy().set_requires_grad(true);
            activation.apply_to(&trained * 1.0).unwrap().sum(Kind::Float).backward();
            assert_eq!(trained.grad().size(), [13], "{activation:?}");
        }
    }
}
