//! `metrics.jsonl` of the output folder: one JSON object for each evaluation, for plots and people.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde_json::Value;

use crate::files::write_atomically;

/// The file, open at its end.
#[derive(Debug)]
pub struct MetricsFile {
    file: File,
    path: PathBuf,
}

impl MetricsFile {
    /// In `folder`, without the lines of steps beyond `last`, which will be taken again; without any where there is no
    /// last.
    pub fn open(folder: &Path, last: Option<usize>) -> anyhow::Result<Self> {
        let path = folder.join("metrics.jsonl");
        let said = || format!("cannot write {}", path.display());
        let before = match fs::read_to_string(&path) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => String::new(),
            text => text.with_context(|| format!("cannot read {}", path.display()))?,
        };
        let is_before = |line: &&str| {
            // A line that a kill cut short is none.
            let line: Option<Value> = serde_json::from_str(line).ok();
            line.and_then(|line| line["step"].as_u64())
                .is_some_and(|at| last.is_some_and(|last| at as usize <= last))
        };
        let mut kept = String::new();
        for line in before.lines().filter(is_before) {
            kept.push_str(line);
            kept.push('\n');
        }
        write_atomically(&path, kept.as_bytes()).with_context(said)?;
        let file = OpenOptions::new().append(true).open(&path).with_context(said)?;
        Ok(Self { file, path })
    }

    /// Adds a line, whose `step` is that of the evaluation.
    pub fn add(&mut self, metrics: &Value) -> anyhow::Result<()> {
        writeln!(self.file, "{metrics}")
            .with_context(|| format!("cannot add to {}", self.path.display()))
    }
}
