//! The numbers that a teacher computes with.

use std::{fmt, str::FromStr};

use clap::ValueEnum;
use tch::{Device, Kind};

/// Type of the weights and activations of a forward pass. Part of a teacher's fingerprint, for it
/// changes answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Arithmetic {
    /// float32 on a CPU, float16 on a GPU
    #[default]
    Auto,
    /// As trained
    Float32,
    /// Half the memory; fast where the CPU or GPU has bfloat16 products, about 1e-2 off
    #[value(name = "bfloat16")]
    BFloat16,
    /// Half the memory; for GPUs, about 1e-3 off
    Float16,
    /// Eight-bit linear layers, quantised as they run; for CPUs
    Int8,
}

impl Arithmetic {
    /// What this means on `device`: never [`Auto`](Self::Auto).
    #[must_use]
    pub const fn on(self, device: Device) -> Self {
        match (self, device) {
            (Self::Auto, Device::Cuda(_)) => Self::Float16,
            (Self::Auto, _) => Self::Float32,
            (chosen, _) => chosen,
        }
    }

    /// Type of activations and of all weights that are not quantised.
    pub const fn kind(self) -> Kind {
        match self {
            Self::BFloat16 => Kind::BFloat16,
            Self::Float16 => Kind::Half,
            Self::Auto | Self::Float32 | Self::Int8 => Kind::Float,
        }
    }
}

impl fmt::Display for Arithmetic {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(match self {
            Self::Auto => "auto",
            Self::Float32 => "float32",
            Self::BFloat16 => "bfloat16",
            Self::Float16 => "float16",
            Self::Int8 => "int8",
        })
    }
}

/// A name that is no arithmetic.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not one of auto, float32, bfloat16, float16, int8")]
pub struct UnknownArithmetic(String);

impl FromStr for Arithmetic {
    type Err = UnknownArithmetic;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        <Self as ValueEnum>::from_str(name, false).map_err(|_| UnknownArithmetic(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for &arithmetic in Arithmetic::value_variants() {
            assert_eq!(arithmetic.to_string().parse(), Ok(arithmetic));
        }
        let error = "int4".parse::<Arithmetic>().unwrap_err();
        assert!(error.to_string().starts_with("\"int4\" is not one of auto, "), "{error}");
    }

    #[test]
    fn auto_is_exact_on_a_cpu_and_small_on_a_gpu() {
        assert_eq!(Arithmetic::Auto.on(Device::Cpu), Arithmetic::Float32);
        assert_eq!(Arithmetic::Auto.on(Device::Cuda(1)), Arithmetic::Float16);
        assert_eq!(Arithmetic::Int8.on(Device::Cpu), Arithmetic::Int8);
    }
}
