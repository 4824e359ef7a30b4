//! What one row of a data file is: as read, and with its label understood. Knows no file format.

use std::fmt;

/// A text, or a pair of texts, with an optional hard label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// The text; never empty.
    pub text: String,
    /// The second text, for tasks on pairs; never empty.
    pub text_pair: Option<String>,
    /// Index into the [`LabelSet`](crate::data::LabelSet) the example was resolved with.
    pub label: Option<usize>,
}

/// A row as the file has it, before anyone knows what its label means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The text; never empty.
    pub text: String,
    /// The second text; an empty one in the file counts as none.
    pub text_pair: Option<String>,
    /// The label; an empty one in the file counts as none.
    pub label: Option<RawLabel>,
    /// Line the row starts at, from 1; in a Parquet file the row's number, from 1.
    pub line: usize,
}

/// A label as written: a number or a name. A numeral in quotes is a number too, so that the same
/// data gives the same labels from JSON, CSV and Parquet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RawLabel {
    /// A non-negative integer without sign or leading zeros.
    Id(usize),
    /// Anything else.
    Name(String),
}

impl RawLabel {
    /// Reads a cell; surrounding white space never belongs to a label. `None` if nothing is left.
    pub fn parse(cell: &str) -> Option<Self> {
        let cell = cell.trim();
        if cell.is_empty() {
            return None;
        }
        Some(match cell.parse::<usize>() {
            Ok(id) if id.to_string() == cell => Self::Id(id),
            _ => Self::Name(cell.to_owned()),
        })
    }
}

impl fmt::Display for RawLabel {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(out, "{id}"),
            Self::Name(name) => out.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_numerals_are_ids() {
        assert_eq!(RawLabel::parse(" 12\t"), Some(RawLabel::Id(12)));
        for name in ["012", "+1", "-1", "1.0", "1e3", "positive", "99999999999999999999999"] {
            assert_eq!(RawLabel::parse(name), Some(RawLabel::Name(name.to_owned())));
        }
        assert_eq!(RawLabel::parse("  "), None);
    }
}
