//! CSV and TSV with a header.
//!
//! CSV quotes as RFC 4180 says: a quoted field may hold commas, line ends and doubled quotes. TSV
//! has no quoting: a tab ends a field, a line end ends a row, and a quote is part of the text. The
//! usual TSV files (GLUE, SST) hold stray quotes, which read as CSV quoting would swallow rows.

use csv::StringRecord;

use super::cell::Cell;
use super::columns::Request;
use super::{DataError, Record};

/// What separates fields, and whether quotes mean anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Csv,
    Tsv,
}

/// A row after the last one. A quote that is never closed swallows it, which is how it is noticed:
/// the reader itself takes the end of the file for the closing quote.
const END: &str = "\n\u{1}end\n";

pub(super) fn read(
    text: &str,
    dialect: Dialect,
    request: Request<'_>,
) -> Result<Vec<Record>, DataError> {
    let (format, delimiter) = match dialect {
        Dialect::Csv => ("CSV", b','),
        Dialect::Tsv => ("TSV", b'\t'),
    };
    let malformed = |line: usize, cause: String| DataError::Malformed {
        path: request.path.to_owned(),
        line,
        format,
        cause,
    };
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .quoting(dialect == Dialect::Csv)
        .has_headers(false)
        .flexible(true)
        .from_reader(std::io::Read::chain(text.as_bytes(), END.as_bytes()));

    let mut lines = Lines { text, at: 0, line: 1 };
    let mut width = 0;
    let mut positions = None;
    let mut row = StringRecord::new();
    let mut records = Vec::new();
    loop {
        let more = reader
            .read_record(&mut row)
            .map_err(|error| malformed(lines.line, error.to_string()))?;
        let line = lines.of(&row);
        if !more || row.get(0) == Some(END.trim()) {
            return Ok(records);
        }
        if row.iter().next_back().is_some_and(|field| field.ends_with(END)) {
            return Err(malformed(line, "a quoted field that begins here never ends".to_owned()));
        }
        let Some(positions) = positions else {
            positions = Some(request.locate(&row.iter().map(str::trim).collect::<Vec<_>>())?);
            width = row.len();
            continue;
        };
        if row.len() != width {
            let cause = format!("the header has {width} columns and this row {}", row.len());
            return Err(malformed(line, cause));
        }
        let cell = |position: usize| row.get(position).map(str::to_owned);
        records.push(request.record(
            line,
            cell(positions.text),
            positions.text_pair.and_then(cell),
            || positions.label.and_then(cell).map(Cell::Field),
        )?);
    }
}

/// Counts lines as the rows go by. The reader's own count stands before any blank lines it skips.
struct Lines<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl Lines<'_> {
    fn of(&mut self, row: &StringRecord) -> usize {
        let bytes = self.text.as_bytes();
        let begin = row.position().map_or(0, |position| position.byte() as usize);
        while self.at < bytes.len() && (self.at < begin || matches!(bytes[self.at], b'\r' | b'\n'))
        {
            self.line += usize::from(bytes[self.at] == b'\n');
            self.at += 1;
        }
        self.line
    }
}
