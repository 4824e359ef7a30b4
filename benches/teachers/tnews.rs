//! The TNEWS subset as both sides read it: JSON Lines, a fifteenth of the training rows kept aside to choose the epoch.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::common;

/// One headline.
#[derive(Deserialize, Serialize)]
pub(crate) struct Row {
    pub(crate) text: String,
    pub(crate) label: usize,
}

/// Files of one split each.
pub(crate) struct Tnews {
    pub(crate) train: PathBuf,
    pub(crate) dev: PathBuf,
    pub(crate) test: PathBuf,
}

impl Tnews {
    /// Writes the files into `target/bench/tnews`.
    pub(crate) fn prepare(source: &Path, quick: bool) -> Result<Self> {
        let read = |name: &str| -> Result<Vec<Row>> {
            let path = source.join(name);
            let text = fs::read(&path).with_context(|| path.display().to_string())?;
            serde_json::from_slice(&text).with_context(|| path.display().to_string())
        };
        let (mut train, mut test) = (read("train.json")?, read("test_unseen.json")?);
        if quick {
            train.truncate(1500);
            test.truncate(300);
        }
        let (mut rest, mut dev) = (Vec::new(), Vec::new());
        for (i, row) in train.into_iter().enumerate() {
            if i % 15 == 0 { dev.push(row) } else { rest.push(row) }
        }
        let folder = common::folder().join("tnews");
        fs::create_dir_all(&folder)?;
        let write = |name: &str, rows: &[Row]| -> Result<PathBuf> {
            let path = folder.join(name);
            let lines = rows.iter().map(|row| Ok(serde_json::to_string(row)? + "\n"));
            fs::write(&path, lines.collect::<Result<String>>()?)?;
            Ok(path)
        };
        Ok(Self {
            train: write("train.jsonl", &rest)?,
            dev: write("dev.jsonl", &dev)?,
            test: write("test.jsonl", &test)?,
        })
    }

    /// The training rows.
    pub(crate) fn rows(&self) -> Result<Vec<Row>> {
        let text = fs::read_to_string(&self.train)?;
        text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }
}
