//! What one row of a data file is: as read, and with its target understood. Knows no file format.

use std::{fmt, slice};

/// A text, or a pair of texts, with an optional hard target.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// The text; never empty.
    pub text: String,
    /// The second text, for tasks on pairs; never empty.
    pub text_pair: Option<String>,
    /// Its labels index the [`LabelSet`](crate::data::LabelSet) the example was resolved with.
    pub target: Option<Target>,
}

/// What examples say, whatever file they came from: 16 hexadecimal digits of a hash.
pub fn contents_hash(examples: &[Example]) -> String {
    let mut hasher = blake3::Hasher::new();
    for example in examples {
        // Debug output quotes every text, so that no two lists of examples are written the same.
        hasher.update(format!("{example:?}\n").as_bytes());
    }
    hasher.finalize().to_hex()[..16].to_owned()
}

/// A row as the file has it, before anyone knows which classes its labels are.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The text; never empty.
    pub text: String,
    /// The second text; an empty one in the file counts as none.
    pub text_pair: Option<String>,
    /// What the label column holds; an empty cell counts as none, but in a multi-label task as a row
    /// without labels.
    pub target: Option<Target<RawLabel>>,
    /// Line the row starts at, from 1; in a Parquet file the row's number, from 1.
    pub line: usize,
}

/// What is to be said of a text, of the kind that its [`Task`](crate::data::Task) asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Target<L = usize> {
    /// Single-label: the one label.
    Label(L),
    /// Multi-label: those that apply, each once; classes ascend.
    Labels(Vec<L>),
    /// Regression: the number, finite.
    Value(f32),
}

impl<L> Target<L> {
    /// Its labels; none of a number.
    pub fn labels(&self) -> &[L] {
        match self {
            Self::Label(label) => slice::from_ref(label),
            Self::Labels(labels) => labels,
            Self::Value(_) => &[],
        }
    }

    /// The same with every label passed through `change`.
    pub fn try_map<M, E>(self, change: impl FnMut(L) -> Result<M, E>) -> Result<Target<M>, E> {
        let mut change = change;
        Ok(match self {
            Self::Label(label) => Target::Label(change(label)?),
            Self::Labels(labels) => {
                Target::Labels(labels.into_iter().map(change).collect::<Result<_, _>>()?)
            }
            Self::Value(value) => Target::Value(value),
        })
    }
}

impl Target {
    /// The same with every class `c` called `to[c]`.
    ///
    /// # Panics
    /// If a class is not below the length of `to`.
    pub fn renumber(&mut self, to: &[usize]) {
        match self {
            Self::Label(class) => *class = to[*class],
            Self::Labels(classes) => {
                for class in &mut *classes {
                    *class = to[*class];
                }
                classes.sort_unstable();
            }
            Self::Value(_) => {}
        }
    }
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

    #[test]
    fn renumbered_classes_ascend_again() {
        let mut target = Target::Labels(vec![0, 2]);
        target.renumber(&[2, 1, 0]);
        assert_eq!(target, Target::Labels(vec![0, 2]));
        target.renumber(&[1, 2, 0]);
        assert_eq!(target, Target::Labels(vec![0, 1]));
    }
}
