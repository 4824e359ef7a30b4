//! Text without labels, from plain files or from data files whose labels are not looked at.

use std::path::Path;

use super::read::read_utf8;
use super::{Columns, DataError, LabelUse, Record, read_records};

/// Reads all texts of a file, in order: each line of a `.txt` file that is not blank, else the rows of a data file.
pub fn read_unlabelled(path: &Path, columns: &Columns) -> Result<Vec<Record>, DataError> {
    if path.extension().is_none_or(|ending| !ending.eq_ignore_ascii_case("txt")) {
        return Ok(read_records(path, columns, LabelUse::Ignored)?.into_rows());
    }
    let text = read_utf8(path)?;
    let lines = (1..).zip(text.lines()).filter(|(_, text)| !text.trim().is_empty());
    let record = |(line, text): (_, &str)| Record {
        text: text.to_owned(),
        text_pair: None,
        target: None,
        line,
    };
    Ok(lines.map(record).collect())
}
