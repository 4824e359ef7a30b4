//! Rows to bytes and back: packed, little-endian, with content hashes and a checksum.

use std::sync::Arc;

use super::{
    ContentHash, Encoding, RowFormat, WireError,
    encoding::{Top, read_f16, read_f32, write_f16, write_f32},
    proto,
};

/// The teacher's answer to one example.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Hash of the content that was labelled.
    pub content: ContentHash,
    /// `[C]` raw logits, shared between all who wait for them.
    pub logits: Arc<[f32]>,
    /// `[C]` variance between the members of an ensemble, weighted as their mean is; `None` for a
    /// single teacher, and where the student did not ask for it.
    pub variance: Option<Arc<[f32]>>,
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

/// Packs answers into one message. A row that `format` cannot hold becomes that example's failure.
pub fn encode_rows(answers: &[Answer], classes: usize, format: RowFormat) -> proto::Rows {
    let n = answers.len();
    let mut rows = proto::Rows {
        encoding: proto::Encoding::from(format.encoding).into(),
        classes: classes as u32,
        top_k: format.top_k as u32,
        ids: Vec::with_capacity(n),
        ..proto::Rows::default()
    };
    let mut hashes = Vec::with_capacity(n * ContentHash::BYTES);
    let mut values = Vec::with_capacity(n * format.bytes_per_row(classes));
    let (mut top_classes, mut tails, mut variances) = (Vec::new(), Vec::new(), Vec::new());
    for Answer { id, outcome } in answers {
        let row = match outcome.as_ref().map(|row| (row, format.beyond(&row.logits))) {
            Ok((row, None)) => row,
            Ok((_, Some(logit))) => {
                let encoding = format.encoding;
                rows.errors.push(proto::ExampleError {
                    id: *id,
                    code: FailureCode::NotRepresentable.into(),
                    message: format!("logit {logit} does not fit {encoding:?}; ask for float32"),
                });
                continue;
            }
            Err(failure) => {
                rows.errors.push(proto::ExampleError {
                    id: *id,
                    code: failure.code.into(),
                    message: failure.message.clone(),
                });
                continue;
            }
        };
        rows.ids.push(*id);
        hashes.extend(row.content.as_bytes());
        match format.encoding {
            Encoding::Float32 => write_f32(&row.logits, &mut values),
            Encoding::Float16 => write_f16(&row.logits, &mut values),
            Encoding::TopK => {
                let top = Top::of(&row.logits, format.top_k);
                write_f32(&top.logits, &mut values);
                write_f32(&[top.tail], &mut tails);
                top_classes.extend(top.classes.iter().flat_map(|class| class.to_le_bytes()));
            }
        }
        if let (true, Some(variance)) = (format.variance, &row.variance) {
            write_f32(variance, &mut variances);
        }
        if row.truncated {
            rows.truncated.push(*id);
        }
    }
    rows.content_hashes = hashes.into();
    rows.values = values.into();
    rows.top_classes = top_classes.into();
    rows.tails = tails.into();
    rows.variances = variances.into();
    rows.checksum = checksum(&rows);
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
    let top_k = rows.top_k as usize;
    if encoding == Encoding::TopK && (top_k == 0 || top_k >= classes) {
        return Err(WireError::TopK { top_k, classes });
    }
    let length = |field, found: usize, per_row: usize| {
        if Some(found) == n.checked_mul(per_row) {
            Ok(())
        } else {
            let expected = n.saturating_mul(per_row);
            Err(WireError::Length { field, found, expected, rows: n, classes })
        }
    };
    let (values, tops) = match encoding {
        Encoding::Float32 => (4 * classes, 0),
        Encoding::Float16 => (2 * classes, 0),
        Encoding::TopK => (4 * top_k, 4 * top_k),
    };
    length("content_hashes", rows.content_hashes.len(), ContentHash::BYTES)?;
    length("values", rows.values.len(), values)?;
    length("top_classes", rows.top_classes.len(), tops)?;
    length("tails", rows.tails.len(), tops.min(4))?;
    let variances = if rows.variances.is_empty() { 0 } else { 4 * classes };
    length("variances", rows.variances.len(), variances)?;
    let expected = checksum(rows);
    if rows.checksum != expected {
        return Err(WireError::Checksum { found: rows.checksum, expected });
    }

    let hashes = rows.content_hashes.as_chunks::<{ ContentHash::BYTES }>().0;
    let mut answers = Vec::with_capacity(n + rows.errors.len());
    for (i, (&id, &hash)) in rows.ids.iter().zip(hashes).enumerate() {
        let part = |bytes, size| part(bytes, i, size);
        let logits = match encoding {
            Encoding::Float32 => read_f32(part(&rows.values, values)),
            Encoding::Float16 => read_f16(part(&rows.values, values)),
            Encoding::TopK => {
                let (classes_of, _) = part(&rows.top_classes, tops).as_chunks();
                let top = Top {
                    classes: classes_of.iter().map(|&b| u32::from_le_bytes(b)).collect(),
                    logits: read_f32(part(&rows.values, values)).to_vec(),
                    tail: read_f32(part(&rows.tails, 4))[0],
                };
                top.spread(classes)?
            }
        };
        let row = Row {
            content: ContentHash::from_bytes(hash),
            logits,
            variance: (variances > 0).then(|| read_f32(part(&rows.variances, variances))),
            truncated: rows.truncated.contains(&id),
        };
        answers.push(Answer { id, outcome: Ok(row) });
    }
    answers.extend(rows.errors.iter().map(|error| Answer {
        id: error.id,
        outcome: Err(Failure { code: error.code(), message: error.message.clone() }),
    }));
    Ok(answers)
}

/// Row `i` of rows of `size` bytes.
fn part(bytes: &[u8], i: usize, size: usize) -> &[u8] {
    &bytes[i * size..(i + 1) * size]
}

fn checksum(rows: &proto::Rows) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    for id in &rows.ids {
        crc.update(&id.to_le_bytes());
    }
    for part in
        [&rows.content_hashes, &rows.values, &rows.top_classes, &rows.tails, &rows.variances]
    {
        crc.update(part);
    }
    crc.finalize()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;

    fn format(encoding: Encoding) -> RowFormat {
        RowFormat { encoding, ..RowFormat::default() }
    }

    fn answer(id: u64, logits: &[f32]) -> Answer {
        let row = Row {
            content: ContentHash::new(&format!("text {id}"), None),
            logits: logits.into(),
            variance: None,
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
        let packed = encode_rows(&sent, 2, format(Encoding::Float32));
        assert_eq!(decode_rows(&packed, 2).unwrap(), sent);
    }

    #[test]
    fn the_variance_of_an_ensemble_comes_back_when_asked_for() {
        let mut sent = vec![answer(7, &[1.5, -0.1]), answer(9, &[0.0, 2.0])];
        for answer in &mut sent {
            answer.outcome.as_mut().unwrap().variance = Some([0.25, 0.5].into());
        }
        let asked = RowFormat { variance: true, ..RowFormat::default() };
        assert_eq!(decode_rows(&encode_rows(&sent, 2, asked), 2).unwrap(), sent);
        let silent = decode_rows(&encode_rows(&sent, 2, RowFormat::default()), 2).unwrap();
        assert!(silent.iter().all(|a| a.outcome.as_ref().unwrap().variance.is_none()));
    }

    #[test]
    fn top_k_keeps_the_largest_and_spreads_the_rest() {
        let asked = RowFormat { encoding: Encoding::TopK, top_k: 2, variance: false };
        let packed = encode_rows(&[answer(1, &[0.0, 3.0, 0.0, 5.0])], 4, asked);
        assert_eq!((packed.values.len(), packed.top_classes.len(), packed.tails.len()), (8, 8, 4));
        let row = decode_rows(&packed, 4).unwrap().remove(0).outcome.unwrap();
        // Both others are 0: ln 2 - ln 2.
        assert_eq!(*row.logits, [0.0, 3.0, 0.0, 5.0]);
        let broken = proto::Rows { tails: packed.tails.slice(1..), ..packed };
        assert!(matches!(decode_rows(&broken, 4), Err(WireError::Length { field: "tails", .. })));
    }

    #[test]
    fn a_changed_byte_anywhere_is_noticed() {
        let packed = encode_rows(
            &[answer(1, &[1.0, 2.0]), answer(2, &[3.0, 4.0])],
            2,
            format(Encoding::Float32),
        );
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
        let packed = encode_rows(&[answer(1, &[1.0, 2.0])], 2, format(Encoding::Float32));
        assert!(matches!(decode_rows(&packed, 3), Err(WireError::Classes { .. })));
        let short = proto::Rows { values: packed.values.slice(1..), ..packed.clone() };
        assert!(matches!(decode_rows(&short, 2), Err(WireError::Length { field: "values", .. })));
        let unknown = proto::Rows { encoding: 99, ..packed };
        assert!(matches!(decode_rows(&unknown, 2), Err(WireError::Unknown { .. })));
    }

    #[test]
    fn a_logit_beyond_float16_becomes_its_own_failure() {
        let packed = encode_rows(
            &[answer(1, &[7e4, 0.0]), answer(2, &[1.0, 2.0])],
            2,
            format(Encoding::Float16),
        );
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
                format(Encoding::Float32),
            ))),
        };
        // 5 bytes of gRPC prefix and 9 of HTTP/2 frame header.
        assert!(message.encoded_len() + 14 <= 64 * 40, "{} bytes", message.encoded_len());
    }

    proptest! {
        #[test]
        fn float16_stays_within_its_stated_bound(values in prop::collection::vec(-65504f32..65504.0, 3)) {
            let packed = encode_rows(&[answer(1, &values)], 3, format(Encoding::Float16));
            let row = decode_rows(&packed, 3).unwrap().remove(0).outcome.unwrap();
            for (sent, got) in values.iter().zip(row.logits.iter()) {
                let bound = if sent.abs() < 2f32.powi(-14) { 2f32.powi(-25) } else { sent.abs() * 2f32.powi(-11) };
                prop_assert!((sent - got).abs() <= bound, "{sent} became {got}");
            }
        }
    }
}
