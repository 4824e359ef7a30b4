//! Tokens while they wait, in a third of their memory: what students have in flight is mostly these.

use lectern::text::Tokens;

/// One example as one member of the model reads it.
#[derive(Debug)]
pub(super) struct Packed {
    ids: Box<[u32]>,
    type_ids: Box<[u8]>,
    truncated: bool,
}

impl From<&Tokens> for Packed {
    /// Tokenizers number tokens with 32 bits, and no model has more than a handful of segments.
    fn from(tokens: &Tokens) -> Self {
        Self {
            ids: tokens.ids.iter().map(|&id| id as u32).collect(),
            type_ids: tokens.type_ids.iter().map(|&id| id as u8).collect(),
            truncated: tokens.truncated,
        }
    }
}

impl From<&Packed> for Tokens {
    fn from(packed: &Packed) -> Self {
        Self {
            ids: packed.ids.iter().copied().map(i64::from).collect(),
            type_ids: packed.type_ids.iter().copied().map(i64::from).collect(),
            truncated: packed.truncated,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_out_as_they_went_in() {
        let tokens =
            Tokens { ids: vec![0, 21_127, 250_001], type_ids: vec![0, 1, 2], truncated: true };
        assert_eq!(Tokens::from(&Packed::from(&tokens)), tokens);
    }
}
