//! What the command lines of both programs share: options, judging a model, labelling a stream of
//! text, progress, and how a program ends. Knows models by their [`Classifier`](crate::models::Classifier)
//! face only.

mod best_by;
mod evaluate;
mod exit;
mod metrics_file;
mod options;
mod output;
mod predict;
mod progress;
mod tokenise;

pub use best_by::BestBy;
pub use evaluate::{Evaluation, evaluate_model, judge, write_report};
pub use exit::{Usage, run};
pub use metrics_file::MetricsFile;
pub use options::{
    ColumnOptions, ComputeOptions, DEVICE_VARIABLE, EvaluateOptions, PredictOptions, ThreadOptions,
    parse_device,
};
pub use output::{CHECKPOINT, check_free, check_output, claim_folder};
pub use predict::{Workers, predict_with};
pub use progress::Progress;
pub use tokenise::tokenise;

use std::path::PathBuf;

use crate::{
    data::{DataError, LabelError},
    models::ModelError,
};

/// Why a shared command stopped.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// An input that cannot be read or understood.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A label file that does not name the model's labels.
    #[error("--label-names {path}: {source}")]
    Labels {
        /// The label file.
        path: PathBuf,
        /// What differs.
        source: LabelError,
    },
    /// The model cannot be read or failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A file that cannot be opened.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The operating system gave no thread.
    #[error("cannot start a thread: {0}; fewer --threads may do")]
    Thread(#[source] std::io::Error),
    /// A defect of this program.
    #[error("a thread that labels text ended unexpectedly; what it said stands above")]
    Worker,
    /// Answers or numbers that cannot be written.
    #[error("cannot write to {to}: {source}")]
    Write {
        /// The file, or standard output.
        to: String,
        /// The cause.
        source: std::io::Error,
    },
}

fn cannot_write(to: impl std::fmt::Display) -> impl FnOnce(std::io::Error) -> CommandError {
    move |source| CommandError::Write { to: to.to_string(), source }
}
