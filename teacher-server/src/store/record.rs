//! A row as bytes for the tiers outside this process, believed again only if nothing in it changed.
//! Knows rows, not where they are kept.
//!
//! ```text
//! 0..4   CRC-32 over the content hash and all that follows, little-endian
//! 4      bit 0: the text was truncated; bit 1: variances follow the logits
//! 5..    [C] logits, then perhaps [C] variances; float32, little-endian
//! ```

use std::sync::Arc;

use lectern::wire::{ContentHash, Row};

const HEADER_BYTES: usize = 5;
const TRUNCATED: u8 = 1;
const VARIANCE: u8 = 2;

/// Writes `row`, without its content hash, which is the key it is kept under.
pub(super) fn encode(row: &Row) -> Vec<u8> {
    let values = row.logits.iter().chain(row.variance.iter().flat_map(|variance| variance.iter()));
    let truncated = if row.truncated { TRUNCATED } else { 0 };
    let variance = if row.variance.is_some() { VARIANCE } else { 0 };
    let capacity = HEADER_BYTES + 4 * row.logits.len() * (1 + usize::from(variance != 0));
    let mut record = Vec::with_capacity(capacity);
    record.extend([0; 4]);
    record.push(truncated | variance);
    record.extend(values.flat_map(|value| value.to_le_bytes()));
    let checksum = checksum(row.content, &record);
    record[..4].copy_from_slice(&checksum.to_le_bytes());
    record
}

/// Reads the record kept under `content`; `None` if it is not, to the last bit, a row of `classes`
/// values that was written under this content.
pub(super) fn decode(content: ContentHash, record: &[u8], classes: usize) -> Option<Row> {
    let (stored, rest) = record.split_first_chunk::<4>()?;
    let (&flags, values) = rest.split_first()?;
    let rows = if flags & VARIANCE == 0 { 1 } else { 2 };
    let is_row = flags & !(TRUNCATED | VARIANCE) == 0
        && values.len() == 4 * classes * rows
        && u32::from_le_bytes(*stored) == checksum(content, record);
    is_row.then(|| {
        let (logits, variance) = values.split_at(4 * classes);
        Row {
            content,
            logits: floats(logits),
            variance: (flags & VARIANCE != 0).then(|| floats(variance)),
            truncated: flags & TRUNCATED != 0,
        }
    })
}

fn checksum(content: ContentHash, record: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(content.as_bytes());
    hasher.update(&record[4..]);
    hasher.finalize()
}

fn floats(bytes: &[u8]) -> Arc<[f32]> {
    bytes.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rows() -> impl Strategy<Value = Row> {
        let values = (1usize..40).prop_flat_map(|classes| {
            let row = || prop::collection::vec(prop::num::f32::ANY, classes);
            (row(), prop::option::of(row()))
        });
        (any::<[u8; 16]>(), values, any::<bool>()).prop_map(
            |(content, (logits, variance), truncated)| Row {
                content: ContentHash::from_bytes(content),
                logits: logits.into(),
                variance: variance.map(Into::into),
                truncated,
            },
        )
    }

    /// Floats as bits: a NaN is not equal to itself, but must come back as it was.
    fn bits(row: &Row) -> (ContentHash, Vec<u32>, Option<Vec<u32>>, bool) {
        let bits = |values: &Arc<[f32]>| values.iter().map(|value| value.to_bits()).collect();
        (row.content, bits(&row.logits), row.variance.as_ref().map(bits), row.truncated)
    }

    #[test]
    fn a_record_is_laid_out_as_documented() {
        let content = ContentHash::from_bytes(*b"0123456789abcdef");
        let row = Row { content, logits: [1.0].into(), variance: None, truncated: true };
        // crc32(b"0123456789abcdef\x01\x00\x00\x80\x3f") of Python's zlib.
        let expected = [0x19, 0x60, 0xc2, 0x2d, 1, 0, 0, 0x80, 0x3f];
        assert_eq!(encode(&row), expected);
    }

    proptest! {
        #[test]
        fn a_row_comes_back_bit_by_bit(row in rows()) {
            let got = decode(row.content, &encode(&row), row.logits.len());
            prop_assert_eq!(got.as_ref().map(bits), Some(bits(&row)));
        }

        #[test]
        fn a_record_with_a_flipped_bit_is_no_row(row in rows(), at: prop::sample::Index, bit in 0..8) {
            let mut record = encode(&row);
            let at = at.index(record.len());
            record[at] ^= 1u8 << bit;
            prop_assert!(decode(row.content, &record, row.logits.len()).is_none());
        }

        #[test]
        fn a_record_cut_short_is_no_row(row in rows(), length: prop::sample::Index) {
            let record = encode(&row);
            let cut = &record[..length.index(record.len())];
            prop_assert!(decode(row.content, cut, row.logits.len()).is_none());
        }

        #[test]
        fn a_record_under_another_content_or_of_another_teacher_is_no_row(row in rows()) {
            let mut other = *row.content.as_bytes();
            other[15] ^= 1;
            let (record, classes) = (encode(&row), row.logits.len());
            prop_assert!(decode(ContentHash::from_bytes(other), &record, classes).is_none());
            prop_assert!(decode(row.content, &record, classes + 1).is_none());
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>, classes in 0usize..100) {
            let _row = decode(ContentHash::from_bytes([0; 16]), &bytes, classes);
        }
    }
}
