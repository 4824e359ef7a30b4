//! Rows as a file: soft labels for someone who has no teacher. Both programs read and write it, and what
//! it holds is checked on arrival as a message is. Knows Parquet, not where rows come from or go.
//!
//! The file is Parquet, a row of it a row of the teacher:
//!
//! | column | type | content |
//! |---|---|---|
//! | `content_hash` | 16 bytes | [`ContentHash`], strictly ascending through the file |
//! | `logits` | list of float | `[C]`, in the order of the card's labels |
//! | `variance` | list of float, or null | `[C]`, between the members of an ensemble |
//! | `truncated` | boolean | the text was longer than the teacher's maximum length |
//!
//! The order makes a content that stands there twice a neighbour of itself, so that a file of any size is
//! checked in the memory of one batch. The file's metadata hold the teacher's card as JSON under
//! `lectern.teacher_card`, and how the hash is made under `lectern.content_hash`.

mod read;
#[cfg(test)]
mod tests;
mod write;

use std::{io, path::PathBuf, sync::Arc};

use parquet::{
    basic::{LogicalType, Repetition, Type as PhysicalType},
    errors::ParquetError,
    schema::types::Type,
};

use super::ContentHash;

pub use read::LabelReader;
pub use write::LabelWriter;

/// Key of the metadata under which the teacher's card stands.
const TEACHER_CARD: &str = "lectern.teacher_card";

/// Key of the metadata that says how contents are hashed.
const CONTENT_HASH: &str = "lectern.content_hash";

/// The version of the hash; other versions name other contents.
const HASH_VERSION: &str = "lectern.v1";

/// The version, and for whoever wants to hash texts without this program, all of it.
const HASH_DEFINITION: &str = "lectern.v1: first 16 bytes of BLAKE3 in key derivation mode, context \
    'lectern.v1 example content', of: length of the text in bytes (u64, little-endian), text (UTF-8), \
    one byte 0; or for a pair one byte 1, length of the second text, second text";

/// A label file that cannot be written, read or believed. Rows count from 1.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the message beside each variant says what its fields are")]
pub enum LabelFileError {
    #[error("{path} does not exist")]
    Missing { path: PathBuf },
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {path}: {source}")]
    Write { path: PathBuf, source: io::Error },
    #[error("{path} is not a readable Parquet file: {source}")]
    Parquet { path: PathBuf, source: ParquetError },
    #[error(
        "{path}: no {key:?} among the file's metadata; label files are what `teacher-server store \
         export` writes, or a table that kept their metadata"
    )]
    NoMetadata { path: PathBuf, key: &'static str },
    #[error("{path}: {key:?} of the file's metadata: {cause}")]
    Metadata { path: PathBuf, key: &'static str, cause: String },
    #[error("{path}: column {column:?} must be {wanted}, found {found}")]
    Column { path: PathBuf, column: &'static str, wanted: &'static str, found: String },
    #[error("{path}:{row}: {fault}")]
    Row { path: PathBuf, row: u64, fault: RowFault },
}

/// What is wrong with one row.
#[derive(Debug, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the message beside each variant says what its fields are")]
pub enum RowFault {
    #[error("no value in column {column:?}")]
    Null { column: &'static str },
    #[error("{found} values in column {column:?}, the teacher has {classes} labels")]
    Classes { column: &'static str, found: usize, classes: usize },
    #[error("value {class} of column {column:?} is {value}")]
    NotFinite { column: &'static str, class: usize, value: f32 },
    #[error("content {content} after {before}; sort the table by content_hash")]
    Order { content: ContentHash, before: ContentHash },
    #[error("content {content} has other values than in the row before; one of them must go")]
    Differs { content: ContentHash },
}

/// What is wrong with the `[C]` values of `column`.
fn check_values(column: &'static str, values: &[f32], classes: usize) -> Result<(), RowFault> {
    if values.len() != classes {
        return Err(RowFault::Classes { column, found: values.len(), classes });
    }
    match values.iter().enumerate().find(|(_, value)| !value.is_finite()) {
        None => Ok(()),
        Some((class, &value)) => Err(RowFault::NotFinite { column, class, value }),
    }
}

/// The schema that is written. What is read may also allow nulls, as tables do that pyarrow wrote again.
fn schema() -> Result<Arc<Type>, ParquetError> {
    let list = |name, repetition| {
        let element = Type::primitive_type_builder("element", PhysicalType::FLOAT)
            .with_repetition(Repetition::REQUIRED)
            .build()?;
        let entries = Type::group_type_builder("list")
            .with_repetition(Repetition::REPEATED)
            .with_fields(vec![Arc::new(element)])
            .build()?;
        Type::group_type_builder(name)
            .with_repetition(repetition)
            .with_logical_type(Some(LogicalType::List))
            .with_fields(vec![Arc::new(entries)])
            .build()
    };
    let hash = Type::primitive_type_builder("content_hash", PhysicalType::FIXED_LEN_BYTE_ARRAY)
        .with_length(ContentHash::BYTES as i32)
        .with_repetition(Repetition::REQUIRED)
        .build()?;
    let truncated = Type::primitive_type_builder("truncated", PhysicalType::BOOLEAN)
        .with_repetition(Repetition::REQUIRED)
        .build()?;
    let columns = [
        hash,
        list("logits", Repetition::REQUIRED)?,
        list("variance", Repetition::OPTIONAL)?,
        truncated,
    ];
    let columns = columns.into_iter().map(Arc::new).collect();
    Ok(Arc::new(Type::group_type_builder("labels").with_fields(columns).build()?))
}
