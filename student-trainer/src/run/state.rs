//! Where a run stands: what a checkpoint holds beside weights and moments.

use lectern::metrics::{Mean, exact};
use serde::{Deserialize, Serialize};

/// A run's position and what it found so far.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct State {
    /// Whole epochs behind it.
    pub(crate) epochs: usize,
    /// Batches of the present epoch behind it.
    pub(crate) batches: usize,
    /// Steps taken.
    pub(crate) step: usize,
    /// Training loss of the present epoch.
    pub(crate) loss: Mean,
    /// What is kept in the run folder.
    pub(crate) best: Option<Best>,
    /// Examples trained on, each as often as it was.
    pub(crate) examples: usize,
    /// Those of them that had only their hard label, for want of a soft one.
    pub(crate) without_soft_label: usize,
    /// Examples left out for want of a soft label.
    pub(crate) left_out: usize,
    /// Seconds in training steps, waiting included, evaluation not.
    pub(crate) seconds: f64,
    /// Seconds of them spent waiting for the teacher.
    pub(crate) waited: f64,
}

/// The epoch whose weights are kept.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Best {
    /// More is better.
    #[serde(with = "exact")]
    pub(crate) score: f64,
    /// Counted from 1.
    pub(crate) epoch: usize,
}

impl State {
    /// Ends an epoch with its score on dev; whether that is the best so far. The first always is.
    pub(crate) fn end_epoch(&mut self, score: f64) -> bool {
        self.epochs += 1;
        self.batches = 0;
        self.loss = Mean::default();
        let better = self.best.is_none_or(|best| score > best.score);
        if better {
            self.best = Some(Best { score, epoch: self.epochs });
        }
        better
    }

    /// Epochs since the best.
    pub(crate) fn since_best(&self) -> usize {
        self.epochs - self.best.map_or(0, |best| best.epoch)
    }

    /// Share of the training time that was spent waiting for the teacher.
    pub(crate) fn wait_share(&self) -> f64 {
        self.waited / self.seconds.max(1e-9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_best_epoch_stays_and_those_after_it_are_counted() {
        let mut state = State::default();
        assert!(state.end_epoch(0.5));
        assert!(!state.end_epoch(0.5), "an equal score is not better");
        assert!(!state.end_epoch(f64::NAN));
        assert_eq!((state.best.unwrap().epoch, state.since_best()), (1, 2));
        assert!(state.end_epoch(0.6));
        assert_eq!((state.best.unwrap().epoch, state.since_best()), (4, 0));
    }
}
