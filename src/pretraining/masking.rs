//! Masked language modelling (Devlin et al. 2019, arXiv 1810.04805, section 3.1), by whole words, as the second release of
//! BERT has it: all pieces of a word are predicted or none.

use rand::{RngExt as _, seq::SliceRandom as _};

use super::Draw;
use crate::text::Worded;

/// Share of the tokens to predict that the mask token takes the place of.
const HIDDEN: f64 = 0.8;
/// Share that any token takes the place of; the rest stays, so that every state must know its token.
const REPLACED: f64 = 0.1;

/// How texts are masked.
#[derive(Debug, Clone, Copy)]
pub struct Masking {
    /// Share of the tokens of words that are to be predicted.
    pub probability: f64,
    /// Words as a whole, not their pieces each for itself.
    pub whole_words: bool,
    /// Id of the mask token.
    pub mask: i64,
    /// Ids below it take the places of tokens.
    pub vocabulary: i64,
}

/// A masked text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Masked {
    /// `[T]` what the model sees.
    pub ids: Vec<i64>,
    /// `[N]` where the tokens to predict stand, in order.
    pub places: Vec<usize>,
    /// `[N]` these tokens.
    pub labels: Vec<i64>,
}

impl Masking {
    /// Masks a text.
    ///
    /// Words are taken in random order as long as they fit into the share of tokens, which is rounded and at least one;
    /// one that does not fit is passed over, as in BERT's release. If none fits, the first is taken.
    pub fn apply(&self, text: &Worded, draw: Draw) -> Masked {
        let mut random = draw.random();
        let mut words = self.units(text);
        words.shuffle(&mut random);
        let tokens = words.iter().map(Vec::len).sum::<usize>();
        let budget = ((tokens as f64 * self.probability).round() as usize).max(1);
        let mut places: Vec<usize> = Vec::new();
        for word in &words {
            if places.len() + word.len() <= budget {
                places.extend(word);
            }
        }
        if places.is_empty() {
            places.extend(words.first().into_iter().flatten());
        }
        places.sort_unstable();

        let mut ids = text.tokens.ids.clone();
        let labels = places.iter().map(|&place| ids[place]).collect();
        for &place in &places {
            let chance: f64 = random.random();
            if chance < HIDDEN {
                ids[place] = self.mask;
            } else if chance < HIDDEN + REPLACED {
                ids[place] = random.random_range(0..self.vocabulary);
            }
        }
        Masked { ids, places, labels }
    }

    /// Places of the tokens that are predicted together.
    fn units(&self, text: &Worded) -> Vec<Vec<usize>> {
        let mut units: Vec<Vec<usize>> = Vec::new();
        let mut last = None;
        for (place, word) in text.words.iter().enumerate() {
            match (word, units.last_mut()) {
                (None, _) => {}
                (Some(_), Some(unit)) if self.whole_words && last == *word => unit.push(place),
                (Some(_), _) => units.push(vec![place]),
            }
            last = *word;
        }
        units
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::text::Tokens;

    const MASKING: Masking =
        Masking { probability: 0.15, whole_words: true, mask: 4, vocabulary: 1000 };

    /// Special tokens around words of so many pieces.
    fn text(words: &[usize]) -> Worded {
        let pieces = words.iter().enumerate().flat_map(|(word, n)| vec![Some(word); *n]);
        let words: Vec<_> = std::iter::once(None).chain(pieces).chain([None]).collect();
        // Far from the ids that take the places of others.
        let ids: Vec<i64> = (0..words.len()).map(|i| 5000 + i as i64).collect();
        let tokens = Tokens { type_ids: vec![0; ids.len()], ids, truncated: false };
        Worded { tokens, words }
    }

    fn draw(epoch: usize, example: usize) -> Draw {
        Draw { seed: 7, epoch, example }
    }

    proptest! {
        #[test]
        fn words_are_masked_whole_within_the_share_and_special_tokens_never(
            words in prop::collection::vec(1_usize..5, 1..60),
            example in 0_usize..1000,
        ) {
            let text = text(&words);
            let masked = MASKING.apply(&text, draw(1, example));
            let chosen: HashSet<_> = masked.places.iter().map(|&at| text.words[at]).collect();
            prop_assert!(!chosen.contains(&None) && !masked.places.is_empty());
            let whole = |word: &Option<usize>| words[word.unwrap()];
            prop_assert_eq!(masked.places.len(), chosen.iter().map(whole).sum::<usize>());
            let tokens: usize = words.iter().sum();
            let budget = (tokens as f64 * 0.15).round().max(1.0) as usize;
            prop_assert!(masked.places.len() <= budget || chosen.len() == 1);
            for (at, (seen, was)) in masked.ids.iter().zip(&text.tokens.ids).enumerate() {
                prop_assert!(seen == was || masked.places.contains(&at));
            }
            let labels: Vec<_> = masked.places.iter().map(|&at| text.tokens.ids[at]).collect();
            prop_assert_eq!(labels, masked.labels);
        }
    }

    #[test]
    fn eight_in_ten_are_hidden_one_replaced_and_one_kept() {
        let text = text(&[1; 100]);
        let [mut hidden, mut kept, mut all] = [0.0; 3];
        for example in 0..400 {
            let masked = MASKING.apply(&text, draw(1, example));
            for (&at, &label) in masked.places.iter().zip(&masked.labels) {
                all += 1.0;
                hidden += f64::from(u8::from(masked.ids[at] == 4));
                kept += f64::from(u8::from(masked.ids[at] == label));
            }
        }
        // 15 of 100 tokens in 400 texts. Standard deviations are 0.5 % and 0.4 %; four of them.
        assert!((all - 6000.0_f64).abs() < 0.5);
        assert!((hidden / all - 0.8).abs() < 0.02, "{hidden} of {all}");
        assert!((kept / all - 0.1).abs() < 0.016, "{kept} of {all}");
    }

    #[test]
    fn masks_are_the_same_for_a_place_in_the_training_and_others_elsewhere() {
        let text = text(&[1; 100]);
        let places =
            |seed, epoch, example| MASKING.apply(&text, Draw { seed, epoch, example }).places;
        assert_eq!(places(7, 1, 0), places(7, 1, 0));
        for other in [places(8, 1, 0), places(7, 2, 0), places(7, 1, 1), places(7, 0, 0)] {
            assert_ne!(places(7, 1, 0), other);
        }
    }

    #[test]
    fn pieces_can_be_masked_each_for_itself() {
        let text = text(&[4; 25]);
        let masked = Masking { whole_words: false, ..MASKING }.apply(&text, draw(1, 0));
        assert_eq!(masked.places.len(), 15);
        let words: HashSet<_> = masked.places.iter().map(|&at| text.words[at]).collect();
        // Whole words of four would be at most 4 of them.
        assert!(words.len() > 4, "{words:?}");
    }
}
