//! Operators of libtorch that `tch` has no function for, reached through `TorchScript`: oneDNN's matrix
//! products with weights laid out beforehand.
//!
//! `operators.torchscript` beside this file is all there is to read: the module holds no weights, they
//! are arguments. libtorch reads modules from archives only, so one is made around it in memory.

use std::{
    fmt,
    io::{Cursor, Write as _},
};

use tch::{CModule, Tensor};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use super::ModelError;

const SOURCE: &str = include_str!("operators.torchscript");

/// The module's state, pickled as protocol 2: an object of class `__torch__.Operators` whose one
/// attribute is `training = False`.
const STATE: &[u8] = b"\x80\x02c__torch__\nOperators\n)\x81}X\x08\x00\x00\x00training\x89sb.";

/// The source's constants, pickled as protocol 2: the empty tuple.
const CONSTANTS: &[u8] = b"\x80\x02).";

/// The operators of `operators.torchscript`.
pub(super) struct Operators(CModule);

impl Operators {
    /// Fails where this libtorch was built without them.
    pub(super) fn load() -> Result<Self, ModelError> {
        let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
        let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        for (name, bytes) in [
            ("operators/data.pkl", STATE),
            ("operators/constants.pkl", CONSTANTS),
            ("operators/code/__torch__.py", SOURCE.as_bytes()),
            ("operators/version", b"3\n"),
        ] {
            archive.start_file(name, stored).map_err(std::io::Error::from).map_err(torch)?;
            archive.write_all(bytes).map_err(torch)?;
        }
        let archive = archive.finish().map_err(std::io::Error::from).map_err(torch)?;
        Ok(Self(CModule::load_data(&mut archive.into_inner().as_slice())?))
    }

    /// `[output, input]` as [`linear`](Self::linear) wants it.
    pub(super) fn pack(&self, weight: &Tensor) -> Result<Tensor, ModelError> {
        Ok(self.0.method_ts("pack", &[weight])?)
    }

    /// `x W^T + b`; the weight comes from [`pack`](Self::pack).
    pub(super) fn linear(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
    ) -> Result<Tensor, ModelError> {
        Ok(self.0.method_ts("linear", &[x, weight, bias])?)
    }

    /// The exact GELU of [`linear`](Self::linear), computed before the product leaves the cache.
    pub(super) fn linear_gelu(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
    ) -> Result<Tensor, ModelError> {
        Ok(self.0.method_ts("linear_gelu", &[x, weight, bias])?)
    }

    /// `[output, input]` int8 as [`linear_int8`](Self::linear_int8) wants it.
    pub(super) fn pack_int8(&self, weight: &Tensor) -> Result<Tensor, ModelError> {
        Ok(self.0.method_ts("pack_int8", &[weight])?)
    }

    /// `(x - 128) W^T`, each output times its step, as float32. The sums are exact.
    ///
    /// - `x`: `[R, input]` uint8
    /// - `weight`: from [`pack_int8`](Self::pack_int8)
    /// - `steps`: `[output]` float32
    /// - `zeros`: `[output]` int64, all zero: the weight's own zero points
    pub(super) fn linear_int8(
        &self,
        x: &Tensor,
        weight: &Tensor,
        steps: &Tensor,
        zeros: &Tensor,
    ) -> Result<Tensor, ModelError> {
        Ok(self.0.method_ts("linear_int8", &[x, weight, steps, zeros])?)
    }
}

impl fmt::Debug for Operators {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("Operators")
    }
}

fn torch(cause: std::io::Error) -> ModelError {
    ModelError::Torch(cause.into())
}
