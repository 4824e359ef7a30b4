//! Progress through many steps: a bar on a terminal, a plain line now and then elsewhere.

use std::{
    io::IsTerminal as _,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use tracing::info;

/// Between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(15);

/// Progress of one phase; finishes when dropped.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    phase: String,
    total: u64,
    done: u64,
    last_line: Instant,
}

impl Progress {
    /// `phase` of `total` steps.
    pub fn new(phase: impl Into<String>, total: usize) -> Self {
        let phase = phase.into();
        let bar = std::io::stderr().is_terminal().then(|| {
            let template = "{prefix} {wide_bar} {pos}/{len} {per_sec} {eta} {msg}";
            let style = ProgressStyle::with_template(template);
            ProgressBar::new(total as u64)
                .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
                .with_prefix(phase.clone())
        });
        Self { bar, phase, total: total as u64, done: 0, last_line: Instant::now() }
    }

    /// One step done; `state` is asked for only when it is shown.
    pub fn step(&mut self, state: impl FnOnce() -> String) {
        self.done += 1;
        if let Some(bar) = &self.bar {
            bar.inc(1);
            if self.done.is_multiple_of(8) {
                bar.set_message(state());
            }
        } else if self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            info!("{} {}/{} {}", self.phase, self.done, self.total, state());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
