//! Parquet files; columns that are not asked for are not read.

use std::fs::File;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::Arc;

use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row, reader::RowIter};
use parquet::schema::types::Type;

use super::cell::Cell;
use super::columns::Request;
use super::read::unreadable;
use super::{Columns, DataError, LabelUse, Record};

/// All rows at once.
pub(super) fn read(request: Request<'_>) -> Result<Vec<Record>, DataError> {
    Rows::open(request)?.collect()
}

/// The rows of a file one after the other.
pub(super) struct Rows {
    path: PathBuf,
    columns: Columns,
    labels: LabelUse,
    remaining: RowIter<'static>,
    line: usize,
}

impl Rows {
    pub(super) fn open(request: Request<'_>) -> Result<Self, DataError> {
        let path = request.path;
        let broken = |source: ParquetError| DataError::Parquet { path: path.to_owned(), source };
        let file = File::open(path).map_err(|error| unreadable(path, error))?;
        if file.metadata().map_err(|error| unreadable(path, error))?.len() == 0 {
            return Err(DataError::Empty { path: path.to_owned() });
        }
        let reader = undamaged(|| SerializedFileReader::new(file)).map_err(broken)?;

        let schema = reader.metadata().file_metadata().schema();
        let header: Vec<&str> = schema.get_fields().iter().map(|field| field.name()).collect();
        let positions = request.locate(&header)?;
        let mut wanted: Vec<usize> = [Some(positions.text), positions.text_pair, positions.label]
            .into_iter()
            .flatten()
            .collect();
        wanted.sort_unstable();
        wanted.dedup();
        let wanted = wanted.into_iter().map(|column| Arc::clone(&schema.get_fields()[column]));
        let projection = Type::group_type_builder(schema.name())
            .with_fields(wanted.collect())
            .build()
            .map_err(broken)?;
        let remaining =
            undamaged(|| RowIter::from_file_into(Box::new(reader)).project(Some(projection)))
                .map_err(broken)?;
        Ok(Self {
            path: path.to_owned(),
            columns: request.columns.clone(),
            labels: request.labels,
            remaining,
            line: 0,
        })
    }
}

impl Iterator for Rows {
    type Item = Result<Record, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = undamaged(|| self.remaining.next().transpose()).transpose()?;
        self.line += 1;
        let request = Request { path: &self.path, columns: &self.columns, labels: self.labels };
        Some(match row {
            Ok(row) => record(&row, self.line, request),
            Err(error) => Err(DataError::Malformed {
                path: self.path.clone(),
                line: self.line,
                format: "Parquet",
                cause: error.to_string(),
            }),
        })
    }
}

/// The Parquet crate panics on some damaged files; that too is an error of the file.
fn undamaged<T>(read: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, ParquetError> {
    panic::catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err(ParquetError::General("its pages are damaged".to_owned())))
}

fn record(row: &Row, line: usize, request: Request<'_>) -> Result<Record, DataError> {
    let columns = request.columns;
    let text = |column: &str| match field(row, column) {
        None | Some(Field::Null) => Ok(None),
        Some(value) => match string(value) {
            Some(text) => Ok(Some(text)),
            None => Err(request.wrong_type(line, column, "a string", value.to_string())),
        },
    };
    let label = || field(row, columns.label()).and_then(cell);
    request.record(line, text(columns.text())?, text(columns.text_pair())?, label)
}

/// A value of the label column; `None` of null.
fn cell(field: &Field) -> Option<Cell> {
    Some(match field {
        Field::Null => return None,
        Field::Float16(value) => Cell::Fraction(value.to_f64()),
        Field::Float(value) => Cell::Fraction(f64::from(*value)),
        Field::Double(value) => Cell::Fraction(*value),
        Field::ListInternal(list) => {
            let null = || Cell::Other("null".to_owned());
            let elements = list.elements().iter();
            Cell::List(elements.map(|field| cell(field).unwrap_or_else(null)).collect())
        }
        other => match (string(other), integer(other)) {
            (Some(text), _) => Cell::Text(text),
            (None, Some(digits)) => Cell::Integer(digits),
            (None, None) => Cell::Other(other.to_string()),
        },
    })
}

fn field<'a>(row: &'a Row, column: &str) -> Option<&'a Field> {
    row.get_column_iter().find(|(name, _)| *name == column).map(|(_, field)| field)
}

/// Some writers store strings as bytes without saying that they are text.
fn string(field: &Field) -> Option<String> {
    match field {
        Field::Str(text) => Some(text.clone()),
        Field::Bytes(bytes) => String::from_utf8(bytes.data().to_vec()).ok(),
        _ => None,
    }
}

fn integer(field: &Field) -> Option<String> {
    match field {
        Field::Byte(id) => Some(id.to_string()),
        Field::Short(id) => Some(id.to_string()),
        Field::Int(id) => Some(id.to_string()),
        Field::Long(id) => Some(id.to_string()),
        Field::UByte(id) => Some(id.to_string()),
        Field::UShort(id) => Some(id.to_string()),
        Field::UInt(id) => Some(id.to_string()),
        Field::ULong(id) => Some(id.to_string()),
        _ => None,
    }
}
