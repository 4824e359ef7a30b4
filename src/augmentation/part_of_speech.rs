//! The name of a part of speech, small enough to stand beside every word of a corpus.

use std::fmt;

/// A tag of one of the taggers, by its own name: `NOUN` of the universal tags for English, `n` of jieba's for Chinese.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartOfSpeech([u8; Self::LONGEST]);

impl PartOfSpeech {
    /// Bytes of the longest name; the longest there is, of both taggers, has five.
    const LONGEST: usize = 6;

    /// The tag of that name; `None` of a name that is longer than any.
    pub fn new(name: &str) -> Option<Self> {
        let mut bytes = [0; Self::LONGEST];
        bytes.get_mut(..name.len())?.copy_from_slice(name.as_bytes());
        Some(Self(bytes))
    }

    /// Whether a language goes on making such words: not pronouns, say, or conjunctions. Of the universal tags only.
    pub(super) fn takes_new_words(self) -> bool {
        ["ADJ", "ADV", "NOUN", "PROPN", "VERB"].contains(&self.name())
    }

    /// As its tagger calls it.
    pub fn name(&self) -> &str {
        let end = self.0.iter().position(|byte| *byte == 0).unwrap_or(Self::LONGEST);
        std::str::from_utf8(&self.0[..end]).unwrap_or_default()
    }
}

impl fmt::Debug for PartOfSpeech {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
