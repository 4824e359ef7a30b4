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
    started: Instant,
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
        let now = Instant::now();
        Self { bar, phase, total: total as u64, done: 0, started: now, last_line: now }
    }

    /// One step done; `state` is asked for only when it is shown.
    pub fn step(&mut self, state: impl FnOnce() -> String) {
        self.advance(1, state);
    }

    /// So many steps done.
    pub fn advance(&mut self, steps: usize, state: impl FnOnce() -> String) {
        let before = self.done;
        self.done += steps as u64;
        if let Some(bar) = &self.bar {
            bar.inc(steps as u64);
            if before / 8 != self.done / 8 {
                bar.set_message(state());
            }
        } else if self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            let rate = self.done as f64 / self.started.elapsed().as_secs_f64().max(1e-9);
            let left = self.total.saturating_sub(self.done) as f64 / rate;
            let (phase, done, total) = (&self.phase, self.done, self.total);
            info!("{phase} {done}/{total}, {rate:.1}/s, {left:.0} s left {}", state());
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
