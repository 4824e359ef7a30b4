//! Texts without labels, one per line, read as they come and never held whole.

use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};

use super::columns::Request;
use super::{Columns, DataError, LabelUse, Record, json};

/// What a line of input is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputFormat {
    /// A JSON object with `text` and optionally `text_pair`; other keys, and blank lines, are skipped.
    JsonLines,
    /// The text itself. A blank line is an error, because answers are told apart by their order.
    Plain,
}

/// A line longer than this is no text but the wrong file; it would otherwise be held in memory.
const LONGEST_LINE: u64 = 16 << 20;

/// Records without labels from a reader, each with its line or the error at that line. Ends after
/// the first error.
#[derive(Debug)]
pub struct InputRecords<R> {
    reader: R,
    name: PathBuf,
    format: InputFormat,
    columns: Columns,
    buffer: Vec<u8>,
    line: usize,
    bytes: u64,
    ended: bool,
}

impl<R: BufRead> InputRecords<R> {
    /// `name` stands for the reader in errors: its path, or `-`.
    pub fn new(reader: R, name: impl Into<PathBuf>, format: InputFormat) -> Self {
        Self {
            reader,
            name: name.into(),
            format,
            columns: Columns::default(),
            buffer: Vec::new(),
            line: 0,
            bytes: 0,
            ended: false,
        }
    }

    /// With other keys than `text` and `text_pair`.
    #[must_use]
    pub fn with_columns(mut self, columns: Columns) -> Self {
        self.columns = columns;
        self
    }

    /// The next line that is a row; `None` at the end.
    fn read(&mut self) -> Result<Option<Record>, DataError> {
        loop {
            self.buffer.clear();
            let path = || self.name.clone();
            let mut limited = self.reader.by_ref().take(LONGEST_LINE + 1);
            let length = limited
                .read_until(b'\n', &mut self.buffer)
                .map_err(|source| DataError::Read { path: path(), source })?;
            if length == 0 {
                return Ok(None);
            }
            self.line += 1;
            let line = self.line;
            if length as u64 > LONGEST_LINE {
                return Err(DataError::LineTooLong { path: path(), line, limit: LONGEST_LINE });
            }
            let text = std::str::from_utf8(&self.buffer).map_err(|error| DataError::NotUtf8 {
                path: path(),
                line,
                byte: self.bytes + error.valid_up_to() as u64,
            })?;
            self.bytes += length as u64;
            let text = if line == 1 { text.trim_start_matches('\u{feff}') } else { text };
            if let Some(record) = parse(text, line, &self.name, self.format, &self.columns)? {
                return Ok(Some(record));
            }
        }
    }
}

fn parse(
    text: &str,
    line: usize,
    path: &Path,
    format: InputFormat,
    columns: &Columns,
) -> Result<Option<Record>, DataError> {
    let request = Request { path, columns, labels: LabelUse::Ignored };
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    match format {
        InputFormat::Plain => request.record(line, Some(text.to_owned()), None, || None).map(Some),
        InputFormat::JsonLines if text.trim().is_empty() => Ok(None),
        InputFormat::JsonLines => {
            json::record(&json::parse_line(text, line, request)?, line, request).map(Some)
        }
    }
}

impl<R: BufRead> Iterator for InputRecords<R> {
    type Item = Result<Record, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.read().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_to_predict_is_read_line_by_line() {
        let read = |text: &'static str, format| {
            InputRecords::new(text.as_bytes(), "-", format).collect::<Vec<_>>()
        };
        let json = read(
            "\u{feff}{\"text\": \"a\", \"label\": 9.5}\r\n\n{\"text_pair\": \"c\", \"text\": \"b\"}",
            InputFormat::JsonLines,
        );
        let record = |text: &str, pair: Option<&str>, line| Record {
            text: text.to_owned(),
            text_pair: pair.map(str::to_owned),
            target: None,
            line,
        };
        let json: Vec<_> = json.into_iter().map(Result::unwrap).collect();
        assert_eq!(json, [record("a", None, 1), record("b", Some("c"), 3)]);
        let plain: Vec<_> =
            read("one\r\n {two}\n", InputFormat::Plain).into_iter().map(Result::unwrap).collect();
        assert_eq!(plain, [record("one", None, 1), record(" {two}", None, 2)]);
    }

    #[test]
    fn the_first_bad_line_of_input_is_named_and_ends_it() {
        let read = |text: &'static [u8], format| {
            let mut rows = InputRecords::new(text, "-", format).collect::<Vec<_>>();
            let last = rows.pop().unwrap().unwrap_err().to_string();
            (rows.len(), last)
        };
        let json = InputFormat::JsonLines;
        assert_eq!(
            read(b"{\"text\": \"a\"}\n{\"txt\": \"b\"}\n{\"text\": \"c\"}\n", json),
            (1, "-:2: no text in column \"text\"".to_owned())
        );
        assert_eq!(
            read(b"just words\n", json),
            (0, "-:1: not valid JSON: expected value".to_owned())
        );
        let plain = InputFormat::Plain;
        assert_eq!(read(b"a\n\nb\n", plain), (1, "-:2: no text in column \"text\"".to_owned()));
        let (read_before, message) = read(b"ok\ncaf\xe9\n", plain);
        assert_eq!(read_before, 1);
        assert_eq!(message, "-:2: not UTF-8 at byte 6 of the file; save it as UTF-8");
    }

    #[test]
    fn a_line_without_end_is_not_held_in_memory() {
        let endless = std::io::BufReader::new(std::io::repeat(b'x'));
        let mut rows = InputRecords::new(endless, "-", InputFormat::Plain);
        let message = rows.next().unwrap().unwrap_err().to_string();
        assert_eq!(message, "-:1: longer than 16777216 bytes");
        assert!(rows.next().is_none());
    }
}
