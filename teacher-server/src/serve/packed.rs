//! Tokens while they wait, in a sixth of their memory and one allocation: what students have in flight is mostly these.

use lectern::text::Tokens;
use prost::{decode_length_delimiter, encode_length_delimiter};

/// One example as every member of the model reads it.
///
/// Of each member: the number of tokens, with one bit for whether some were cut off; their ids; and their types, as runs
/// of a number and a type until all tokens have one. All numbers as protobuf's varints.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Packed(Box<[u8]>);

impl Packed {
    pub(super) fn new(members: &[Tokens]) -> Self {
        let mut bytes = Vec::new();
        for tokens in members {
            push(&mut bytes, tokens.ids.len() << 1 | usize::from(tokens.truncated));
            tokens.ids.iter().for_each(|&id| push(&mut bytes, id as usize));
            for run in tokens.type_ids.chunk_by(PartialEq::eq) {
                push(&mut bytes, run.len());
                push(&mut bytes, run[0] as usize);
            }
        }
        Self(bytes.into())
    }

    /// What was packed.
    pub(super) fn unpack(&self) -> Box<[Tokens]> {
        let mut numbers = Numbers(&self.0);
        let mut members = Vec::new();
        while let Some(head) = numbers.next() {
            let length = head >> 1;
            let ids: Vec<i64> = numbers.by_ref().take(length).map(|id| id as i64).collect();
            let mut type_ids: Vec<i64> = Vec::with_capacity(length);
            while type_ids.len() < length
                && let (Some(run), Some(kind)) = (numbers.next(), numbers.next())
            {
                type_ids.resize(type_ids.len() + run, kind as i64);
            }
            members.push(Tokens { ids, type_ids, truncated: head & 1 == 1 });
        }
        members.into()
    }
}

fn push(bytes: &mut Vec<u8>, number: usize) {
    // There is always room in a vector.
    let _never_full = encode_length_delimiter(number, bytes);
}

/// Reads numbers until the bytes end.
struct Numbers<'a>(&'a [u8]);

impl Iterator for Numbers<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        decode_length_delimiter(&mut self.0).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_out_as_they_went_in() {
        let long =
            Tokens { ids: vec![0, 127, 128, 250_001], type_ids: vec![0, 1, 1, 2], truncated: true };
        let short = Tokens { ids: vec![5], type_ids: vec![0], truncated: false };
        for members in [vec![long.clone(), short.clone()], vec![short, long], Vec::new()] {
            assert_eq!(*Packed::new(&members).unpack(), members[..]);
        }
    }

    #[test]
    fn a_usual_token_takes_two_bytes() {
        let tokens = Tokens { ids: vec![16_000; 22], type_ids: vec![0; 22], truncated: false };
        assert_eq!(Packed::new(&[tokens]).0.len(), 1 + 2 * 22 + 2);
    }
}
