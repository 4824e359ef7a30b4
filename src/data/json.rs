//! JSON arrays of objects and JSON Lines. Keeps one object in memory beside the text.

use serde_json::{Map, Value};

use super::cell::Cell;
use super::columns::Request;
use super::read::newlines;
use super::{DataError, Record};

/// Reads a JSON array, if the first character opens one, or else one object per line.
pub(super) fn read(text: &str, request: Request<'_>) -> Result<Vec<Record>, DataError> {
    let mut rows = Rows { request, records: Vec::new(), first_keys: Vec::new(), pair_seen: false };
    if text.trim_start().starts_with('[') {
        read_array(text, &mut rows)?;
    } else {
        for (index, line) in text.lines().enumerate() {
            if !line.trim().is_empty() {
                rows.push(index + 1, &parse_line(line, index + 1, request)?)?;
            }
        }
    }
    rows.finish()
}

/// One object on a line of its own.
pub(super) fn parse_line(
    line: &str,
    number: usize,
    request: Request<'_>,
) -> Result<Map<String, Value>, DataError> {
    serde_json::from_str(line).map_err(|error| malformed(request, number, cause(&error)))
}

/// Makes a record of an object, checking the types of its values.
pub(super) fn record(
    object: &Map<String, Value>,
    line: usize,
    request: Request<'_>,
) -> Result<Record, DataError> {
    let text = |column: &str| match object.get(column) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(request.wrong_type(line, column, "a string", kind(other))),
    };
    let label = || object.get(request.columns.label()).and_then(cell);
    request.record(line, text(request.columns.text())?, text(request.columns.text_pair())?, label)
}

/// A value of the label column; `None` of null.
fn cell(value: &Value) -> Option<Cell> {
    Some(match value {
        Value::Null => return None,
        Value::String(text) => Cell::Text(text.clone()),
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(value) => Cell::Fraction(value),
            None => Cell::Integer(number.to_string()),
        },
        // A null among labels is no label.
        Value::Array(values) => {
            let null = || Cell::Other("null".to_owned());
            Cell::List(values.iter().map(|value| cell(value).unwrap_or_else(null)).collect())
        }
        Value::Bool(_) | Value::Object(_) => Cell::Other(value.to_string()),
    })
}

/// Rows so far. A key may be absent from some rows; what no row has is a missing column.
struct Rows<'a> {
    request: Request<'a>,
    records: Vec<Record>,
    first_keys: Vec<String>,
    pair_seen: bool,
}

impl Rows<'_> {
    fn push(&mut self, line: usize, object: &Map<String, Value>) -> Result<(), DataError> {
        let pair = self.request.columns.text_pair();
        if self.records.is_empty() {
            self.first_keys = object.keys().cloned().collect();
            // The second text may first occur further down.
            let mut keys: Vec<&str> = self.first_keys.iter().map(String::as_str).collect();
            keys.push(pair);
            if let Err(DataError::MissingColumn { path, column, flag, .. }) =
                self.request.locate(&keys)
            {
                let found = super::error::listed(&self.first_keys);
                return Err(DataError::MissingColumn { path, column, found, flag });
            }
        }
        self.pair_seen |= object.contains_key(pair);
        self.records.push(record(object, line, self.request)?);
        Ok(())
    }

    fn finish(self) -> Result<Vec<Record>, DataError> {
        if !self.pair_seen && !self.records.is_empty() {
            let keys: Vec<&str> = self.first_keys.iter().map(String::as_str).collect();
            self.request.locate_pair(&keys)?;
        }
        Ok(self.records)
    }
}

/// Reads the elements one by one, because serde knows the line of an error but not of an element.
fn read_array(text: &str, rows: &mut Rows<'_>) -> Result<(), DataError> {
    let mut cursor = Cursor { rest: text, line: 1, request: rows.request };
    cursor.take("[")?;
    while !cursor.at("]") {
        if !rows.records.is_empty() {
            cursor.take(",")?;
        }
        let (line, object) = cursor.object()?;
        rows.push(line, &object)?;
    }
    cursor.take("]")?;
    cursor.end()
}

/// What is left of an array, and the line it begins at; it never stands before white space.
struct Cursor<'a> {
    rest: &'a str,
    line: usize,
    request: Request<'a>,
}

impl Cursor<'_> {
    fn at(&self, token: &str) -> bool {
        self.rest.starts_with(token)
    }

    fn take(&mut self, token: &str) -> Result<(), DataError> {
        self.skip(0);
        if !self.at(token) {
            return Err(self.unexpected(&format!("{token:?}")));
        }
        self.skip(token.len());
        Ok(())
    }

    fn object(&mut self) -> Result<(usize, Map<String, Value>), DataError> {
        let mut element = serde_json::Deserializer::from_str(self.rest).into_iter();
        let object = element.next().ok_or_else(|| self.unexpected("an object"))?;
        let object = object.map_err(|error| {
            malformed(self.request, self.line + error.line().saturating_sub(1), cause(&error))
        })?;
        let line = self.line;
        self.skip(element.byte_offset());
        Ok((line, object))
    }

    fn end(&self) -> Result<(), DataError> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.unexpected("the end of the file")) }
    }

    /// Goes on by `bytes` and the white space after them.
    fn skip(&mut self, bytes: usize) {
        let after = self.rest[bytes..].trim_start_matches([' ', '\t', '\r', '\n']);
        self.line += newlines(&self.rest.as_bytes()[..self.rest.len() - after.len()]);
        self.rest = after;
    }

    fn unexpected(&self, expected: &str) -> DataError {
        let found = match self.rest.chars().next() {
            Some(char) => format!("expected {expected}, found {char:?}"),
            None => format!("expected {expected}, found the end of the file"),
        };
        malformed(self.request, self.line, found)
    }
}

fn malformed(request: Request<'_>, line: usize, cause: String) -> DataError {
    DataError::Malformed { path: request.path.to_owned(), line, format: "JSON", cause }
}

/// The message without serde's own line, which counts from where its slice begins.
pub(super) fn cause(error: &serde_json::Error) -> String {
    let message = error.to_string();
    message.rsplit_once(" at line ").map_or(message.as_str(), |(cause, _)| cause).to_owned()
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a fraction",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
