//! Rows to bytes and back: packed, little-endian, with content hashes and a checksum.

use std::sync::Arc;

use half::f16;
use serde::{Deserialize, Serialize};

use super::{ContentHash, WireError, proto};

/// How a row's values travel; error bounds stand in the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// Exactly what the teacher computed.
    #[default]
    Float32,
    /// Half the bytes; relative error at most 2^-11.
    Float16,
}

impl Encoding {
    /// All that this version speaks.
    pub const ALL: [Self; 2] = [Self::Float32, Self::Float16];

    const fn bytes_per_value(self) -> usize {
        match self {
            Self::Float32 => 4,
            Self::Float16 => 2,
        }
    }

    /// The first value that this encoding cannot hold within its error bound.
    fn beyond(self, values: &[f32]) -> Option<f32> {
        match self {
            Self::Float32 => None,
            Self::Float16 => values.iter().copied().find(|&v| !f16::from_f32(v).is_finite()),
        }
    }

    fn write(self, values: &[f32], out: &mut Vec<u8>) {
        match self {
            Self::Float32 => out.extend(values.iter().flat_map(|v| v.to_le_bytes())),
            Self::Float16 => {
                out.extend(values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()));
            }
        }
    }

    fn read(self, bytes: &[u8]) -> Arc<[f32]> {
        match self {
            Self::Float32 => {
                bytes.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect()
            }
            Self::Float16 => {
                bytes.as_chunks::<2>().0.iter().map(|&b| f16::from_le_bytes(b).to_f32()).collect()
            }
        }
    }
}

impl TryFrom<i32> for Encoding {
    type Error = WireError;

    fn try_from(number: i32) -> Result<Self, WireError> {
        match proto::Encoding::try_from(number) {
            Ok(proto::Encoding::Unspecified | proto::Encoding::Float32) => Ok(Self::Float32),
            Ok(proto::Encoding::Float16) => Ok(Self::Float16),
            Err(_) => Err(WireError::Unknown { what: "encoding", number }),
        }
    }
}

impl From<Encoding> for proto::Encoding {
    fn from(encoding: Encoding) -> Self {
        match encoding {
            Encoding::Float32 => Self::Float32,
            Encoding::Float16 => Self::Float16,
        }
    }
}

/// The teacher's answer to one example.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Hash of the content that was labelled.
    pub content: ContentHash,
    /// `[C]` raw logits, shared between all who wait for them.
    pub logits: Arc<[f32]>,
    /// The text was longer than the teacher's maximum length.
    pub truncated: bool,
}

/// Why an example has no row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The kind, for programs.
    pub code: FailureCode,
    /// What is wrong and what to do, for people.
    pub message: String,
}

/// The kinds of [`Failure`]; the contract's `ErrorCode`.
pub type FailureCode = proto::ErrorCode;

/// What comes back for one example.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The student's id for the example.
    pub id: u64,
    /// Its row, or why there is none.
    pub outcome: Result<Row, Failure>,
}

/// Packs answers into one message. A row that `encoding` cannot hold becomes that example's failure.
pub fn encode_rows(answers: &[Answer], classes: usize, encoding: Encoding) -> proto::Rows {
    let mut rows = proto::Rows {
        encoding: proto::Encoding::from(encoding).into(),
        classes: classes as u32,
        ..proto::Rows::default()
    };
    let mut hashes = Vec::with_capacity(answers.len() * ContentHash::BYTES);
    let mut values = Vec::with_capacity(answers.len() * classes * encoding.bytes_per_value());
    for Answer { id, outcome } in answers {
        match outcome {
            Ok(row) => match encoding.beyond(&row.logits) {
                None => {
                    rows.ids.push(*id);
                    hashes.extend(row.content.as_bytes());
                    encoding.write(&row.logits, &mut values);
                    if row.truncated {
                        rows.truncated.push(*id);
                    }
                }
                Some(logit) => rows.errors.push(proto::ExampleError {
                    id: *id,
                    code: FailureCode::NotRepresentable.into(),
                    message: format!("logit {logit} does not fit {encoding:?}; ask for float32"),
                }),
            },
            Err(failure) => rows.errors.push(proto::ExampleError {
                id: *id,
                code: failure.code.into(),
                message: failure.message.clone(),
            }),
        }
    }
    rows.checksum = checksum(&rows.ids, &hashes, &values);
    rows.content_hashes = hashes.into();
    rows.values = values.into();
    rows
}

/// Unpacks a message, checking every length before it is used and the checksum before it is believed.
///
/// `classes` is what the teacher's card promised. Whether ids and content are the ones that were asked
/// for is for the caller to check: only it knows what is in flight.
pub fn decode_rows(rows: &proto::Rows, classes: usize) -> Result<Vec<Answer>, WireError> {
    let n = rows.ids.len();
    let encoding = Encoding::try_from(rows.encoding)?;
    let found = rows.classes as usize;
    if n > 0 && found != classes {
        return Err(WireError::Classes { found, expected: classes });
    }
    let length = |field, unit, found, expected| {
        if found == expected {
            Ok(())
        } else {
            Err(WireError::Length { field, unit, found, expected, rows: n, classes })
        }
    };
    length("content_hashes", "bytes", rows.content_hashes.len(), n * ContentHash::BYTES)?;
    let row_bytes = classes * encoding.bytes_per_value();
    length("values", "bytes", rows.values.len(), n * row_bytes)?;
    let expected = checksum(&rows.ids, &rows.content_hashes, &rows.values);
    if rows.checksum != expected {
        return Err(WireError::Checksum { found: rows.checksum, expected });
    }

    let hashes = rows.content_hashes.as_chunks::<{ ContentHash::BYTES }>().0;
    let labelled = rows.ids.iter().zip(hashes).zip(rows.values.chunks_exact(row_bytes.max(1))).map(
        |((&id, &hash), values)| Answer {
            id,
            outcome: Ok(Row {
                content: ContentHash::from_bytes(hash),
                logits: encoding.read(values),
                truncated: rows.truncated.contains(&id),
            }),
        },
    );
    let failed = rows.errors.iter().map(|error| Answer {
        id: error.id,
        outcome: Err(Failure { code: error.code(), message: error.message.clone() }),
    });
    Ok(labelled.chain(failed).collect())
}

fn checksum(ids: &[u64], hashes: &[u8], values: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    for id in ids {
        crc.update(&id.to_le_bytes());
    }
    crc.update(hashes);
    crc.update(values);
    crc.finalize()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;

    fn answer(id: u64, logits: &[f32]) -> Answer {
        let row = Row {
            content: ContentHash::new(&format!("text {id}"), None),
            logits: logits.into(),
            truncated: id.is_multiple_of(3),
        };
        Answer { id, outcome: Ok(row) }
    }

    fn failed(id: u64) -> Answer {
        let message = "`text` is empty".to_owned();
        Answer { id, outcome: Err(Failure { code: FailureCode::EmptyText, message }) }
    }

    #[test]
    fn float32_rows_and_failures_come_back_bit_for_bit() {
        let sent = vec![answer(7, &[1.5, -0.1]), answer(9, &[f32::MIN_POSITIVE, 3e38]), failed(8)];
        let packed = encode_rows(&sent, 2, Encoding::Float32);
        assert_eq!(decode_rows(&packed, 2).unwrap(), sent);
    }

    #[test]
    fn a_changed_byte_anywhere_is_noticed() {
        let packed =
            encode_rows(&[answer(1, &[1.0, 2.0]), answer(2, &[3.0, 4.0])], 2, Encoding::Float32);
        let mut swapped_ids = packed.clone();
        swapped_ids.ids.swap(0, 1);
        let mut value = packed.clone();
        value.values = value.values.iter().map(|b| b ^ 1).collect::<Vec<_>>().into();
        let mut hash = packed.clone();
        hash.content_hashes = hash.content_hashes.iter().rev().copied().collect::<Vec<_>>().into();
        for broken in [swapped_ids, value, hash] {
            assert!(matches!(decode_rows(&broken, 2), Err(WireError::Checksum { .. })));
        }
    }

    #[test]
    fn lengths_that_contradict_each_other_are_refused() {
        let packed = encode_rows(&[answer(1, &[1.0, 2.0])], 2, Encoding::Float32);
        assert!(matches!(decode_rows(&packed, 3), Err(WireError::Classes { .. })));
        let short = proto::Rows { values: packed.values.slice(1..), ..packed.clone() };
        assert!(matches!(decode_rows(&short, 2), Err(WireError::Length { field: "values", .. })));
        let unknown = proto::Rows { encoding: 99, ..packed };
        assert!(matches!(decode_rows(&unknown, 2), Err(WireError::Unknown { .. })));
    }

    #[test]
    fn a_logit_beyond_float16_becomes_its_own_failure() {
        let packed =
            encode_rows(&[answer(1, &[7e4, 0.0]), answer(2, &[1.0, 2.0])], 2, Encoding::Float16);
        let answers = decode_rows(&packed, 2).unwrap();
        assert_eq!(answers[0], answer(2, &[1.0, 2.0]));
        assert_eq!(answers[1].outcome.as_ref().unwrap_err().code, FailureCode::NotRepresentable);
    }

    #[test]
    fn sixty_four_rows_of_five_classes_cost_at_most_40_bytes_each() {
        // Ids as a student numbers them far into a run: three bytes each as varints.
        let answers: Vec<_> = (0..64).map(|i| answer(1 + 3 * (100_000 + i), &[0.5; 5])).collect();
        let message = proto::TeacherMessage {
            message: Some(proto::teacher_message::Message::Rows(encode_rows(
                &answers,
                5,
                Encoding::Float32,
            ))),
        };
        // 5 bytes of gRPC prefix and 9 of HTTP/2 frame header.
        assert!(message.encoded_len() + 14 <= 64 * 40, "{} bytes", message.encoded_len());
    }

    proptest! {
        #[test]
        fn float16_stays_within_its_stated_bound(values in prop::collection::vec(-65504f32..65504.0, 3)) {
            let packed = encode_rows(&[answer(1, &values)], 3, Encoding::Float16);
            let row = decode_rows(&packed, 3).unwrap().remove(0).outcome.unwrap();
            for (sent, got) in values.iter().zip(row.logits.iter()) {
                let bound = if sent.abs() < 2f32.powi(-14) { 2f32.powi(-25) } else { sent.abs() * 2f32.powi(-11) };
                prop_assert!((sent - got).abs() <= bound, "{sent} became {got}");
            }
        }
    }
}
