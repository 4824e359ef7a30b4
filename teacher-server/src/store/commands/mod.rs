//! What `teacher-server store` does with the databases of a folder while no server is using them. Knows
//! files and rows; flags, models and students are others' business.

mod gc;
mod recheck;
mod select;
mod stats;
#[cfg(test)]
mod tests;
mod transfer;
mod verify;

use std::{io, path::PathBuf};

use lectern::{
    data::DataError,
    wire::{Fingerprint, Row, label_file::LabelFileError},
};

use super::database::DatabaseError;

pub use gc::{Gc, gc};
pub use recheck::{Recheck, Recompute, recheck};
pub use stats::stats;
pub use transfer::{export, import};
pub use verify::verify;

/// Rows read or written at a time; of 1,000 classes 64 MiB.
const CHUNK_ROWS: usize = 16_384;

/// Why a command on stored rows stopped, or what it found that must not pass unseen.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the message beside each variant says what its fields are")]
pub enum StoreCommandError {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    LabelFile(#[from] LabelFileError),
    #[error(transparent)]
    Data(#[from] DataError),
    #[error("{} holds no rows; is it the --store of a server?", folder.display())]
    Nothing { folder: PathBuf },
    #[error("{} has rows of several teachers: {teachers}; choose one with --teacher", folder.display())]
    Several { folder: PathBuf, teachers: String },
    #[error("--teacher {wanted} fits {found} teachers in {}, which has: {teachers}", folder.display())]
    Teacher { folder: PathBuf, wanted: String, found: usize, teachers: String },
    #[error(
        "{} has rows of the teacher {fingerprint} with the {ours}, {} those with the {theirs}; one of them is not \
         what it says",
        folder.display(), file.display()
    )]
    Labels {
        folder: PathBuf,
        fingerprint: Fingerprint,
        ours: String,
        file: PathBuf,
        theirs: String,
    },
    #[error(
        "{bad} bad rows; drop them with --repair: they are computed again when they are asked for"
    )]
    Bad { bad: u64 },
    #[error(
        "{} has no rows of {name} ({fingerprint}); are these the models and the arithmetic of `serve`?",
        folder.display()
    )]
    NotStored { folder: PathBuf, name: String, fingerprint: Fingerprint },
    #[error(
        "{differing} of {recomputed} stored rows differ from the teacher by more than {tolerance}; do \
         not train on this store before you know why, or remove it with `store gc --teacher`"
    )]
    Differ { differing: u64, recomputed: u64, tolerance: f32 },
    #[error("the teacher failed: {0}")]
    Compute(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("cannot write to standard output: {0}")]
    Output(#[from] io::Error),
}

/// Largest difference of a value between two rows of one content; infinite where one of them is not a
/// number or has no counterpart.
fn difference(a: &Row, b: &Row) -> f32 {
    let values = |row: &Row| -> Vec<f32> {
        let variance = row.variance.iter().flat_map(|variance| variance.iter());
        row.logits.iter().chain(variance).copied().collect()
    };
    let (a_values, b_values) = (values(a), values(b));
    if a_values.len() != b_values.len() || a.truncated != b.truncated {
        return f32::INFINITY;
    }
    let differences = a_values.iter().zip(&b_values).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, |largest, d| if d.is_nan() { f32::INFINITY } else { largest.max(d) })
}
