//! One teacher's soft labels from where the configuration says: a server that is asked, or a file of rows.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{bail, ensure};
use lectern::{
    data::Example,
    wire::{TeacherCard, label_file::LabelReader},
};
use tracing::{info, warn};

use crate::{
    config::{LabelSource, OnMissing, TrainConfig},
    labels::{FileRows, Missing, Request, SoftLabels, StreamSettings, TeacherUrl, describe},
};

/// A source that has shown whose rows it gives.
pub(crate) enum Source {
    Teacher { url: TeacherUrl, card: TeacherCard },
    File { path: PathBuf, file: Box<LabelReader> },
}

impl Source {
    /// Asks the teacher for its card, for as long as `patience` while it is away, or opens the file.
    pub(crate) fn open(source: &LabelSource, patience: Duration) -> anyhow::Result<Self> {
        Ok(match source {
            LabelSource::Teacher(url) => {
                Self::Teacher { url: url.clone(), card: describe(url, patience)? }
            }
            LabelSource::File(path) => {
                let file = Box::new(LabelReader::open(path)?);
                Self::File { path: path.clone(), file }
            }
        })
    }

    pub(crate) fn card(&self) -> &TeacherCard {
        match self {
            Self::Teacher { card, .. } => card,
            Self::File { file, .. } => file.card(),
        }
    }

    /// Reads a file, which unless the policy allows for it must have the rows of all training examples.
    ///
    /// - `requests`: one for each of `train`
    pub(crate) fn check(
        self,
        config: &TrainConfig,
        train: &[Example],
        requests: &[Arc<Request>],
    ) -> anyhow::Result<Checked> {
        Ok(match self {
            Self::Teacher { url, card } => Checked::Teacher { url, card },
            Self::File { path, file } => {
                Checked::File(read(config, &path, *file, train, requests)?)
            }
        })
    }
}

/// A source that nothing is known to be wrong with.
#[derive(Debug)]
pub(crate) enum Checked {
    Teacher { url: TeacherUrl, card: TeacherCard },
    File(FileRows),
}

impl Checked {
    /// The rows of `batches` to come. A teacher is asked from here on.
    ///
    /// - `memory`: bytes of rows to keep for later epochs
    pub(crate) fn start(
        self,
        config: &TrainConfig,
        memory: u64,
        batches: impl Iterator<Item = Vec<Arc<Request>>> + Send + 'static,
    ) -> anyhow::Result<SoftLabels> {
        Ok(match self {
            Self::Teacher { url, card } => {
                let settings = StreamSettings {
                    format: config.format,
                    memory_bytes: memory,
                    patience: config.teacher_patience,
                    ..StreamSettings::new(url, config.name.clone())
                };
                SoftLabels::start(settings, card.fingerprint, batches)?
            }
            Self::File(rows) => SoftLabels::from_file(rows, batches),
        })
    }
}

/// The file's rows for the training examples. Unless the policy allows for it, none may be lacking: a
/// file says so before the run begins, where a teacher has to be asked.
fn read(
    config: &TrainConfig,
    path: &Path,
    file: LabelReader,
    train: &[Example],
    requests: &[Arc<Request>],
) -> anyhow::Result<FileRows> {
    let teacher = file.card().fingerprint.clone();
    let rows = FileRows::read(path, file, requests.iter().map(|request| request.content()))?;
    let outcomes = requests.iter().map(|request| rows.get(request.content()));
    let lacking: Vec<(usize, Missing)> =
        outcomes.enumerate().filter_map(|(i, row)| Some((i, row.err()?))).collect();
    let (path, lacks, examples) = (path.display(), lacking.len(), train.len());
    ensure!(
        !rows.is_empty(),
        "{path} has no row for any of the {examples} training examples; it was exported for other data"
    );
    match lacking.first() {
        Some((first, missing)) if config.on_missing == OnMissing::Wait => {
            let error = no_soft_label(*first, &train[*first].text, missing);
            bail!("{error}; {lacks} of {examples} are lacking");
        }
        Some(_) => warn!(lacks, examples, %path, "training examples have no row in the file"),
        None => {}
    }
    info!(%path, rows = rows.len(), teacher = teacher.short(), "soft labels read");
    Ok(rows)
}

/// What stops a run that may not go on without the row of a training example, counted from 0.
pub(crate) fn no_soft_label(example: usize, text: &str, missing: &Missing) -> anyhow::Error {
    let text: String = text.chars().take(60).collect();
    anyhow::anyhow!(
        "training example {} ({text:?}) has no soft label: {missing}; --on-missing skip leaves such \
         examples out, hard-only trains on their hard label",
        example + 1
    )
}
