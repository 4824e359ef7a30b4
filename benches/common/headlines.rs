//! Texts of headline lengths that are never the same twice, made of characters that are tokens.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::lengths::{headline_lengths, scramble};

/// Characters that texts are made of, one token each: the vocabulary of Chinese BERT less its special
/// tokens.
pub(crate) const ALPHABET: u64 = 21_128 - 5;

/// Characters of the main block of Chinese, which is a little smaller than the alphabet.
const MAIN_BLOCK: u64 = 0x9FFF - 0x4E00 + 1;

/// An endless source of headlines.
#[derive(Debug)]
pub(crate) struct Headlines {
    seed: u64,
    next: u64,
}

impl Headlines {
    /// The same headlines for the same seed.
    pub(crate) fn seeded(seed: u64) -> Self {
        Self { seed: scramble(seed), next: 0 }
    }

    /// Headlines that no other run has had, so that no server knows them already.
    pub(crate) fn fresh() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::seeded(now.as_nanos() as u64)
    }

    /// The next `n`. Lengths are the same for the same `n`, so that turns compare.
    pub(crate) fn take(&mut self, n: usize) -> Vec<String> {
        let lengths = headline_lengths(n);
        lengths
            .into_iter()
            .map(|length| {
                let text = scramble(self.seed ^ scramble(self.next));
                self.next += 1;
                (0..length as u64)
                    .filter_map(|t| letter(scramble(text.wrapping_add(t)) % ALPHABET))
                    .collect()
            })
            .collect()
    }
}

/// Character `i` of the alphabet.
pub(crate) fn letter(i: u64) -> Option<char> {
    let code = if i < MAIN_BLOCK { 0x4E00 + i } else { 0x3400 + i - MAIN_BLOCK };
    char::from_u32(code as u32)
}
