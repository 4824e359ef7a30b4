//! The hash behind a fingerprint: parts in order, each after its length, so that no two lists of parts
//! run together into the same bytes.

use tch::Tensor;

use super::{ModelError, Parameters, weights::bytes};
use crate::wire::Fingerprint;

/// A fingerprint in the making.
#[derive(Debug, Default)]
pub(super) struct Parts(blake3::Hasher);

impl Parts {
    /// One part.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    /// Name, shape and float32 values of every parameter.
    pub(super) fn add_parameters(&mut self, parameters: &Parameters) -> Result<(), ModelError> {
        self.add_tensors(parameters.iter())
    }

    /// Name, shape and float32 values of every tensor, in this order.
    pub(super) fn add_tensors<'a>(
        &mut self,
        tensors: impl Iterator<Item = (&'a str, &'a Tensor)>,
    ) -> Result<(), ModelError> {
        for (name, tensor) in tensors {
            self.add(name.as_bytes());
            self.add(format!("{:?}", tensor.size()).as_bytes());
            self.add(&bytes(tensor)?);
        }
        Ok(())
    }

    pub(super) fn finish(&self) -> Fingerprint {
        Fingerprint::from_hash(&self.0.finalize())
    }
}
