//! More text to learn from, made of the training texts: Tang et al. 2019 (arXiv 1903.12136), "Data Augmentation for
//! Distillation". Knows texts and words, not tokens, tensors or teachers.
//!
//! A sentence is varied by hiding words, by putting other words of the same part of speech in their places, and by keeping
//! only a few words in a row. What it says may change with that, and its hard label is then wrong: only a teacher's answer
//! to the new text is a target, so what is made here has none.
//!
//! All of it is a function of the training texts, the settings and a seed, whatever the number of threads.

mod chance;
mod part_of_speech;
mod sample;
mod set;
mod suffixes;
mod tagger;
#[cfg(test)]
mod tests;
mod unigrams;
mod words;

pub use part_of_speech::PartOfSpeech;
pub use set::{Augmented, augment};
pub use tagger::tag;
pub use unigrams::Unigrams;
pub use words::{TaggedText, Word};

/// How training texts are varied; the defaults are the paper's, for all of its data sets.
#[derive(Debug, Clone, PartialEq)]
pub struct Augmentation {
    /// `n_iter`: texts made of each, before duplicates are dropped; 20 in the paper, 10 for large data sets.
    pub samples: usize,
    /// `p_mask`: share of words that the mask token takes the place of.
    pub mask: f64,
    /// `p_pos`: share of words that another word of the same part of speech takes the place of. With `mask` at most 1.
    pub replace: f64,
    /// `p_ng`: share of the texts of which only one to five words in a row stay.
    pub ngram: f64,
    /// What stands for a hidden word: the teacher's own mask token, for other spellings are text to it.
    pub mask_token: String,
    /// Decides all draws. Runs with the same seed and training texts make the same texts, and share a teacher's answers.
    pub seed: u64,
}

impl Augmentation {
    /// What stands for hidden words, if any are.
    pub fn hiding(&self) -> Option<&str> {
        (self.mask > 0.0).then_some(self.mask_token.as_str())
    }
}

impl Default for Augmentation {
    fn default() -> Self {
        Self {
            samples: 20,
            mask: 0.1,
            replace: 0.1,
            ngram: 0.25,
            mask_token: "[MASK]".to_owned(),
            seed: 1,
        }
    }
}
