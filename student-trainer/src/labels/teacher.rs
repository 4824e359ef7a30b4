//! Soft labels that a teacher streams: the blocking face of the task that runs ahead.

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

use super::{
    LabelError, Outcome, Request, StreamMetrics, StreamSettings,
    metrics::Counters,
    stream::{self, Finished},
};

/// The background of one run: owns the one thread that talks to the teacher.
#[derive(Debug)]
pub(super) struct TeacherLabels {
    finished: mpsc::Receiver<Finished>,
    counters: Arc<Counters>,
    waited: Duration,
    task: Option<JoinHandle<Result<(), LabelError>>>,
    runtime: Option<Runtime>,
}

impl TeacherLabels {
    pub(super) fn start<I>(
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

    pub(super) fn next_batch(&mut self) -> Result<Vec<Outcome>, LabelError> {
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

    pub(super) fn metrics(&self) -> StreamMetrics {
        self.counters.snapshot(self.waited)
    }
}

impl Drop for TeacherLabels {
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
