//! Everything that can be wrong with a data file, each said with the file, the line and the way out.

use std::io;
use std::path::PathBuf;

use super::{LabelError, RawLabel};

/// A data file that cannot be used as asked. `line` counts from 1; in a Parquet file it is the row.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the message beside each variant says what its fields are")]
pub enum DataError {
    #[error("{path} does not exist")]
    Missing { path: PathBuf },
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} is empty")]
    Empty { path: PathBuf },
    #[error("{path} has no rows")]
    NoRows { path: PathBuf },
    #[error(
        "{path}: the name must end in .json, .jsonl, .ndjson, .csv, .tsv or .parquet to say its format"
    )]
    UnknownFormat { path: PathBuf },
    #[error("{path}:{line}: not UTF-8 at byte {byte} of the file; save it as UTF-8")]
    NotUtf8 { path: PathBuf, line: usize, byte: u64 },
    #[error("{path}:{line}: not valid {format}: {cause}")]
    Malformed { path: PathBuf, line: usize, format: &'static str, cause: String },
    #[error("{path} is not a readable Parquet file: {source}")]
    Parquet { path: PathBuf, source: parquet::errors::ParquetError },
    #[error("{path}: no column {column:?}, there are {found}; name the right one with {flag}")]
    MissingColumn { path: PathBuf, column: String, found: String, flag: &'static str },
    #[error("{path}:{line}: no text in column {column:?}")]
    NoText { path: PathBuf, line: usize, column: String },
    #[error("{path}:{line}: no label in column {column:?}")]
    NoLabel { path: PathBuf, line: usize, column: String },
    #[error("{path}:{line}: column {column:?} must be {wanted}, found {found}")]
    WrongType { path: PathBuf, line: usize, column: String, wanted: &'static str, found: String },
    #[error("{path}:{line}: label {label:?} is not one of {known}")]
    UnknownLabel { path: PathBuf, line: usize, label: String, known: String },
    #[error(
        "{path}:{line}: label {label:?} stands twice in its row; a row lists each of its labels once, not a \
         0 or 1 for every label"
    )]
    LabelTwice { path: PathBuf, line: usize, label: String },
    #[error("{path}:{line}: label id {id} is past the last of {known} (ids start at 0)")]
    UnknownId { path: PathBuf, line: usize, id: usize, known: String },
    #[error(
        "{path}:{line}: label {label} among {others}s as at line {other_line} ({other}); use one \
         kind, or name all labels with --label-names FILE",
        others = .other.kind()
    )]
    MixedLabels { path: PathBuf, line: usize, label: RawLabel, other: RawLabel, other_line: usize },
    #[error(
        "{path}:{line}: label id {max}, but no row has id {missing}; ids run from 0 without gaps, \
         name the labels with --label-names FILE"
    )]
    IdGap { path: PathBuf, line: usize, max: usize, missing: usize },
    #[error("{path}: {source}")]
    Labels { path: PathBuf, source: LabelError },
    #[error("{path}:{line}: longer than {limit} bytes")]
    LineTooLong { path: PathBuf, line: usize, limit: u64 },
}

/// At most this many names are listed in a message.
const LISTED: usize = 20;

/// `"a", "b", "c" and 7 more`, for messages.
pub(super) fn listed<S: AsRef<str>>(names: &[S]) -> String {
    let quoted: Vec<String> =
        names.iter().take(LISTED).map(|name| format!("{:?}", name.as_ref())).collect();
    match names.len().saturating_sub(LISTED) {
        0 if names.is_empty() => "none".to_owned(),
        0 => quoted.join(", "),
        more => format!("{} and {more} more", quoted.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_cut_and_counted() {
        let names: Vec<String> = (0..23).map(|i| i.to_string()).collect();
        assert!(listed(&names).ends_with("\"18\", \"19\" and 3 more"));
        assert_eq!(listed(&["体育"]), "\"体育\"");
        assert_eq!(listed::<&str>(&[]), "none");
    }
}
