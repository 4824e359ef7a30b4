//! What labels mean: names looked up by name, ids as indices.
//!
//! One rule for a whole file, so that no label is read one way in one row and another in the next:
//! if any name of the label set is itself an integer (star ratings `1` to `5`), integers in the
//! data are names; otherwise they are indices from 0, and a file that mixes them with names is
//! refused.

use std::collections::{BTreeSet, HashMap};
use std::iter::repeat;
use std::path::{Path, PathBuf};

use super::error::listed;
use super::{DataError, Example, LabelSet, RawLabel, Record, Target, Task};

/// The rows of one file, at least one, in the file's order.
#[derive(Debug, Clone)]
pub struct Records {
    path: PathBuf,
    rows: Vec<Record>,
    task: Task,
    /// The label column.
    column: String,
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
    pub(super) fn new(path: PathBuf, rows: Vec<Record>, task: Task, column: String) -> Self {
        Self { path, rows, task, column }
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
    /// largest of its ids, each of which must occur. A regression's one output is called after its column.
    pub fn label_set(&self) -> Result<LabelSet, DataError> {
        if self.task == Task::Regression {
            return self.of_names(vec![self.column.clone()]);
        }
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
        self.of_names(names.into_iter().chain(ids.iter().map(usize::to_string)).collect())
    }

    fn of_names(&self, names: Vec<String>) -> Result<LabelSet, DataError> {
        let refused = |source| DataError::Labels { path: self.path.clone(), source };
        LabelSet::of_task(self.task, names).map_err(refused)
    }

    /// Makes examples of the rows; a label that `labels` does not have is an error at its line.
    pub fn resolve(mut self, labels: &LabelSet) -> Result<Vec<Example>, DataError> {
        let known = Known::new(labels);
        let rows = std::mem::take(&mut self.rows);
        let mut first: Option<(RawLabel, usize)> = None;
        let mut resolved = Vec::with_capacity(rows.len());
        for Record { text, text_pair, target, line } in rows {
            let class = |label: RawLabel| {
                let class = known.class(&label).map_err(|unknown| match unknown {
                    Unknown::Name(label) => DataError::UnknownLabel {
                        path: self.path.clone(),
                        line,
                        label,
                        known: listed(labels.names()),
                    },
                    Unknown::Id(id) => DataError::UnknownId {
                        path: self.path.clone(),
                        line,
                        id,
                        known: listed(labels.names()),
                    },
                })?;
                if !known.numerals_are_names {
                    let (other, other_line) = first.get_or_insert_with(|| (label.clone(), line));
                    self.check_kind(&label, line, (other, *other_line))?;
                }
                Ok(class)
            };
            let mut target = target.map(|target| target.try_map(class)).transpose()?;
            if let Some(Target::Labels(classes)) = &mut target {
                classes.sort_unstable();
                if let Some(twice) = classes.windows(2).find(|pair| pair[0] == pair[1]) {
                    let label = labels.names()[twice[0]].clone();
                    return Err(DataError::LabelTwice { path: self.path.clone(), line, label });
                }
            }
            resolved.push(Example { text, text_pair, target });
        }
        Ok(resolved)
    }

    fn labels(&self) -> impl Iterator<Item = (&RawLabel, usize)> {
        self.rows
            .iter()
            .flat_map(|row| row.target.iter().flat_map(Target::labels).zip(repeat(row.line)))
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
}

/// A label set as labels are looked up in it.
struct Known<'a> {
    classes: HashMap<&'a str, usize>,
    numerals_are_names: bool,
}

/// What a label set does not have.
enum Unknown {
    Name(String),
    Id(usize),
}

impl<'a> Known<'a> {
    fn new(labels: &'a LabelSet) -> Self {
        let names = labels.names().iter();
        Self {
            numerals_are_names: names.clone().any(|name| name.parse::<i64>().is_ok()),
            classes: names.enumerate().map(|(class, name)| (name.as_str(), class)).collect(),
        }
    }

    fn class(&self, label: &RawLabel) -> Result<usize, Unknown> {
        match label {
            RawLabel::Id(id) if !self.numerals_are_names => {
                if *id < self.classes.len() {
                    Ok(*id)
                } else {
                    Err(Unknown::Id(*id))
                }
            }
            label => {
                let name = label.to_string();
                self.classes.get(name.as_str()).copied().ok_or(Unknown::Name(name))
            }
        }
    }
}
