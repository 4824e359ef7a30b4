//! Which number on dev chooses the weights that are kept.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::Evaluation;
use crate::data::Task;

/// The number on dev that chooses what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum BestBy {
    /// The task's first: accuracy, micro-averaged F1, or Pearson's correlation
    Score,
    /// Share of texts with the right label
    Accuracy,
    /// F1 averaged over labels, each the same
    #[value(name = "macro-f1")]
    MacroF1,
    /// Mean loss on dev, without class weights and smoothing; less is better
    Loss,
}

impl BestBy {
    /// Whether models of `task` have it.
    pub const fn fits(self, task: Task) -> bool {
        match self {
            Self::Score | Self::Loss => true,
            Self::Accuracy => matches!(task, Task::SingleLabel),
            Self::MacroF1 => !matches!(task, Task::Regression),
        }
    }

    /// The number, turned so that more is better.
    pub fn of(self, dev: &Evaluation) -> f64 {
        let named = |name| {
            let scores = dev.report.scores();
            scores
                .into_iter()
                .find(|(score, _)| *score == name)
                .map_or(f64::NAN, |(_, value)| value)
        };
        match self {
            Self::Score => dev.report.score(),
            Self::Accuracy => named("accuracy"),
            Self::MacroF1 => named("macro_f1"),
            Self::Loss => -dev.loss,
        }
    }
}
