//! Teachers and students: from a folder or a seed to logits. Knows tensors and weight files, not
//! losses, not gRPC.

mod activation;
mod arithmetic;
mod batch;
mod classifier;
mod dropout;
mod encoder_folder;
mod encoders;
mod fingerprint;
mod folder;
mod head;
mod language_model;
mod layers;
mod linear;
mod masked_lm;
mod parameters;
mod permutation_lm;
mod pickle;
mod served;
mod student;
pub mod students;
mod teacher;
mod teacher_config;
#[cfg(test)]
mod tests;
mod weights;

pub use activation::Activation;
pub use arithmetic::{Arithmetic, UnknownArithmetic};
pub use batch::TokenBatch;
pub use classifier::{Classifier, Prediction, classify, rows, sigmoid, softmax};
pub(crate) use dropout::with_random;
pub use head::{HeadKind, Pooling};
pub use language_model::{LanguageModel, Objective};
pub use masked_lm::MaskedLm;
pub use parameters::{Builder, Init, Parameters};
pub use permutation_lm::{Permutation, PermutationLm};
pub use served::{
    ModelFiles, Reader, ServedModel, TextGcn, TextGcnAnswers, TextGcnConfig, TorchScript,
    TorchScriptFiles,
};
pub use student::{BEST_WEIGHTS, LAST_WEIGHTS, Student, StudentConfig};
pub use students::{Family, Initial, bilstm};
pub use teacher::Teacher;
pub use teacher_config::TeacherSettings;
pub use weights::{INDEX_SUFFIX, WEIGHTS, read_weights, shard_names, weight_bytes, write_weights};

use std::path::PathBuf;

/// Why a model cannot be built, read or run.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file that is not there, or cannot be read or written.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A file that was read and does not hold what it should.
    #[error("{path}: {cause}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        cause: String,
    },
    /// Tensors that do not fit the configuration, all of them.
    #[error("{path}: {} do not fit the configuration:\n  {}", count(problems.len(), "tensor"), problems.join("\n  "))]
    Tensors {
        /// The weights file.
        path: PathBuf,
        /// One line per tensor: name, shape expected, shape found.
        problems: Vec<String>,
    },
    /// The tokenizer cannot be read.
    #[error(transparent)]
    Text(#[from] crate::text::TextError),
    /// An arithmetic that the device cannot compute.
    #[error(
        "--dtype {arithmetic} cannot run on {device:?}: libtorch has such products for x86 processors alone; choose --dtype auto"
    )]
    Arithmetic {
        /// What was asked for.
        arithmetic: Arithmetic,
        /// Where.
        device: tch::Device,
    },
    /// An arithmetic for a model that has but one.
    #[error(
        "--dtype {wanted}: {path} computes in {found} alone; leave --dtype out, or choose another model"
    )]
    FixedArithmetic {
        /// The model.
        path: PathBuf,
        /// What it computes with.
        found: Arithmetic,
        /// What was asked for.
        wanted: Arithmetic,
    },
    /// A file that was named on the command line and does not do what it was named for.
    #[error("{flag} {path}: {cause}")]
    Argument {
        /// Where it was given.
        flag: &'static str,
        /// As given.
        path: PathBuf,
        /// What was found and what to do.
        cause: String,
    },
    /// A teacher whose weights exist only as its arithmetic wants them.
    #[error("a teacher that was loaded for serving has no weights to save; load it for training")]
    Released,
    /// libtorch refused an operation.
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
}

fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}
