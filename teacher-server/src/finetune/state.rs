//! Where a fine-tuning stands: what a checkpoint holds beside weights and moments.

use lectern::metrics::{Mean, exact};
use serde::{Deserialize, Serialize};

/// A training's position and what it found so far.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct State {
    /// Steps taken.
    pub(super) step: usize,
    /// Training loss since the last evaluation.
    pub(super) loss: Mean,
    /// What is kept in the output folder.
    pub(super) best: Option<Best>,
    /// Evaluations since the best.
    pub(super) since_best: usize,
}

/// The evaluation whose weights are kept.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Best {
    /// More is better.
    #[serde(with = "exact")]
    pub(super) score: f64,
    /// Steps taken before it.
    pub(super) step: usize,
}

impl State {
    /// Takes an evaluation's score into account; whether it is the best so far. The first always is.
    pub(super) fn judge(&mut self, score: f64) -> bool {
        self.loss = Mean::default();
        let better = self.best.is_none_or(|best| score > best.score);
        if better {
            self.best = Some(Best { score, step: self.step });
            self.since_best = 0;
        } else {
            self.since_best += 1;
        }
        better
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_best_score_stays_and_evaluations_after_it_are_counted() {
        let mut state = State { step: 3, ..State::default() };
        assert!(state.judge(0.5));
        state.step = 6;
        assert!(!state.judge(0.5), "an equal score is not better");
        assert!(!state.judge(f64::NAN));
        assert_eq!((state.best.unwrap().step, state.since_best), (3, 2));
        assert!(state.judge(0.6));
        assert_eq!((state.best.unwrap().step, state.since_best), (6, 0));
    }
}
