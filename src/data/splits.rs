//! The files of one experiment, read together so that all of them have the same labels.

use std::fs::File;
use std::path::Path;

use super::read::unreadable;
use super::{Columns, DataError, Example, LabelError, LabelSet, LabelUse, Task, read_records};

/// Where the files are.
#[derive(Debug, Clone, Copy)]
pub struct SplitFiles<'a> {
    /// To train on; gives the label set where `label_names` does not.
    pub train: &'a Path,
    /// To choose the best epoch by.
    pub dev: &'a Path,
    /// For a last report.
    pub test: Option<&'a Path>,
    /// Label names in order.
    pub label_names: Option<&'a Path>,
    /// What their labels are read for.
    pub task: Task,
    /// The columns of all of them.
    pub columns: &'a Columns,
}

impl SplitFiles<'_> {
    /// Opens each file and reads none: for before anything that takes long.
    pub fn check_there(&self) -> Result<(), DataError> {
        for path in
            [Some(self.train), Some(self.dev), self.test, self.label_names].into_iter().flatten()
        {
            File::open(path).map_err(|error| unreadable(path, error))?;
        }
        Ok(())
    }
}

/// Labelled examples by their use; their targets are of `labels`.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "see SplitFiles")]
pub struct Splits {
    pub labels: LabelSet,
    pub train: Vec<Example>,
    pub dev: Vec<Example>,
    pub test: Option<Vec<Example>>,
}

impl Splits {
    /// Reads all files; a label that training does not know is an error at its line.
    pub fn read(files: SplitFiles<'_>) -> Result<Self, DataError> {
        let read = |path| read_records(path, files.columns, LabelUse::Required(files.task));
        let (train, dev) = (read(files.train)?, read(files.dev)?);
        let test = files.test.map(read).transpose()?;
        let labels = match files.label_names {
            Some(path) => LabelSet::from_file(path, files.task)?,
            None => train.label_set()?,
        };
        Ok(Self {
            train: train.resolve(&labels)?,
            dev: dev.resolve(&labels)?,
            test: test.map(|test| test.resolve(&labels)).transpose()?,
            labels,
        })
    }

    /// Renumbers every label as `other` numbers the same names.
    pub fn relabel(&mut self, other: LabelSet) -> Result<(), LabelError> {
        let to_other = self.labels.mapping_to(&other)?;
        let all = self.train.iter_mut().chain(&mut self.dev).chain(self.test.iter_mut().flatten());
        for target in all.filter_map(|example| example.target.as_mut()) {
            target.renumber(&to_other);
        }
        self.labels = other;
        Ok(())
    }
}
