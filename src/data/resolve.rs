//! What labels mean: names looked up by name, ids as indices.
//!
//! One rule for a whole file, so that no label is read one way in one row and another in the next:
//! if any name of the label set is itself an integer (star ratings `1` to `5`), integers in the
//! data are names; otherwise they are indices from 0, and a file that mixes them with names is
//! refused.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use super::error::listed;
use super::{DataError, Example, LabelError, LabelSet, RawLabel, Record};

/// The rows of one file, at least one, in the file's order.
#[derive(Debug, Clone)]
pub struct Records {
    path: PathBuf,
    rows: Vec<Record>,
}

impl RawLabel {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Id(_) => "id",
            Self::Name(_) => "name",
        }
    }
}

impl Records {
    pub(super) fn new(path: PathBuf, rows: Vec<Record>) -> Self {
        Self { path, rows }
    }

    /// The file they came from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The rows as read.
    pub fn rows(&self) -> &[Record] {
        &self.rows
    }

    /// The rows as read, to keep.
    pub fn into_rows(self) -> Vec<Record> {
        self.rows
    }

    /// The label set of a training file that comes without one: its names, sorted; or `"0"` to the
    /// largest of its ids, each of which must occur.
    pub fn label_set(&self) -> Result<LabelSet, DataError> {
        let mut first: Option<(&RawLabel, usize)> = None;
        let mut names = BTreeSet::new();
        let mut ids = BTreeSet::new();
        for (label, line) in self.labels() {
            self.check_kind(label, line, *first.get_or_insert((label, line)))?;
            match label {
                RawLabel::Name(name) => _ = names.insert(name.clone()),
                RawLabel::Id(id) => _ = ids.insert(*id),
            }
        }
        if let Some((missing, _)) = ids.iter().enumerate().find(|(index, id)| index != *id) {
            let max = ids.last().copied().unwrap_or(missing);
            let at_max = |(label, _): &(&RawLabel, usize)| **label == RawLabel::Id(max);
            let line = self.labels().find(at_max).map_or(1, |(_, line)| line);
            return Err(DataError::IdGap { path: self.path.clone(), line, max, missing });
        }
        let names = names.into_iter().chain(ids.iter().map(usize::to_string)).collect();
        LabelSet::new(names).map_err(|source| self.refused(source))
    }

    /// Makes examples of the rows; a label that `labels` does not have is an error at its line.
    pub fn resolve(self, labels: &LabelSet) -> Result<Vec<Example>, DataError> {
        let classes: HashMap<&str, usize> =
            labels.names().iter().enumerate().map(|(class, name)| (name.as_str(), class)).collect();
        let numerals_are_names = labels.names().iter().any(|name| name.parse::<i64>().is_ok());
        let mut first: Option<(&RawLabel, usize)> = None;
        let mut resolved = Vec::with_capacity(self.rows.len());
        for row in &self.rows {
            let class = match &row.label {
                None => None,
                Some(RawLabel::Id(id)) if !numerals_are_names => {
                    if *id >= labels.len() {
                        return Err(DataError::UnknownId {
                            path: self.path.clone(),
                            line: row.line,
                            id: *id,
                            known: listed(labels.names()),
                        });
                    }
                    Some(*id)
                }
                Some(label) => {
                    let name = label.to_string();
                    let unknown = || DataError::UnknownLabel {
                        path: self.path.clone(),
                        line: row.line,
                        label: name.clone(),
                        known: listed(labels.names()),
                    };
                    Some(*classes.get(name.as_str()).ok_or_else(unknown)?)
                }
            };
            if let Some(label) = row.label.as_ref().filter(|_| !numerals_are_names) {
                self.check_kind(label, row.line, *first.get_or_insert((label, row.line)))?;
            }
            resolved.push(class);
        }
        let examples = self.rows.into_iter().zip(resolved).map(|(row, label)| Example {
            text: row.text,
            text_pair: row.text_pair,
            label,
        });
        Ok(examples.collect())
    }

    fn labels(&self) -> impl Iterator<Item = (&RawLabel, usize)> {
        self.rows.iter().filter_map(|row| Some((row.label.as_ref()?, row.line)))
    }

    fn check_kind(
        &self,
        label: &RawLabel,
        line: usize,
        (other, other_line): (&RawLabel, usize),
    ) -> Result<(), DataError> {
        if label.kind() == other.kind() {
            return Ok(());
        }
        let (label, other) = (label.clone(), other.clone());
        Err(DataError::MixedLabels { path: self.path.clone(), line, label, other, other_line })
    }

    fn refused(&self, source: LabelError) -> DataError {
        DataError::Labels { path: self.path.clone(), source }
    }
}
