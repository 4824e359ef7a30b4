//! Writes a label file in row groups of bounded size, whole or not at all.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use parquet::{
    basic::Compression,
    data_type::{
        BoolType, ByteArray, DataType, FixedLenByteArray, FixedLenByteArrayType, FloatType,
    },
    errors::ParquetError,
    file::{
        metadata::{KeyValue, SortingColumn},
        properties::WriterProperties,
        writer::{SerializedFileWriter, SerializedRowGroupWriter},
    },
};

use super::{
    CONTENT_HASH, HASH_DEFINITION, LabelFileError, RowFault, TEACHER_CARD, check_values, schema,
};
use crate::{
    files::PendingFile,
    wire::{Row, TeacherCard},
};

/// Rows of a row group: large enough that a reader spends its time on values.
const GROUP_ROWS: usize = 1 << 16;

/// Values of a row group, which is held in memory until it is whole: 16 MiB of logits.
const GROUP_VALUES: usize = 1 << 22;

/// A label file being written. It stands at its path once [`finish`](Self::finish) returned; dropped
/// before, it leaves nothing there.
#[derive(Debug)]
pub struct LabelWriter {
    path: PathBuf,
    classes: usize,
    out: SerializedFileWriter<PendingFile>,
    group: Vec<Row>,
    group_rows: usize,
    written: u64,
}

impl LabelWriter {
    /// Begins the file of `card`'s rows that is to stand at `path`.
    pub fn create(path: &Path, card: &TeacherCard) -> Result<Self, LabelFileError> {
        let failed = |source| LabelFileError::Write { path: path.to_owned(), source };
        let card_json =
            serde_json::to_string(card).map_err(|cause| failed(io::Error::other(cause)))?;
        let metadata = [(TEACHER_CARD, card_json), (CONTENT_HASH, HASH_DEFINITION.to_owned())];
        let ascending = SortingColumn { column_idx: 0, descending: false, nulls_first: false };
        let properties = WriterProperties::builder()
            .set_created_by(concat!("lectern ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_compression(Compression::SNAPPY)
            // Hashes and logits hardly ever repeat.
            .set_dictionary_enabled(false)
            .set_sorting_columns(Some(vec![ascending]))
            .set_key_value_metadata(Some(
                metadata
                    .into_iter()
                    .map(|(key, value)| KeyValue::new(key.to_owned(), value))
                    .collect(),
            ))
            .build();
        let file = PendingFile::create(path).map_err(failed)?;
        let out = schema()
            .and_then(|schema| SerializedFileWriter::new(file, schema, Arc::new(properties)))
            .map_err(|cause| failed(io::Error::other(cause)))?;
        let classes = card.labels.len();
        Ok(Self {
            path: path.to_owned(),
            classes,
            out,
            group: Vec::new(),
            group_rows: (GROUP_VALUES / classes.max(1)).clamp(1, GROUP_ROWS),
            written: 0,
        })
    }

    /// Adds rows, which must ascend by content hash, within one call and over all calls.
    pub fn write(&mut self, rows: impl IntoIterator<Item = Row>) -> Result<(), LabelFileError> {
        for row in rows {
            self.check(&row).map_err(|fault| LabelFileError::Row {
                path: self.path.clone(),
                row: self.written + 1,
                fault,
            })?;
            self.written += 1;
            // The last row stays, for the next one's order.
            if self.group.len() > self.group_rows {
                self.write_group(self.group_rows)?;
            }
            self.group.push(row);
        }
        Ok(())
    }

    /// Puts the file in its place; the number of rows in it.
    pub fn finish(mut self) -> Result<u64, LabelFileError> {
        self.write_group(self.group.len())?;
        let file = self.out.into_inner().map_err(cannot_write(&self.path))?;
        file.finish().map_err(|source| LabelFileError::Write { path: self.path, source })?;
        Ok(self.written)
    }

    fn check(&self, row: &Row) -> Result<(), RowFault> {
        check_values("logits", &row.logits, self.classes)?;
        if let Some(variance) = &row.variance {
            check_values("variance", variance, self.classes)?;
        }
        match self.group.last().map(|row| row.content) {
            Some(before) if before > row.content => {
                Err(RowFault::Order { content: row.content, before })
            }
            Some(before) if before == row.content => {
                Err(RowFault::Differs { content: row.content })
            }
            _ => Ok(()),
        }
    }

    fn write_group(&mut self, rows: usize) -> Result<(), LabelFileError> {
        let rows: Vec<Row> = self.group.drain(..rows).collect();
        if rows.is_empty() {
            return Ok(());
        }
        let group = self.out.next_row_group();
        group.and_then(|group| write_columns(group, &rows)).map_err(cannot_write(&self.path))
    }
}

fn cannot_write(path: &Path) -> impl FnOnce(ParquetError) -> LabelFileError {
    move |cause| LabelFileError::Write { path: path.to_owned(), source: io::Error::other(cause) }
}

/// Repetition levels: 0 begins a row's list, 1 goes on with it. Definition levels: of `logits`, which is
/// never null, 1 is a value; of `variance`, 0 is a null list and 2 a value.
fn write_columns(
    mut group: SerializedRowGroupWriter<'_, PendingFile>,
    rows: &[Row],
) -> Result<(), ParquetError> {
    let hashes: Vec<FixedLenByteArray> =
        rows.iter().map(|row| ByteArray::from(row.content.as_bytes().to_vec()).into()).collect();
    write_column::<FixedLenByteArrayType>(&mut group, &hashes, None)?;

    let mut values = Vec::new();
    let mut levels = Levels::default();
    for row in rows {
        values.extend_from_slice(&row.logits);
        levels.list(row.logits.len(), 1);
    }
    write_column::<FloatType>(&mut group, &values, Some(&levels))?;

    values.clear();
    levels = Levels::default();
    for row in rows {
        match &row.variance {
            None => levels.null(),
            Some(variance) => {
                values.extend_from_slice(variance);
                levels.list(variance.len(), 2);
            }
        }
    }
    write_column::<FloatType>(&mut group, &values, Some(&levels))?;

    let truncated: Vec<bool> = rows.iter().map(|row| row.truncated).collect();
    write_column::<BoolType>(&mut group, &truncated, None)?;
    group.close().map(drop)
}

#[derive(Debug, Default)]
struct Levels {
    definition: Vec<i16>,
    repetition: Vec<i16>,
}

impl Levels {
    fn list(&mut self, values: usize, defined: i16) {
        self.definition.extend(std::iter::repeat_n(defined, values));
        self.repetition.extend((0..values).map(|i| i16::from(i > 0)));
    }

    fn null(&mut self) {
        self.definition.push(0);
        self.repetition.push(0);
    }
}

fn write_column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, PendingFile>,
    values: &[T::T],
    levels: Option<&Levels>,
) -> Result<(), ParquetError> {
    let missing = || ParquetError::General("the schema has too few columns".to_owned());
    let mut column = group.next_column()?.ok_or_else(missing)?;
    let definition = levels.map(|levels| &*levels.definition);
    let repetition = levels.map(|levels| &*levels.repetition);
    column.typed::<T>().write_batch(values, definition, repetition)?;
    column.close()
}
