//! Soft labels as the training loop sees them: the next batch of rows, by a blocking call.
//!
//! Where they come from stays behind that call: a teacher's stream, which runs ahead in the background
//! (asking, checking, remembering and, when the teacher goes away, coming back), or a file of rows.
//! Knows gRPC and rows; neither tensors nor losses.

mod batches;
mod connection;
mod error;
mod file;
mod in_flight;
mod link;
mod memory;
mod metrics;
mod request;
mod retry;
mod settings;
mod stream;
mod teacher;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use lectern::wire::Fingerprint;

pub use connection::describe;
pub use error::LabelError;
pub use file::FileRows;
pub use in_flight::Mismatch;
pub use metrics::StreamMetrics;
pub use request::{Missing, Outcome, Request};
pub use settings::{StreamSettings, TeacherUrl};

use file::FileLabels;
use teacher::TeacherLabels;

/// The rows of one training run, in the order in which the training loop consumes them.
#[derive(Debug)]
pub struct SoftLabels(Source);

#[derive(Debug)]
enum Source {
    Teacher(TeacherLabels),
    File(FileLabels),
}

impl SoftLabels {
    /// Begins to ask a teacher for the batches of `requests`, which must come in the order of training.
    ///
    /// Returns at once; what is wrong with the teacher comes out of [`Self::next_batch`]. The iterator
    /// runs on the background thread, at most [`StreamSettings::look_ahead`] batches ahead. Dropping
    /// this closes the stream.
    pub fn start<I>(
        settings: StreamSettings,
        expected: Fingerprint,
        requests: I,
    ) -> Result<Self, LabelError>
    where
        I: Iterator<Item = Vec<Arc<Request>>> + Send + 'static,
    {
        Ok(Self(Source::Teacher(TeacherLabels::start(settings, expected, requests)?)))
    }

    /// Takes the rows for the batches of `requests` from a file; needs no teacher.
    pub fn from_file<I>(rows: FileRows, requests: I) -> Self
    where
        I: Iterator<Item = Vec<Arc<Request>>> + Send + 'static,
    {
        Self(Source::File(FileLabels::new(rows, requests)))
    }

    /// The outcomes of the next batch, one per example and in the batch's order.
    ///
    /// Blocks while the teacher is the slower side; not for async code, where it panics.
    /// After the last batch it is [`LabelError::Exhausted`].
    pub fn next_batch(&mut self) -> Result<Vec<Outcome>, LabelError> {
        match &mut self.0 {
            Source::Teacher(labels) => labels.next_batch(),
            Source::File(labels) => labels.next_batch(),
        }
    }

    /// How long [`Self::next_batch`] has blocked in all.
    pub fn waited(&self) -> Duration {
        self.metrics().waited
    }

    /// What has happened so far.
    pub fn metrics(&self) -> StreamMetrics {
        match &self.0 {
            Source::Teacher(labels) => labels.metrics(),
            Source::File(labels) => labels.metrics(),
        }
    }
}
