//! Permutation language modelling (Yang et al. 2019, arXiv 1906.08237, section 2), with the spans and the order that
//! `DataCollatorForPermutationLanguageModeling` of `transformers` draws.

use rand::{RngExt as _, seq::SliceRandom as _};

use super::Draw;
use crate::text::Worded;

/// How texts are permuted.
#[derive(Debug, Clone, Copy)]
pub struct Permuting {
    /// Share of the tokens that are to be predicted: a span of `n` has a context of `⌊n / probability⌋` tokens, itself
    /// included.
    pub probability: f64,
    /// Longest span in tokens; its length is uniform from 1.
    pub max_span: usize,
    /// Id of the mask token.
    pub mask: i64,
}

/// A text and the order in which its tokens are predicted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permuted {
    /// `[T]` what the content stream sees: the mask token wherever one is to be predicted.
    pub ids: Vec<i64>,
    /// `[N]` where the tokens to predict stand, in order.
    pub places: Vec<usize>,
    /// `[N]` these tokens.
    pub labels: Vec<i64>,
    /// `[T]` when each token has its turn; -1 for those that are known from the beginning.
    pub ranks: Vec<i64>,
}

impl Permuting {
    /// Permutes a text.
    ///
    /// From the start of the text on, each span stands anywhere in a context of its own, and the next context follows.
    /// Special tokens are not predicted. Where the last context reaches beyond the text its span may too; if no token
    /// is left to predict, one is drawn from all.
    pub fn apply(&self, text: &Worded, draw: Draw) -> Permuted {
        let mut random = draw.random();
        let tokens = text.len();
        let mut is_target = vec![false; tokens];
        let mut start = 0;
        while start < tokens {
            let span = random.random_range(1..=self.max_span);
            let context = (span as f64 / self.probability) as usize;
            let first = start + random.random_range(0..=context - span);
            let places = first.min(tokens)..(first + span).min(tokens);
            for (is_target, word) in is_target[places.clone()].iter_mut().zip(&text.words[places]) {
                *is_target = word.is_some();
            }
            start += context;
        }
        if !is_target.contains(&true) {
            let of_words = |place: &usize| text.words[*place].is_some();
            let places: Vec<usize> = (0..tokens).filter(of_words).collect();
            if !places.is_empty() {
                is_target[places[random.random_range(0..places.len())]] = true;
            }
        }

        // The collator's order is made for memories of half a text's length: the second half is permuted as the first,
        // and comes after it. A text of odd length is ordered as with one token more.
        let half = tokens.div_ceil(2);
        let mut order: Vec<i64> = (0..half as i64).collect();
        order.shuffle(&mut random);
        let rank = |place: usize| {
            let is_known = !is_target[place] && text.words[place].is_some();
            let later = if place < half { 0 } else { half as i64 };
            if is_known { -1 } else { order[place % half] + later }
        };
        let ranks: Vec<i64> = (0..tokens).map(rank).collect();

        let places: Vec<usize> = (0..tokens).filter(|&place| is_target[place]).collect();
        let mut ids = text.tokens.ids.clone();
        let labels = places.iter().map(|&place| ids[place]).collect();
        for &place in &places {
            ids[place] = self.mask;
        }
        Permuted { ids, places, labels, ranks }
    }
}

impl Permuted {
    /// `[T]` for each place whether the token at `place` may not see it: one that is predicted, and not before it.
    pub fn hidden_from(&self, place: usize) -> impl Iterator<Item = bool> {
        let mut targets = self.places.iter().peekable();
        self.ranks.iter().enumerate().map(move |(other, rank)| {
            let is_target = targets.next_if(|target| **target == other).is_some();
            is_target && self.ranks[place] <= *rank
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::text::Tokens;

    const PERMUTING: Permuting = Permuting { probability: 1.0 / 6.0, max_span: 5, mask: 4 };

    /// So many words of one token, and two special tokens after them, as XLNet has them.
    fn text(words: usize) -> Worded {
        let ids: Vec<i64> = (0..words as i64 + 2).map(|i| 100 + i).collect();
        let words = (0..words).map(Some).chain([None, None]).collect();
        let tokens = Tokens { type_ids: vec![0; ids.len()], ids, truncated: false };
        Worded { tokens, words }
    }

    fn draw(epoch: usize, example: usize) -> Draw {
        Draw { seed: 3, epoch, example }
    }

    proptest! {
        #[test]
        fn nobody_sees_a_target_that_is_not_before_them_and_targets_not_themselves(
            words in 1_usize..80,
            example in 0_usize..1000,
        ) {
            let text = text(words);
            let permuted = PERMUTING.apply(&text, draw(1, example));
            prop_assert!(!permuted.places.is_empty());
            for place in 0..text.len() {
                let hidden: Vec<bool> = permuted.hidden_from(place).collect();
                for (other, hidden) in hidden.iter().enumerate() {
                    let is_target = permuted.places.contains(&other);
                    let is_before = permuted.ranks[other] < permuted.ranks[place];
                    prop_assert_eq!(*hidden, is_target && !is_before);
                }
                prop_assert_eq!(hidden[place], permuted.places.contains(&place));
                // What is known from the start sees no target at all.
                if permuted.ranks[place] == -1 {
                    prop_assert_eq!(hidden.iter().filter(|h| **h).count(), permuted.places.len());
                }
            }
            // The order is one: no two targets have their turn together.
            let mut turns: Vec<_> = permuted.places.iter().map(|&at| permuted.ranks[at]).collect();
            turns.sort_unstable();
            turns.dedup();
            prop_assert_eq!(turns.len(), permuted.places.len());
            // Special tokens have a turn and are not predicted.
            prop_assert!(permuted.places.iter().all(|&at| at < words));
            prop_assert!(permuted.ranks[words] >= 0 && permuted.ranks[words + 1] >= 0);
        }
    }

    #[test]
    fn one_token_in_six_is_predicted() {
        // Every context of 6 n tokens has a span of n.
        let (mut predicted, mut tokens) = (0, 0);
        for example in 0..200 {
            let text = text(598);
            predicted += PERMUTING.apply(&text, draw(1, example)).places.len();
            tokens += text.len();
        }
        let share = predicted as f64 / tokens as f64;
        // A last context that is cut off, at most 30 of 600 tokens, may lose its span.
        assert!((share - 1.0 / 6.0).abs() < 0.005, "{share}");
    }

    #[test]
    fn spans_are_no_longer_than_they_may_be() {
        for example in 0..200 {
            let permuted = PERMUTING.apply(&text(300), draw(2, example));
            let mut run = 1;
            for pair in permuted.places.windows(2) {
                run = if pair[0] + 1 == pair[1] { run + 1 } else { 1 };
                // Two spans may touch at the border of their contexts.
                assert!(run <= 10);
            }
        }
    }

    #[test]
    fn the_second_half_is_permuted_as_the_first_and_comes_after_it() {
        let text = Worded { words: vec![None; 9], ..text(7) };
        // Without words nothing is known from the beginning, and nothing is predicted.
        let permuted = PERMUTING.apply(&text, draw(1, 0));
        assert!(permuted.places.is_empty());
        let (first, second) = permuted.ranks.split_at(5);
        let mut sorted = first.to_vec();
        sorted.sort_unstable();
        assert_eq!(sorted, [0, 1, 2, 3, 4]);
        let later: Vec<i64> = first[..4].iter().map(|rank| rank + 5).collect();
        assert_eq!(second, later);
    }
}
