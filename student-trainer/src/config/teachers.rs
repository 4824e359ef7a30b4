//! From the settings of teachers to where rows come from and how several become one.

use std::path::{Path, PathBuf};

use lectern::{commands::Usage, data::Task};

use super::{
    TrainOptions,
    choices::CombineKind::{self, Confidence, Mean},
};
use crate::labels::{LabelError, TeacherUrl};

/// Where a teacher's soft labels come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelSource {
    /// A teacher that is asked while the run goes on.
    Teacher(TeacherUrl),
    /// A file of rows that were exported from a teacher's store.
    File(PathBuf),
}

impl LabelSource {
    /// One of the two flags, or neither.
    pub fn from_flags(teacher: Option<&str>, labels: Option<&Path>) -> Result<Option<Self>, Usage> {
        let sources = Self::several(teacher, labels.map(Path::to_owned).as_slice())?;
        Ok(sources.into_iter().next())
    }

    /// Of one of the two flags, as often as it was given.
    pub fn several<'a>(
        teachers: impl IntoIterator<Item = &'a str>,
        labels: &[PathBuf],
    ) -> Result<Vec<Self>, Usage> {
        let teachers = teachers.into_iter().map(|url| match url.parse() {
            Ok(url) => Ok(Self::Teacher(url)),
            Err(cause) => Err(Usage(LabelError::to_string(&cause))),
        });
        let files = labels.iter().map(|path| {
            if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("parquet")) {
                return Ok(Self::File(path.clone()));
            }
            Err(Usage(format!(
                "--labels {}: not a .parquet file of soft labels, as `teacher-server store export` \
                 writes it; names of labels are given with --label-names",
                path.display()
            )))
        });
        let teachers: Vec<Self> = teachers.collect::<Result<_, _>>()?;
        let files: Vec<Self> = files.collect::<Result<_, _>>()?;
        match (teachers.is_empty(), files.is_empty()) {
            (false, false) => Err(Usage(
                "--teacher and --labels exclude each other: rows come from a server or from a file"
                    .to_owned(),
            )),
            (false, true) => Ok(teachers),
            (true, _) => Ok(files),
        }
    }
}

/// How the rows of `K` teachers become one.
#[derive(Debug, Clone, PartialEq)]
pub enum Combine {
    /// `Σ_k w_k · t_k`, with `[K]` weights that add up to 1.
    Mean(Vec<f64>),
    /// The same with weights for each example, by how near each teacher is to its hard label, or how sure; a
    /// single-label task's.
    Confidence,
}

impl Combine {
    /// Whether it means anything for `task`.
    pub(super) fn check(&self, task: Task) -> Result<(), Usage> {
        match self {
            Self::Confidence if task != Task::SingleLabel => Err(Usage(format!(
                "--combine confidence compares probabilities of single labels, this is a {task} task; \
                 --combine mean is for any"
            ))),
            Self::Confidence | Self::Mean(_) => Ok(()),
        }
    }
}

impl TrainOptions {
    pub(super) fn label_sources(&self) -> Result<Vec<LabelSource>, Usage> {
        let teachers = self.teacher.iter().flatten().map(String::as_str);
        LabelSource::several(teachers, self.labels.as_deref().unwrap_or_default())
    }

    /// How the rows of this many teachers become one.
    pub(super) fn resolve_combine(&mut self, teachers: usize) -> Result<Combine, Usage> {
        if teachers < 2 {
            let given = [
                ("combine", self.combine.is_some()),
                ("teacher-weights", self.teacher_weights.is_some()),
            ];
            return match given.iter().find(|(_, given)| *given) {
                None => Ok(Combine::Mean(vec![1.0; teachers])),
                Some((flag, _)) => Err(Usage(format!(
                    "--{flag} is for several teachers: give --teacher, or --labels, for each of them"
                ))),
            };
        }
        let kind: CombineKind = *self.combine.get_or_insert(Mean);
        match (kind, self.teacher_weights.as_deref()) {
            (Confidence, None) => Ok(Combine::Confidence),
            (Confidence, Some(_)) => Err(Usage(
                "--teacher-weights belongs to --combine mean; confidence finds weights for each example"
                    .to_owned(),
            )),
            (Mean, None) => Ok(Combine::Mean(vec![1.0 / teachers as f64; teachers])),
            (Mean, Some(weights)) if weights.len() != teachers => Err(Usage(format!(
                "--teacher-weights: {} weights for {teachers} teachers",
                weights.len()
            ))),
            (Mean, Some(weights)) => {
                for weight in weights {
                    if !(weight.is_finite() && *weight > 0.0) {
                        return Err(Usage(format!("--teacher-weights: {weight} must be positive")));
                    }
                }
                let all: f64 = weights.iter().sum();
                Ok(Combine::Mean(weights.iter().map(|weight| weight / all).collect()))
            }
        }
    }
}
