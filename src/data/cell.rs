//! What a label column holds, and what a task makes of it: one rule for every format.
//!
//! | task | JSON, Parquet | CSV, TSV |
//! |---|---|---|
//! | single-label | a string or an integer | the same |
//! | multi-label | a list of strings or of integers; an empty one says that no label applies | labels separated by `\|`; an empty cell says that none applies |
//! | regression | a number, or a string that is one | the same |
//!
//! A list names the labels that apply. A row of zeros and ones, one for each label, is not read: `[1, 0]`
//! would be the labels 1 and 0. White space around a label does not belong to it, so a name that
//! contains `|` can be written in JSON and Parquet alone.

use super::columns::Request;
use super::{DataError, RawLabel, Target, Task};

/// Between the labels of a CSV or TSV cell.
const SEPARATOR: char = '|';

/// Characters of a value that are shown in a message.
const SHOWN: usize = 60;

/// One value of a label column, whatever format it comes from.
#[derive(Debug)]
pub(super) enum Cell {
    /// Of CSV or TSV, where nothing has a type.
    Field(String),
    /// A string.
    Text(String),
    /// An integer's digits.
    Integer(String),
    /// A number that is not written as an integer.
    Fraction(f64),
    /// A list.
    List(Vec<Cell>),
    /// Nothing that a task has a use for, as written.
    Other(String),
}

impl Cell {
    /// As a message shows it.
    fn shown(&self) -> String {
        let whole = match self {
            Self::Field(text) | Self::Text(text) => format!("{text:?}"),
            Self::Integer(text) | Self::Other(text) => text.clone(),
            Self::Fraction(value) => value.to_string(),
            Self::List(cells) => {
                let cells: Vec<String> = cells.iter().take(SHOWN).map(Self::shown).collect();
                format!("[{}]", cells.join(", "))
            }
        };
        match whole.char_indices().nth(SHOWN) {
            Some((end, _)) => format!("{}…", &whole[..end]),
            None => whole,
        }
    }
}

impl Request<'_> {
    /// What a label column's cell says under `task`; `None` if it is empty.
    pub(super) fn target(
        &self,
        task: Task,
        line: usize,
        cell: &Cell,
    ) -> Result<Option<Target<RawLabel>>, DataError> {
        let wrong = |wanted| {
            let found = match (task, cell) {
                (Task::SingleLabel, Cell::List(_)) => {
                    format!("{}; lists of labels are for a multi-label task", cell.shown())
                }
                (Task::SingleLabel, Cell::Fraction(_)) => {
                    format!("{}; such numbers are for a regression task", cell.shown())
                }
                _ => cell.shown(),
            };
            self.wrong_type(line, self.columns.label(), wanted, found)
        };
        match task {
            Task::SingleLabel => match cell {
                Cell::Field(text) | Cell::Text(text) | Cell::Integer(text) => {
                    Ok(RawLabel::parse(text).map(Target::Label))
                }
                _ => Err(wrong("a string or an integer")),
            },
            Task::MultiLabel => {
                let wrong = || match cell {
                    Cell::Field(_) => wrong("labels with | between them"),
                    _ => wrong("a list of label names or of label ids"),
                };
                let labels: Option<Vec<_>> = match cell {
                    Cell::Field(text) if text.trim().is_empty() => Some(Vec::new()),
                    Cell::Field(text) => text.split(SEPARATOR).map(RawLabel::parse).collect(),
                    Cell::List(cells) => cells.iter().map(element).collect(),
                    _ => None,
                };
                Ok(Some(Target::Labels(labels.ok_or_else(wrong)?)))
            }
            Task::Regression => {
                let value = match cell {
                    Cell::Field(text) | Cell::Text(text) if text.trim().is_empty() => {
                        return Ok(None);
                    }
                    Cell::Field(text) | Cell::Text(text) | Cell::Integer(text) => {
                        text.trim().parse().ok()
                    }
                    Cell::Fraction(value) => Some(*value as f32),
                    Cell::List(_) | Cell::Other(_) => None,
                };
                // Rust's parser also takes "nan" and "inf", and large numbers become infinite.
                match value.filter(|value: &f32| value.is_finite()) {
                    Some(value) => Ok(Some(Target::Value(value))),
                    None => Err(wrong("a finite number")),
                }
            }
        }
    }
}

fn element(cell: &Cell) -> Option<RawLabel> {
    match cell {
        Cell::Text(text) | Cell::Integer(text) => RawLabel::parse(text),
        _ => None,
    }
}
