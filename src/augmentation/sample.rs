//! One text made of another.

use super::{Augmentation, TaggedText, Unigrams, chance::Chance};

/// Words in the longest run that is kept of a text.
const LONGEST_NGRAM: u64 = 5;

/// What a text is made with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sampler<'a> {
    pub(super) settings: &'a Augmentation,
    /// Of the training texts.
    pub(super) unigrams: &'a Unigrams,
}

impl Sampler<'_> {
    /// Tang et al. 2019, "Data Augmentation for Distillation": for each word `X` is drawn uniformly; if `X < p_mask` the
    /// mask token takes its place, else if `X < p_mask + p_pos` another word of its part of speech does, if it has one
    /// and there is another. Then, with probability `p_ng`, only `n` words in a row stay, `n` from 1 to 5 and where they
    /// begin each as likely; a text of fewer words stays whole.
    ///
    /// White space between words is kept as it is.
    pub(super) fn vary(self, text: &TaggedText, chance: &mut impl Chance) -> String {
        let Augmentation { mask, replace, ngram, mask_token, .. } = self.settings;
        let words = text.words.iter().enumerate().map(|(index, word)| {
            let (drawn, is) = (chance.uniform(), text.word(index));
            if drawn < *mask {
                mask_token
            } else if drawn < mask + replace {
                let another = word.tag.and_then(|tag| self.unigrams.another(tag, is, chance));
                another.unwrap_or(is)
            } else {
                is
            }
        });
        let words: Vec<&str> = words.collect();
        if words.is_empty() {
            return text.text.clone();
        }
        let (first, last) = if chance.uniform() < *ngram {
            let kept = (1 + chance.below(LONGEST_NGRAM)).min(words.len() as u64);
            let first = chance.below(words.len() as u64 - kept + 1);
            (first as usize, (first + kept - 1) as usize)
        } else {
            (0, words.len() - 1)
        };
        let mut made = String::with_capacity(text.text.len());
        let mut between = text.words[first].start;
        for (word, place) in words[first..=last].iter().zip(&text.words[first..]) {
            made.push_str(&text.text[between..place.start]);
            made.push_str(word);
            between = place.end;
        }
        made
    }

    /// One text, or a pair of which the first, the second or both are varied, in turns.
    pub(super) fn vary_example(
        self,
        (text, pair): (&TaggedText, Option<&TaggedText>),
        turn: usize,
        chance: &mut impl Chance,
    ) -> (String, Option<String>) {
        let Some(pair) = pair else { return (self.vary(text, chance), None) };
        match turn % 3 {
            0 => (self.vary(text, chance), Some(pair.text.clone())),
            1 => (text.text.clone(), Some(self.vary(pair, chance))),
            _ => (self.vary(text, chance), Some(self.vary(pair, chance))),
        }
    }
}
