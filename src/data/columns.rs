//! Which columns hold the text, the second text and the label, and the checks that every format
//! shares. Knows headers and cells, not how a file encodes them.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::listed;
use super::{DataError, RawLabel, Record};

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

/// Whether a row may come without a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabelUse {
    /// Every row must have one: training with hard labels, and evaluation.
    Required,
    /// Rows, or the whole file, may do without: training on soft labels alone.
    Optional,
    /// Not looked at: text to be labelled.
    Ignored,
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
        let label = if self.labels == LabelUse::Ignored {
            None
        } else if self.labels == LabelUse::Required || self.columns.label.is_some() {
            Some(label?)
        } else {
            label.ok()
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

    /// Makes a record of one row's cells, refusing one without text or without a label it needs.
    pub(super) fn record(
        &self,
        line: usize,
        text: Option<String>,
        text_pair: Option<String>,
        label: Option<RawLabel>,
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
        if label.is_none() && self.labels == LabelUse::Required {
            let column = self.columns.label().to_owned();
            return Err(DataError::NoLabel { path: path(), line, column });
        }
        Ok(Record { text, text_pair: text_pair.filter(written), label, line })
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
