//! The contract in Rust: what travels between teacher and student, checked on arrival into types.
//!
//! Only the two ends of the stream (the server's admission, the student's connection) touch
//! [`proto`]; everything deeper works with the types of this module. It knows neither tensors nor
//! connections.

mod card;
mod content;
mod encoding;
pub mod label_file;
mod rows;

pub use card::{Fingerprint, Limits, TeacherCard};
pub use content::{ByContent, ContentHash, HashedAlready};
pub use encoding::{Encoding, RowFormat};
pub use rows::{Answer, Failure, FailureCode, Row, decode_rows, encode_rows};

/// Code generated from `proto/lectern/v1/teacher.proto`, which documents it.
#[expect(
    missing_docs,
    clippy::pedantic,
    clippy::missing_errors_doc,
    reason = "generated; the documentation is in the .proto file"
)]
pub mod proto {
    tonic::include_proto!("lectern.v1");

    /// The contract's descriptors, from which server reflection answers.
    pub const DESCRIPTORS: &[u8] =
        include_bytes!(concat!(env!("OUT_DIR"), "/lectern_descriptor.bin"));

    /// Name of the service in health checks.
    pub const SERVICE_NAME: &str = "lectern.v1.Teacher";
}

/// What was wrong with a message of the peer.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// A field's length contradicts another field.
    #[error(
        "`{field}` holds {found} bytes, expected {expected} for {rows} rows of {classes} classes"
    )]
    Length {
        /// The field of `Rows`.
        field: &'static str,
        /// What the message holds.
        found: usize,
        /// What its other fields say it should hold.
        expected: usize,
        /// Rows in the message.
        rows: usize,
        /// Classes in the message.
        classes: usize,
    },
    /// The rows are not this teacher's.
    #[error("rows have {found} classes, the teacher's card says {expected}")]
    Classes {
        /// What the message holds.
        found: usize,
        /// What the card says.
        expected: usize,
    },
    /// Bytes changed on the way.
    #[error("checksum is {found:08x}, the rows' bytes give {expected:08x}")]
    Checksum {
        /// What the message says.
        found: u32,
        /// What its content gives.
        expected: u32,
    },
    /// No such choice of the largest logits.
    #[error("k = {top_k} of {classes} classes: k must be at least 1 and less than the classes")]
    TopK {
        /// What was asked or sent.
        top_k: usize,
        /// The teacher's.
        classes: usize,
    },
    /// A k without its encoding.
    #[error("k = {top_k} is given, but the encoding is not top-k")]
    TopKWithout {
        /// What was asked.
        top_k: usize,
    },
    /// A class of the largest logits that is named twice or does not exist.
    #[error("class {class} of the largest logits is named twice or is not one of {classes}")]
    TopClass {
        /// As sent.
        class: u32,
        /// The teacher's.
        classes: usize,
    },
    /// There is no variance within one model.
    #[error("the variance was asked for, but the teacher is a single model, not an ensemble")]
    NoVariance,
    /// A number that the contract does not know.
    #[error("unknown {what} {number}; the peer speaks a newer contract")]
    Unknown {
        /// Which enumeration.
        what: &'static str,
        /// The number on the wire.
        number: i32,
    },
    /// The teacher does not write rows that way.
    #[error(
        "the teacher does not write rows as {encoding:?}, only as {offered:?}; the largest logits say nothing of \
         the others unless the labels exclude each other"
    )]
    Encoding {
        /// As asked.
        encoding: Encoding,
        /// Those of the card.
        offered: Vec<Encoding>,
    },
    /// Labels that no teacher of the card's task has.
    #[error("the teacher's card: {0}")]
    Labels(#[from] crate::data::LabelError),
    /// A required field is absent or empty.
    #[error("the teacher's card has no {0}")]
    Card(&'static str),
}
