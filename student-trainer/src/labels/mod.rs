//! Soft labels as the training loop sees them: the next batch of rows, by a blocking call.
//!
//! Everything behind that call runs ahead in the background: asking, checking, remembering and, when
//! the teacher goes away, coming back. Knows gRPC and rows; neither tensors nor losses.

mod batches;
mod connection;
mod error;
mod in_flight;
mod link;
mod memory;
mod metrics;
mod request;
mod retry;
mod settings;
mod stream;
#[cfg(test)]
mod tests;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use lectern::wire::Fingerprint;
use tokio::{
    runtime::{Builder, Runtime},
    sync::mpsc,
    task::JoinHandle,
};

pub use connection::describe;
pub use error::LabelError;
pub use in_flight::Mismatch;
pub use metrics::StreamMetrics;
pub use request::{Missing, Outcome, Request};
pub use settings::{StreamSettings, TeacherUrl};

use metrics::Counters;
use stream::Finished;

/// The rows of one training run, in the order in which the training loop consumes them.
///
/// It owns the one thread that talks to the teacher. Dropping it closes the stream.
#[derive(Debug)]
pub struct SoftLabels {
    finished: mpsc::Receiver<Finished>,
    counters: Arc<Counters>,
    waited: Duration,
    task: Option<JoinHandle<Result<(), LabelError>>>,
    runtime: Option<Runtime>,
}

impl SoftLabels {
    /// Begins to ask for the batches of `requests`, which must come in the order of training.
    ///
    /// Returns at once; what is wrong with the teacher comes out of [`Self::next_batch`]. The iterator
    /// runs on the background thread, at most [`StreamSettings::look_ahead`] batches ahead.
    pub fn start<I>(
        settings: StreamSettings,
        expected: Fingerprint,
        requests: I,
    ) -> Result<Self, LabelError>
    where
        I: Iterator<Item = Vec<Arc<Request>>> + Send + 'static,
    {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("soft-labels")
            .enable_all()
            .build()
            .map_err(LabelError::Runtime)?;
        let counters = Arc::new(Counters::default());
        let (task, finished) = stream::prepare(settings, expected, requests, Arc::clone(&counters));
        let task = runtime.spawn(task);
        Ok(Self {
            finished,
            counters,
            waited: Duration::ZERO,
            task: Some(task),
            runtime: Some(runtime),
        })
    }

    /// The outcomes of the next batch, one per example and in the batch's order.
    ///
    /// Blocks while the teacher is the slower side; not for async code, where it panics.
    /// After the last batch it is [`LabelError::Exhausted`].
    pub fn next_batch(&mut self) -> Result<Vec<Outcome>, LabelError> {
        let asked_at = Instant::now();
        let finished = self.finished.blocking_recv();
        self.waited += asked_at.elapsed();
        match finished {
            // The batch's permit is dropped here and lets the background pull another batch.
            Some(Finished { outcomes, .. }) => Ok(outcomes),
            None => Err(self.how_it_ended()),
        }
    }

    fn how_it_ended(&mut self) -> LabelError {
        match (&self.runtime, self.task.take()) {
            (Some(runtime), Some(task)) => match runtime.block_on(task) {
                Ok(Ok(())) => LabelError::Exhausted,
                Ok(Err(error)) => error,
                Err(panic) => LabelError::Stopped(panic.to_string()),
            },
            _ => LabelError::Exhausted,
        }
    }

    /// How long [`Self::next_batch`] has blocked in all.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// What has happened so far.
    pub fn metrics(&self) -> StreamMetrics {
        self.counters.snapshot(self.waited)
    }
}

impl Drop for SoftLabels {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
        if let Some(runtime) = self.runtime.take() {
            // Not the waiting kind: that would panic where a caller drops this in async code.
            runtime.shutdown_background();
        }
    }
}
