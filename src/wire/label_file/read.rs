//! Reads a label file batch by batch and believes nothing of it unchecked.

use std::{
    fs::File,
    io,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    vec,
};

use parquet::{
    basic::Type as PhysicalType,
    column::reader::{ColumnReaderImpl, get_typed_column_reader},
    data_type::{BoolType, DataType, FixedLenByteArray, FixedLenByteArrayType, FloatType},
    errors::ParquetError,
    file::{
        metadata::ParquetMetaData,
        reader::{FileReader as _, SerializedFileReader},
    },
    schema::types::ColumnDescriptor,
};

use super::{CONTENT_HASH, HASH_VERSION, LabelFileError, RowFault, TEACHER_CARD, check_values};
use crate::wire::{ContentHash, Fingerprint, Row, TeacherCard};

/// Rows decoded at a time, at most.
const BATCH_ROWS: usize = 4096;

/// Values decoded at a time: 4 MiB of logits.
const BATCH_VALUES: usize = 1 << 20;

/// A label file, and the iterator over its rows. After an error it has ended.
pub struct LabelReader {
    path: PathBuf,
    card: TeacherCard,
    file: SerializedFileReader<File>,
    columns: [usize; 4],
    next_group: usize,
    group: Option<Box<Group>>,
    batch: vec::IntoIter<Result<Row, RowFault>>,
    /// Rows handed out or passed over.
    row: u64,
    last: Option<Row>,
    ended: bool,
}

impl std::fmt::Debug for LabelReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LabelReader").field("path", &self.path).finish_non_exhaustive()
    }
}

impl LabelReader {
    /// Opens the file at `path` and checks its columns and its metadata.
    pub fn open(path: &Path) -> Result<Self, LabelFileError> {
        let file = File::open(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => LabelFileError::Missing { path: path.to_owned() },
            _ => LabelFileError::Read { path: path.to_owned(), source },
        })?;
        let file = undamaged(|| SerializedFileReader::new(file))
            .map_err(|source| LabelFileError::Parquet { path: path.to_owned(), source })?;
        let columns = locate(path, file.metadata())?;
        let card = read_card(path, file.metadata())?;
        Ok(Self {
            path: path.to_owned(),
            card,
            file,
            columns,
            next_group: 0,
            group: None,
            batch: Vec::new().into_iter(),
            row: 0,
            last: None,
            ended: false,
        })
    }

    /// The teacher whose rows these are.
    pub fn card(&self) -> &TeacherCard {
        &self.card
    }

    /// The number of rows that the file says it has.
    pub fn rows(&self) -> usize {
        usize::try_from(self.file.metadata().file_metadata().num_rows()).unwrap_or(0)
    }

    fn next_row(&mut self) -> Result<Option<Row>, LabelFileError> {
        loop {
            let Some(row) = self.batch.next() else {
                let batch = undamaged(|| self.next_batch());
                match batch
                    .map_err(|source| LabelFileError::Parquet { path: self.path.clone(), source })?
                {
                    None => return Ok(None),
                    Some(batch) => self.batch = batch.into_iter(),
                }
                continue;
            };
            self.row += 1;
            let row = row.and_then(|row| self.in_order(row));
            let fault =
                |fault| LabelFileError::Row { path: self.path.clone(), row: self.row, fault };
            if let Some(row) = row.map_err(fault)? {
                self.last = Some(row.clone());
                return Ok(Some(row));
            }
        }
    }

    /// The row, if it is not the one before it once more.
    fn in_order(&self, row: Row) -> Result<Option<Row>, RowFault> {
        let content = row.content;
        match &self.last {
            Some(last) if content < last.content => {
                Err(RowFault::Order { content, before: last.content })
            }
            Some(last) if content == last.content && row == *last => Ok(None),
            Some(last) if content == last.content => Err(RowFault::Differs { content }),
            _ => Ok(Some(row)),
        }
    }

    fn next_batch(&mut self) -> Result<Option<Vec<Result<Row, RowFault>>>, ParquetError> {
        let classes = self.card.labels.len();
        let rows = (BATCH_VALUES / classes).clamp(1, BATCH_ROWS);
        loop {
            if let Some(group) = &mut self.group
                && let Some(batch) = group.next_batch(rows, classes)?
            {
                return Ok(Some(batch));
            }
            if self.next_group == self.file.num_row_groups() {
                return Ok(None);
            }
            self.group = Some(Box::new(Group::open(&self.file, self.next_group, self.columns)?));
            self.next_group += 1;
        }
    }
}

impl Iterator for LabelReader {
    type Item = Result<Row, LabelFileError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let row = self.next_row().transpose();
        self.ended = !matches!(row, Some(Ok(_)));
        row
    }
}

/// The Parquet crate panics on some damaged files; that too is an error of the file.
fn undamaged<T>(read: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, ParquetError> {
    panic::catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err(ParquetError::General("its pages are damaged".to_owned())))
}

/// Where the four columns stand among the file's leaves.
fn locate(path: &Path, metadata: &ParquetMetaData) -> Result<[usize; 4], LabelFileError> {
    let columns = metadata.file_metadata().schema_descr().columns();
    let find = |column, wanted, fits: fn(&ColumnDescriptor) -> bool| {
        let wrong = |found| LabelFileError::Column { path: path.to_owned(), column, wanted, found };
        let named = |leaf: &&ColumnDescriptor| {
            leaf.path().parts().first().is_some_and(|part| part == column)
        };
        let mut leaves = columns.iter().map(AsRef::as_ref).enumerate();
        let Some((index, leaf)) = leaves.find(|(_, leaf)| named(leaf)) else {
            return Err(wrong("no such column".to_owned()));
        };
        let in_a_list = if leaf.max_rep_level() > 0 { "a list of " } else { "" };
        let found =
            || format!("{in_a_list}{} ({} bytes)", leaf.physical_type(), leaf.type_length());
        if fits(leaf) { Ok(index) } else { Err(wrong(found())) }
    };
    let list = |leaf: &ColumnDescriptor| {
        leaf.physical_type() == PhysicalType::FLOAT && leaf.max_rep_level() == 1
    };
    Ok([
        find("content_hash", "16 bytes (FIXED_LEN_BYTE_ARRAY)", |leaf| {
            leaf.physical_type() == PhysicalType::FIXED_LEN_BYTE_ARRAY
                && leaf.type_length() == ContentHash::BYTES as i32
                && leaf.max_rep_level() == 0
        })?,
        find("logits", "a list of FLOAT", list)?,
        find("variance", "a list of FLOAT", list)?,
        find("truncated", "BOOLEAN", |leaf| {
            leaf.physical_type() == PhysicalType::BOOLEAN && leaf.max_rep_level() == 0
        })?,
    ])
}

fn read_card(path: &Path, metadata: &ParquetMetaData) -> Result<TeacherCard, LabelFileError> {
    let metadata = metadata.file_metadata().key_value_metadata();
    let get = |key| {
        let mut entries = metadata.into_iter().flatten();
        let value = entries.find(|entry| entry.key == key).and_then(|entry| entry.value.as_deref());
        value.ok_or_else(|| LabelFileError::NoMetadata { path: path.to_owned(), key })
    };
    let wrong = |key, cause| LabelFileError::Metadata { path: path.to_owned(), key, cause };
    let hash = get(CONTENT_HASH)?;
    if hash.split(':').next() != Some(HASH_VERSION) {
        let cause = format!("{hash:?} is not the hash of this version, {HASH_VERSION}");
        return Err(wrong(CONTENT_HASH, cause));
    }
    let card: TeacherCard = serde_json::from_str(get(TEACHER_CARD)?)
        .map_err(|cause| wrong(TEACHER_CARD, cause.to_string()))?;
    card.fingerprint
        .as_str()
        .parse::<Fingerprint>()
        .map_err(|cause| wrong(TEACHER_CARD, cause.to_string()))?;
    card.label_set().map_err(|cause| wrong(TEACHER_CARD, cause.to_string()))?;
    Ok(card)
}

/// The columns of one row group, read side by side.
struct Group {
    rows_left: usize,
    hashes: Column<FixedLenByteArrayType>,
    logits: Column<FloatType>,
    variances: Column<FloatType>,
    truncated: Column<BoolType>,
}

impl Group {
    fn open(
        file: &SerializedFileReader<File>,
        index: usize,
        [hashes, logits, variances, truncated]: [usize; 4],
    ) -> Result<Self, ParquetError> {
        fn column<T: DataType>(
            file: &SerializedFileReader<File>,
            group: usize,
            leaf: usize,
        ) -> Result<Column<T>, ParquetError> {
            let descriptor = file.metadata().file_metadata().schema_descr().column(leaf);
            let reader = file.get_row_group(group)?.get_column_reader(leaf)?;
            Ok(Column {
                defined: descriptor.max_def_level(),
                repeated: descriptor.max_rep_level() > 0,
                reader: get_typed_column_reader::<T>(reader),
            })
        }
        let rows = file.metadata().row_group(index).num_rows();
        Ok(Self {
            rows_left: usize::try_from(rows).unwrap_or(0),
            hashes: column(file, index, hashes)?,
            logits: column(file, index, logits)?,
            variances: column(file, index, variances)?,
            truncated: column(file, index, truncated)?,
        })
    }

    fn next_batch(
        &mut self,
        rows: usize,
        classes: usize,
    ) -> Result<Option<Vec<Result<Row, RowFault>>>, ParquetError> {
        let rows = rows.min(self.rows_left);
        if rows == 0 {
            return Ok(None);
        }
        self.rows_left -= rows;
        let hashes = self.hashes.read(rows)?;
        let logits = self.logits.read(rows)?;
        let variances = self.variances.read(rows)?;
        let truncated = self.truncated.read(rows)?;
        let cells =
            hashes.cells().zip(logits.cells()).zip(variances.cells()).zip(truncated.cells());
        let batch: Vec<_> = cells
            .map(|(((hash, logits), variance), truncated)| {
                row(&hash, &logits, &variance, &truncated, classes)
            })
            .collect();
        if batch.len() != rows {
            return Err(ends_early(rows - batch.len()));
        }
        Ok(Some(batch))
    }
}

fn ends_early(rows: usize) -> ParquetError {
    ParquetError::General(format!("a column ends {rows} rows before the others"))
}

fn row(
    hash: &Cell<'_, FixedLenByteArray>,
    logits: &Cell<'_, f32>,
    variance: &Cell<'_, f32>,
    truncated: &Cell<'_, bool>,
    classes: usize,
) -> Result<Row, RowFault> {
    let content = match *hash {
        Cell::Values([hash]) => <[u8; ContentHash::BYTES]>::try_from(hash.data()).ok(),
        _ => None,
    };
    let content = content.ok_or(RowFault::Null { column: "content_hash" })?;
    let &Cell::Values(logits) = logits else {
        return Err(RowFault::Null { column: "logits" });
    };
    check_values("logits", logits, classes)?;
    let variance = match *variance {
        Cell::Empty => None,
        Cell::Values(variance) => {
            check_values("variance", variance, classes)?;
            Some(variance.into())
        }
        Cell::Holes => return Err(RowFault::Null { column: "variance" }),
    };
    let &Cell::Values(&[truncated]) = truncated else {
        return Err(RowFault::Null { column: "truncated" });
    };
    Ok(Row {
        content: ContentHash::from_bytes(content),
        logits: logits.into(),
        variance,
        truncated,
    })
}

struct Column<T: DataType> {
    reader: ColumnReaderImpl<T>,
    /// Definition level of a value; lower ones are nulls.
    defined: i16,
    repeated: bool,
}

impl<T: DataType> Column<T> {
    fn read(&mut self, rows: usize) -> Result<Cells<T::T>, ParquetError> {
        let (mut definition, mut repetition, mut values) = (Vec::new(), Vec::new(), Vec::new());
        let (read, _, levels) = self.reader.read_records(
            rows,
            Some(&mut definition),
            Some(&mut repetition),
            &mut values,
        )?;
        if read != rows {
            return Err(ends_early(rows - read));
        }
        // Without nulls or lists there are no levels: each row is one value.
        if self.defined == 0 {
            definition = vec![0; levels];
        }
        if !self.repeated {
            repetition = vec![0; levels];
        }
        Ok(Cells { definition, repetition, values, defined: self.defined })
    }
}

/// A batch of one column.
struct Cells<V> {
    definition: Vec<i16>,
    repetition: Vec<i16>,
    values: Vec<V>,
    defined: i16,
}

/// One row's place in a column.
enum Cell<'a, V> {
    /// The value, or the values of a list.
    Values(&'a [V]),
    /// Null, or a list of nothing.
    Empty,
    /// A list with a null among its values.
    Holes,
}

impl<V> Cells<V> {
    fn cells(&self) -> impl Iterator<Item = Cell<'_, V>> {
        let (mut levels, mut values) = (0, 0);
        std::iter::from_fn(move || {
            let first = levels;
            levels += 1;
            // Every row has at least one level, and 0 begins the next row.
            while self.repetition.get(levels).is_some_and(|&level| level > 0) {
                levels += 1;
            }
            let entries = self.definition.get(first..levels)?;
            let defined = entries.iter().filter(|&&level| level == self.defined).count();
            let of_row = self.values.get(values..values + defined)?;
            values += defined;
            Some(match (entries.len(), defined) {
                (1, 0) => Cell::Empty,
                (entries, defined) if entries == defined => Cell::Values(of_row),
                _ => Cell::Holes,
            })
        })
    }
}
