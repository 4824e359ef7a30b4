//! What a run leaves behind, each file whole; the folder needs neither teacher nor data to be used.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use lectern::{files::write_atomically, wire::TeacherCard};
use serde_json::Value;

use crate::config::TrainOptions;

/// The settings of the run, complete.
pub(crate) const CONFIG: &str = "config.toml";
/// What the run came to; it is there once the run is over.
pub(crate) const SUMMARY: &str = "summary.json";
const TEACHER: &str = "teacher.json";

/// The cards of the teachers of the run whose `config.toml` this is.
pub(crate) fn teachers(config: &Path) -> anyhow::Result<Vec<TeacherCard>> {
    let path = config.with_file_name(TEACHER);
    if !path.exists() {
        return Ok(Vec::new());
    }
    let said = || path.display().to_string();
    let cards: Value =
        serde_json::from_slice(&fs::read(&path).with_context(said)?).with_context(said)?;
    let cards = if cards.is_array() { cards } else { Value::Array(vec![cards]) };
    serde_json::from_value(cards).with_context(said)
}

/// A run's folder, which is there.
#[derive(Debug)]
pub(crate) struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Writes down what the run is: `teacher.json` is a teacher's card, or an array of several. A resumed run writes the
    /// same again, in case it was killed before.
    pub(crate) fn describe(
        path: &Path,
        options: &TrainOptions,
        teachers: &[TeacherCard],
    ) -> anyhow::Result<Self> {
        let folder = Self { path: path.to_owned() };
        let toml = toml::to_string(options).context("cannot write the configuration")?;
        folder.write(CONFIG, &toml)?;
        match teachers {
            [] => {}
            [card] => folder.write_json(TEACHER, &serde_json::to_value(card)?)?,
            cards => folder.write_json(TEACHER, &serde_json::to_value(cards)?)?,
        }
        Ok(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
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
