//! What a sweep shows while it goes on: a live table on a terminal, else lines of the log.

use std::{
    fs,
    io::IsTerminal as _,
    path::Path,
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::Value;
use tracing::{info, warn};

/// The table of all runs that have begun.
#[derive(Debug)]
pub(super) struct Board {
    table: Option<(MultiProgress, ProgressBar)>,
}

/// A run's line in it.
#[derive(Debug)]
pub(super) struct Row {
    name: String,
    bar: Option<ProgressBar>,
    begun: Instant,
    told: String,
}

impl Board {
    pub(super) fn new(runs: usize) -> Self {
        let table = std::io::stderr().is_terminal().then(|| {
            let table = MultiProgress::new();
            let style = style("{prefix} {wide_bar} {pos}/{len} {elapsed}");
            let all = ProgressBar::new(runs as u64).with_style(style).with_prefix("sweep");
            let all = table.add(all);
            all.enable_steady_tick(Duration::from_secs(1));
            (table, all)
        });
        Self { table }
    }

    pub(super) fn begin(&self, name: &str, resumes: bool) -> Row {
        let bar = self.table.as_ref().map(|(table, all)| {
            let bar =
                ProgressBar::new_spinner().with_style(style("{spinner} {elapsed} {prefix} {msg}"));
            let bar = table.insert_before(all, bar.with_prefix(name.to_owned()));
            bar.enable_steady_tick(Duration::from_millis(250));
            bar
        });
        if bar.is_none() {
            info!(run = name, resumes, "begun");
        }
        Row { name: name.to_owned(), bar, begun: Instant::now(), told: String::new() }
    }

    pub(super) fn end(&self, row: &mut Row, outcome: &Result<(), String>) {
        let seconds = row.begun.elapsed().as_secs();
        match (&row.bar, outcome) {
            (Some(bar), Ok(())) => bar.finish_with_message(format!("done; {}", row.told)),
            (Some(bar), Err(cause)) => bar.abandon_with_message(format!("failed: {cause}")),
            (None, Ok(())) => info!(run = row.name, seconds, "done"),
            (None, Err(cause)) => warn!(run = row.name, seconds, "failed: {cause}"),
        }
        if let Some((_, all)) = &self.table {
            all.inc(1);
        }
    }

    /// Leaves the table as it stands.
    pub(super) fn close(&self) {
        if let Some((_, all)) = &self.table {
            all.finish();
        }
    }
}

impl Row {
    /// Shows what the run last wrote down of itself.
    pub(super) fn refresh(&mut self, folder: &Path) {
        let Some(told) = last_epoch(folder) else { return };
        if told == self.told {
            return;
        }
        if let Some(bar) = &self.bar {
            bar.set_message(told.clone());
        } else {
            info!(run = self.name, "{told}");
        }
        self.told = told;
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Epoch and score of dev in the last line of `metrics.jsonl` that is whole.
fn last_epoch(folder: &Path) -> Option<String> {
    let text = fs::read_to_string(folder.join("metrics.jsonl")).ok()?;
    let line: Value = text.lines().rev().find_map(|line| serde_json::from_str(line).ok())?;
    let score = line
        .as_object()?
        .iter()
        .find(|(name, _)| name.starts_with("dev_") && name.as_str() != "dev_loss");
    let score = score.and_then(|(name, score)| Some((name.replace('_', " "), score.as_f64()?)));
    let score = score.map_or(String::new(), |(name, score)| format!(", {name} {score:.4}"));
    Some(format!("epoch {}{score}", line.get("epoch")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_shown_by_its_last_whole_line() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(last_epoch(folder.path()), None);
        let lines = "{\"epoch\":1,\"dev_loss\":0.5,\"dev_accuracy\":0.5}\n\
            {\"epoch\":2,\"dev_loss\":0.4,\"dev_accuracy\":0.625}\n{\"epo";
        fs::write(folder.path().join("metrics.jsonl"), lines).unwrap();
        assert_eq!(last_epoch(folder.path()).unwrap(), "epoch 2, dev accuracy 0.6250");
    }
}
