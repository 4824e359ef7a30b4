//! Which columns hold the text, the second text and the label, and the checks that every format
//! shares. Knows headers and cells, not how a file encodes them.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::cell::Cell;
use super::error::listed;
use super::{DataError, Record, Task};

/// Names of the columns; `None` is the default name, and a name that is given must be in the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Columns {
    /// Column of the text; default `text`.
    pub text: Option<String>,
    /// Column of the second text; default `text_pair`, which a file need not have.
    pub text_pair: Option<String>,
    /// Column of the label; default `label`.
    pub label: Option<String>,
}

impl Columns {
    pub(super) fn text(&self) -> &str {
        self.text.as_deref().unwrap_or("text")
    }

    pub(super) fn text_pair(&self) -> &str {
        self.text_pair.as_deref().unwrap_or("text_pair")
    }

    pub(super) fn label(&self) -> &str {
        self.label.as_deref().unwrap_or("label")
    }
}

/// What is read of the label column, and whether a row may come without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabelUse {
    /// Every row must have what the task asks for: training with hard labels, and evaluation.
    Required(Task),
    /// Rows, or the whole file, may do without: training on soft labels alone.
    Optional(Task),
    /// Not looked at: text to be labelled.
    Ignored,
}

impl LabelUse {
    /// The task that the labels are read for; `None` where they are not read.
    pub(super) const fn task(self) -> Option<Task> {
        match self {
            Self::Required(task) | Self::Optional(task) => Some(task),
            Self::Ignored => None,
        }
    }
}

/// What is asked of one file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) path: &'a Path,
    pub(super) columns: &'a Columns,
    pub(super) labels: LabelUse,
}

/// Where in a header the columns stand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Positions {
    pub(super) text: usize,
    pub(super) text_pair: Option<usize>,
    pub(super) label: Option<usize>,
}

impl Request<'_> {
    /// Finds the columns in a header.
    pub(super) fn locate(&self, header: &[&str]) -> Result<Positions, DataError> {
        let text_pair = self.locate_pair(header)?;
        let text = self.position(header, self.columns.text(), "--text-column")?;
        let label = self.position(header, self.columns.label(), "--label-column");
        let label = match self.labels {
            LabelUse::Ignored => None,
            LabelUse::Optional(_) if self.columns.label.is_none() => label.ok(),
            LabelUse::Required(_) | LabelUse::Optional(_) => Some(label?),
        };
        Ok(Positions { text, text_pair, label })
    }

    /// Finds the column of the second text, which may be absent unless it was named.
    pub(super) fn locate_pair(&self, header: &[&str]) -> Result<Option<usize>, DataError> {
        let position = self.position(header, self.columns.text_pair(), "--text-pair-column");
        if self.columns.text_pair.is_some() { position.map(Some) } else { Ok(position.ok()) }
    }

    fn position(
        &self,
        header: &[&str],
        column: &str,
        flag: &'static str,
    ) -> Result<usize, DataError> {
        header.iter().position(|name| *name == column).ok_or_else(|| DataError::MissingColumn {
            path: self.path.to_owned(),
            column: column.to_owned(),
            found: listed(header),
            flag,
        })
    }

    /// Makes a record of one row's cells, refusing one without text or without a label it needs. `label`
    /// is asked for only where labels are read.
    pub(super) fn record(
        &self,
        line: usize,
        text: Option<String>,
        text_pair: Option<String>,
        label: impl FnOnce() -> Option<Cell>,
    ) -> Result<Record, DataError> {
        let path = || self.path.to_owned();
        let written = |cell: &String| !cell.trim().is_empty();
        let Some(text) = text.filter(written) else {
            return Err(DataError::NoText {
                path: path(),
                line,
                column: self.columns.text().to_owned(),
            });
        };
        let target = match self.labels.task() {
            None => None,
            Some(task) => label().map(|cell| self.target(task, line, &cell)).transpose()?.flatten(),
        };
        if target.is_none() && matches!(self.labels, LabelUse::Required(_)) {
            let column = self.columns.label().to_owned();
            return Err(DataError::NoLabel { path: path(), line, column });
        }
        Ok(Record { text, text_pair: text_pair.filter(written), target, line })
    }

    pub(super) fn wrong_type(
        &self,
        line: usize,
        column: &str,
        wanted: &'static str,
        found: impl Into<String>,
    ) -> DataError {
        DataError::WrongType {
            path: self.path.to_owned(),
            line,
            column: column.to_owned(),
            wanted,
            found: found.into(),
        }
    }
}
