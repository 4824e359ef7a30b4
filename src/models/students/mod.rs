//! The families of students, each in a file that reads like its paper. A family is a configuration that
//! builds a model; nothing outside this module knows which family it has.
//!
//! `B` examples, `T` tokens, `V` vocabulary, `E` embedding, `C` classes.

pub mod average;
pub mod bigru;
pub mod bilstm;
mod described;
pub mod dpcnn;
mod embedding;
mod family;
pub mod fasttext;
mod packing;
mod pairs;
mod prepared;
mod recurrent;
mod scores;
mod states;
pub mod textcnn;
pub mod transformer;
mod unrolled;
mod words;

use std::{collections::HashMap, fmt::Debug};

use tch::{Device, Tensor};

use super::{ModelError, TokenBatch, fingerprint::Parts};
use crate::traced::Traced;

pub use described::EncoderSizes;
pub use embedding::{Channels, TUNED, Table, UNTRAINED};
pub use family::Family;
pub use words::{WordTable, projected};

/// A student's layers with their weights. Padding never changes an answer.
pub(super) trait StudentModel: Debug + Send {
    /// `[B, C]` raw logits, with dropout if in training. The gradients of tables of embeddings are sparse:
    /// the rows of this batch alone.
    fn logits(&self, batch: &TokenBatch, train: bool) -> Result<Tensor, ModelError>;

    /// [`logits`](Self::logits) in training, with all that their gradients need: not always by libtorch alone.
    fn traced(&self, batch: &TokenBatch) -> Result<Traced, ModelError> {
        Ok(self.logits(batch, true)?.into())
    }

    /// Whether [`traced`](Self::traced) computes on threads of its own.
    fn has_threads(&self) -> bool {
        false
    }

    /// Operations of the matrix products of one forward pass over `[B, T]` tokens, padding included. The
    /// class scores, a thousandth of the whole, are left out where there is anything else.
    fn flops(&self, examples: usize, width: usize) -> f64;

    /// The same model laid out for inference on `device`, where it lies already. It cannot be trained.
    fn prepared(self: Box<Self>, device: Device) -> Result<Box<dyn StudentModel>, ModelError>;
}

/// Tensors that a student starts from instead of random ones, by the names of its parameters: word vectors,
/// or layers of an encoder.
#[derive(Debug, Default)]
pub struct Initial(pub HashMap<String, Tensor>);

impl Initial {
    /// Tensors that share their memory.
    #[must_use]
    pub fn shallow_clone(&self) -> Self {
        Self(self.0.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect())
    }

    /// 16 hexadecimal digits of a hash of all names and values.
    pub fn hash(&self) -> Result<String, ModelError> {
        let mut tensors: Vec<_> =
            self.0.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        tensors.sort_unstable_by_key(|(name, _)| *name);
        let mut parts = Parts::default();
        parts.add_tensors(tensors.into_iter())?;
        Ok(parts.finish().as_str()[..16].to_owned())
    }
}

/// Serde's test for a setting that older files do not have.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde wants")]
fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

/// `probability` in training, 0 otherwise.
const fn when(train: bool, probability: f64) -> f64 {
    if train { probability } else { 0.0 }
}
