//! Opens a data file, finds out its format and hands it to that format's reader.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader};
use std::path::Path;

use super::columns::Request;
use super::{
    Columns, DataError, InputFormat, InputRecords, LabelUse, Record, Records, delimited, json,
    parquet,
};

/// Reads every row of a JSON array, JSON Lines, CSV, TSV or Parquet file, in order.
///
/// The name's ending says the format; whether JSON is an array or lines, its first character says.
/// All but Parquet must be UTF-8; a byte order mark and CRLF are accepted.
pub fn read_records(
    path: &Path,
    columns: &Columns,
    labels: LabelUse,
) -> Result<Records, DataError> {
    let request = Request { path, columns, labels };
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
    let rows = match ending.as_deref() {
        Some("json" | "jsonl" | "ndjson") => json::read(&read_utf8(path)?, request),
        Some("csv") => delimited::read(&read_utf8(path)?, delimited::Dialect::Csv, request),
        Some("tsv") => delimited::read(&read_utf8(path)?, delimited::Dialect::Tsv, request),
        Some("parquet") => parquet::read(request),
        _ => Err(DataError::UnknownFormat { path: path.to_owned() }),
    }?;
    if rows.is_empty() {
        return Err(DataError::NoRows { path: path.to_owned() });
    }
    let task = labels.task().unwrap_or_default();
    Ok(Records::new(path.to_owned(), rows, task, columns.label().to_owned()))
}

/// The lines of a UTF-8 file that are not blank, in order.
pub fn read_lines(path: &Path) -> Result<Vec<String>, DataError> {
    let text = read_utf8(path)?;
    Ok(text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect())
}

/// The rows of one file one after the other; see [`stream_records`].
pub type RecordStream = Box<dyn Iterator<Item = Result<Record, DataError>> + Send>;

/// Reads the texts of a file of any size, in order, whatever its labels.
///
/// JSON Lines, Parquet and, with `plain`, lines of text go by and are never held; a JSON array, CSV and
/// TSV are read whole. Unlike [`read_records`], a file without rows is no error.
pub fn stream_records(
    path: &Path,
    columns: &Columns,
    plain: bool,
) -> Result<RecordStream, DataError> {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
    let format = match ending.as_deref() {
        _ if plain => InputFormat::Plain,
        Some("json" | "jsonl" | "ndjson") => InputFormat::JsonLines,
        Some("parquet") => {
            let request = Request { path, columns, labels: LabelUse::Ignored };
            return Ok(Box::new(parquet::Rows::open(request)?));
        }
        _ => return whole(path, columns),
    };
    let mut reader = BufReader::new(File::open(path).map_err(|error| unreadable(path, error))?);
    let beginning = reader.fill_buf().map_err(|error| unreadable(path, error))?;
    let beginning = beginning.strip_prefix(b"\xef\xbb\xbf").unwrap_or(beginning);
    if format == InputFormat::JsonLines && beginning.trim_ascii_start().starts_with(b"[") {
        return whole(path, columns);
    }
    Ok(Box::new(InputRecords::new(reader, path, format).with_columns(columns.clone())))
}

fn whole(path: &Path, columns: &Columns) -> Result<RecordStream, DataError> {
    let records = read_records(path, columns, LabelUse::Ignored)?;
    Ok(Box::new(records.into_rows().into_iter().map(Ok)))
}

/// A whole file as text without its byte order mark; a file of white space counts as empty.
pub(super) fn read_utf8(path: &Path) -> Result<String, DataError> {
    let bytes = fs::read(path).map_err(|error| unreadable(path, error))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        DataError::NotUtf8 {
            path: path.to_owned(),
            line: 1 + newlines(&error.as_bytes()[..valid]),
            byte: valid as u64,
        }
    })?;
    let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
    if text.trim().is_empty() {
        return Err(DataError::Empty { path: path.to_owned() });
    }
    Ok(text)
}

/// Says of a file that is not there just that.
pub(super) fn unreadable(path: &Path, source: io::Error) -> DataError {
    let path = path.to_owned();
    if source.kind() == io::ErrorKind::NotFound {
        DataError::Missing { path }
    } else {
        DataError::Read { path, source }
    }
}

pub(super) fn newlines(text: &[u8]) -> usize {
    text.split(|byte| *byte == b'\n').count() - 1
}
