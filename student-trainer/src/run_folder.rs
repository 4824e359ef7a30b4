//! What a run leaves behind, each file whole; the folder needs neither teacher nor data to be used.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use lectern::{commands::claim_folder, files::write_atomically, wire::TeacherCard};
use serde_json::Value;

use crate::config::{Objective, TrainConfig};

/// An open run folder.
#[derive(Debug)]
pub(crate) struct RunFolder {
    path: PathBuf,
    metrics: File,
}

impl RunFolder {
    /// Takes the configured folder, new or empty, and writes down what the run is: `teacher.json` is a teacher's card, or
    /// an array of several.
    pub(crate) fn create(
        config: &TrainConfig,
        objective: &Objective,
        teachers: &[TeacherCard],
    ) -> anyhow::Result<Self> {
        let path = config.output.clone();
        claim_folder(&path)?;
        let toml =
            toml::to_string(&objective.resolved).context("cannot write the configuration")?;
        let metrics = path.join("metrics.jsonl");
        let metrics = OpenOptions::new()
            .create_new(true)
            .append(true)
            .open(&metrics)
            .with_context(|| format!("cannot create {}", metrics.display()))?;
        let folder = Self { path, metrics };
        folder.write("config.toml", &toml)?;
        match teachers {
            [] => {}
            [card] => folder.write_json("teacher.json", &serde_json::to_value(card)?)?,
            cards => folder.write_json("teacher.json", &serde_json::to_value(cards)?)?,
        }
        Ok(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds one line to `metrics.jsonl`.
    pub(crate) fn record(&mut self, metrics: &Value) -> anyhow::Result<()> {
        writeln!(self.metrics, "{metrics}").context("cannot add to metrics.jsonl")
    }

    pub(crate) fn write_json(&self, name: &str, value: &Value) -> anyhow::Result<()> {
        self.write(name, &format!("{value:#}\n"))
    }

    fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let path = self.path.join(name);
        write_atomically(&path, text.as_bytes())
            .with_context(|| format!("cannot write {}", path.display()))
    }
}
