//! Tokens while they wait, in a sixth of their memory and one allocation: what students have in flight is mostly these.

use lectern::text::Tokens;

/// One example as every member of the model reads it.
///
/// Of each member: the number of tokens, with one bit for whether some were cut off; their ids; and their types, as runs
/// of a number and a type until all tokens have one. All numbers in base 128, low digits first, the eighth bit of a byte
/// saying that more follow: LEB128.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Packed(Box<[u8]>);

impl Packed {
    pub(super) fn new(members: &[Tokens]) -> Self {
        let mut bytes = Vec::new();
        for tokens in members {
            push(&mut bytes, (tokens.ids.len() as u64) << 1 | u64::from(tokens.truncated));
            tokens.ids.iter().for_each(|&id| push(&mut bytes, id as u64));
            for run in tokens.type_ids.chunk_by(PartialEq::eq) {
                push(&mut bytes, run.len() as u64);
                push(&mut bytes, run[0] as u64);
            }
        }
        Self(bytes.into())
    }

    /// What was packed.
    pub(super) fn unpack(&self) -> Box<[Tokens]> {
        let mut numbers = Numbers(&self.0);
        let mut members = Vec::new();
        while let Some(head) = numbers.next() {
            let length = (head >> 1) as usize;
            let ids: Vec<i64> = numbers.by_ref().take(length).map(|id| id as i64).collect();
            let mut type_ids: Vec<i64> = Vec::with_capacity(length);
            while type_ids.len() < length
                && let (Some(run), Some(kind)) = (numbers.next(), numbers.next())
            {
                type_ids.resize(type_ids.len() + run as usize, kind as i64);
            }
            members.push(Tokens { ids, type_ids, truncated: head & 1 == 1 });
        }
        members.into()
    }
}

fn push(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 128 {
        bytes.push(number as u8 | 128);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Reads numbers until the bytes end.
struct Numbers<'a>(&'a [u8]);

impl Iterator for Numbers<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 127) << shift;
            if byte < 128 {
                break;
            }
        }
        Some(number)
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
