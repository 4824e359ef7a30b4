//! Where a pre-training stands: what a checkpoint holds beside weights and moments.

use lectern::metrics::{Mean, exact};
use serde::{Deserialize, Serialize};

/// A training's position and what it found so far.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct State {
    /// Steps taken.
    pub(super) step: usize,
    /// Of each predicted token since the last evaluation.
    pub(super) loss: Mean,
    /// Held-out loss before the first step.
    pub(super) before: Option<Evaluation>,
    /// The epoch whose weights are kept in the output folder.
    pub(super) best: Option<Evaluation>,
}

/// A loss on held-out text.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Evaluation {
    /// Mean over the predicted tokens, in nats.
    #[serde(with = "exact")]
    pub(super) loss: f64,
    /// Steps taken before it.
    pub(super) step: usize,
}

impl Evaluation {
    /// What a model that is no better than a fair draw among so many tokens would lose: `exp` of the loss.
    pub(super) fn perplexity(self) -> f64 {
        self.loss.exp()
    }
}

impl State {
    /// Takes the evaluation of an epoch into account; whether it is the best so far. The first always is.
    pub(super) fn judge(&mut self, loss: f64) -> bool {
        self.loss = Mean::default();
        let better = self.best.is_none_or(|best| loss < best.loss);
        if better {
            self.best = Some(Evaluation { loss, step: self.step });
        }
        better
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_loss_stays_and_an_equal_one_later_is_not_better() {
        let mut state = State { step: 3, ..State::default() };
        assert!(state.judge(2.0));
        state.step = 6;
        assert!(!state.judge(2.0) && !state.judge(2.5));
        assert_eq!(state.best.unwrap().step, 3);
        assert!(state.judge(1.0));
        assert_eq!(state.best.unwrap().step, 6);
    }

    #[test]
    fn a_loss_of_a_fair_draw_has_its_tokens_for_perplexity() {
        let evaluation = Evaluation { loss: 50_f64.ln(), step: 0 };
        assert!((evaluation.perplexity() - 50.0).abs() < 1e-9);
    }
}
