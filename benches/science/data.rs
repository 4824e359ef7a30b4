//! The data sets as students read them: one file for each split, and where a set has no dev split, one cut off.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::common;

/// Which data it is; the students that were proposed for it differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Chinese headlines of 5 classes.
    Tnews,
    /// English sentences of 2 classes.
    Sst2,
}

/// Files of one split each.
pub(crate) struct DataSet {
    pub(crate) kind: Kind,
    pub(crate) train: PathBuf,
    pub(crate) dev: PathBuf,
    pub(crate) test: PathBuf,
}

impl Kind {
    /// In names of metrics and folders.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Tnews => "tnews5",
            Self::Sst2 => "sst2",
        }
    }
}

impl DataSet {
    /// Copies the splits of `source` into `target/bench/science`, or a tenth of their rows.
    pub(crate) fn prepare(source: &Path, quick: bool) -> Result<Self> {
        let (kind, splits) = if source.join("test_unseen.json").exists() {
            (Kind::Tnews, tnews(source)?)
        } else if source.join("dev.tsv").exists() {
            let read = |name: &str| tsv(&source.join(name));
            (Kind::Sst2, [read("train.tsv")?, read("dev.tsv")?, read("test.tsv")?])
        } else {
            bail!("{}: neither test_unseen.json nor dev.tsv is there", source.display());
        };
        let folder = common::folder().join("science").join(kind.name());
        fs::create_dir_all(&folder)?;
        let [train, dev, test] = splits;
        let write = |name: &str, rows: Vec<Value>| -> Result<PathBuf> {
            let path = folder.join(name);
            let rows = rows.into_iter().enumerate().filter(|(i, _)| !quick || i % 10 == 0);
            let lines: Vec<String> = rows.map(|(_, row)| row.to_string()).collect();
            fs::write(&path, lines.join("\n") + "\n")?;
            Ok(path)
        };
        Ok(Self {
            kind,
            train: write("train.jsonl", train)?,
            dev: write("dev.jsonl", dev)?,
            test: write("test.jsonl", test)?,
        })
    }

    /// Where its runs and rows are kept.
    pub(crate) fn folder(&self) -> PathBuf {
        common::folder().join("science").join(self.kind.name())
    }
}

/// A fifteenth of the training rows is kept aside to choose the epoch; scored are headlines that are not in training.
fn tnews(source: &Path) -> Result<[Vec<Value>; 3]> {
    let read = |name: &str| -> Result<Vec<Value>> {
        let path = source.join(name);
        let text = fs::read(&path).with_context(|| path.display().to_string())?;
        serde_json::from_slice(&text).with_context(|| path.display().to_string())
    };
    let (mut train, mut dev) = (Vec::new(), Vec::new());
    for (i, row) in read("train.json")?.into_iter().enumerate() {
        if i % 15 == 0 { dev.push(row) } else { train.push(row) }
    }
    Ok([train, dev, read("test_unseen.json")?])
}

fn tsv(path: &Path) -> Result<Vec<Value>> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let row = |line: &str| {
        let (text, label) = line.rsplit_once('\t')?;
        Some(serde_json::json!({ "text": text, "label": label }))
    };
    text.lines()
        .skip(1)
        .map(|line| row(line).with_context(|| format!("{}: {line:?}", path.display())))
        .collect()
}
