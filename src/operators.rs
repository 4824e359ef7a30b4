//! Operators of libtorch that `tch` has no function for, reached through `TorchScript`: oneDNN's matrix
//! products with weights laid out beforehand, and AdamW in one pass over many parameters.
//!
//! The `.torchscript` files beside this one are all there is to read: the modules hold no weights, they are
//! arguments. libtorch reads modules from archives only, so one is made around each in memory.

use std::{
    fmt,
    io::{Cursor, Write as _},
};

use tch::{CModule, IValue, Kind, TchError, Tensor};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

const PRODUCTS: &str = include_str!("operators.torchscript");
const ADAMW: &str = include_str!("operators_adamw.torchscript");

/// The module's state, pickled as protocol 2: an object of class `__torch__.Operators` whose one
/// attribute is `training = False`.
const STATE: &[u8] = b"\x80\x02c__torch__\nOperators\n)\x81}X\x08\x00\x00\x00training\x89sb.";

/// The source's constants, pickled as protocol 2: the empty tuple.
const CONSTANTS: &[u8] = b"\x80\x02).";

fn module(source: &str) -> Result<CModule, TchError> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, bytes) in [
        ("operators/data.pkl", STATE),
        ("operators/constants.pkl", CONSTANTS),
        ("operators/code/__torch__.py", source.as_bytes()),
        ("operators/version", b"3\n"),
    ] {
        archive.start_file(name, stored).map_err(std::io::Error::from)?;
        archive.write_all(bytes)?;
    }
    let archive = archive.finish().map_err(std::io::Error::from)?;
    CModule::load_data(&mut archive.into_inner().as_slice())
}

/// The matrix products of `operators.torchscript`.
pub(crate) struct Operators(CModule);

impl Operators {
    /// Fails where this libtorch was built without them.
    pub(crate) fn load() -> Result<Self, TchError> {
        module(PRODUCTS).map(Self)
    }

    /// `[output, input]` as [`linear`](Self::linear) wants it.
    pub(crate) fn pack(&self, weight: &Tensor) -> Result<Tensor, TchError> {
        self.0.method_ts("pack", &[weight])
    }

    /// `x W^T + b`; the weight comes from [`pack`](Self::pack).
    pub(crate) fn linear(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
    ) -> Result<Tensor, TchError> {
        self.0.method_ts("linear", &[x, weight, bias])
    }

    /// The exact GELU of [`linear`](Self::linear), computed before the product leaves the cache.
    pub(crate) fn linear_gelu(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
    ) -> Result<Tensor, TchError> {
        self.0.method_ts("linear_gelu", &[x, weight, bias])
    }

    /// `[output, input]` int8 as [`linear_int8`](Self::linear_int8) wants it.
    pub(crate) fn pack_int8(&self, weight: &Tensor) -> Result<Tensor, TchError> {
        self.0.method_ts("pack_int8", &[weight])
    }

    /// `(x - 128) W^T`, each output times its step, as float32. The sums are exact.
    ///
    /// - `x`: `[R, input]` uint8
    /// - `weight`: from [`pack_int8`](Self::pack_int8)
    /// - `steps`: `[output]` float32
    /// - `zeros`: `[output]` int64, all zero: the weight's own zero points
    pub(crate) fn linear_int8(
        &self,
        x: &Tensor,
        weight: &Tensor,
        steps: &Tensor,
        zeros: &Tensor,
    ) -> Result<Tensor, TchError> {
        self.0.method_ts("linear_int8", &[x, weight, steps, zeros])
    }
}

/// Parameters that take a step together, with their gradients and both moments, in one order.
#[derive(Debug, Default)]
pub(crate) struct Stepping {
    pub(crate) values: Vec<Tensor>,
    pub(crate) gradients: Vec<Tensor>,
    pub(crate) first: Vec<Tensor>,
    pub(crate) second: Vec<Tensor>,
}

/// `AdamW` (Loshchilov and Hutter 2019, arXiv 1711.05101, algorithm 2) with β₁ = 0.9, β₂ = 0.999, ε = 1e-8, which reads
/// and writes each value once; single operations take four times as long.
pub(crate) struct FusedAdamW(CModule);

impl FusedAdamW {
    pub(crate) fn load() -> Result<Self, TchError> {
        module(ADAMW).map(Self)
    }

    /// The `step`th step, in place. Without weight decay this is Adam.
    pub(crate) fn step(
        &self,
        tensors: Stepping,
        step: i32,
        lr: f64,
        weight_decay: f64,
    ) -> Result<(), TchError> {
        let Some(value) = tensors.values.first() else { return Ok(()) };
        let step = Tensor::f_full([1], f64::from(step), (Kind::Float, value.device()))?;
        let steps = tensors.values.iter().map(|_| step.shallow_clone()).collect();
        let lists = [tensors.values, tensors.gradients, tensors.first, tensors.second, steps];
        let numbers = [lr, weight_decay].map(IValue::Double);
        let arguments: Vec<_> = lists.map(IValue::TensorList).into_iter().chain(numbers).collect();
        self.0.method_is("adamw", &arguments).map(drop)
    }
}

impl fmt::Debug for FusedAdamW {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("FusedAdamW")
    }
}

impl fmt::Debug for Operators {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("Operators")
    }
}
