//! A download's progress in the log.

use std::time::{Duration, Instant};

use hf_hub::api::Progress;
use tracing::info;

/// Between two lines about one file.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Says what is fetched, and for large files how far it is.
#[derive(Debug, Default)]
pub(super) struct Log {
    file: String,
    bytes: usize,
    done: usize,
    last_line: Option<Instant>,
}

impl Progress for Log {
    fn init(&mut self, bytes: usize, file: &str) {
        // Called again whenever a broken download is taken up.
        if self.last_line.is_none() {
            info!(file, bytes, "fetching");
        }
        *self = Self { file: file.to_owned(), bytes, done: 0, last_line: Some(Instant::now()) };
    }

    fn update(&mut self, bytes: usize) {
        self.done += bytes;
        if self.last_line.is_some_and(|last| last.elapsed() >= LINE_EVERY) {
            self.last_line = Some(Instant::now());
            let share = 100.0 * self.done as f64 / self.bytes.max(1) as f64;
            info!(file = self.file, "{share:.0} % of {} MiB", self.bytes >> 20);
        }
    }

    fn finish(&mut self) {}
}
