//! Precision, recall and F1, their averages, and the table that scikit-learn prints of them.

use std::fmt;

use serde_json::{Value, json};

/// Scores of one class, or an average over classes; a score without anything to divide by is 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClassScores {
    /// Share of the examples predicted as this class that are of it.
    pub precision: f64,
    /// Share of the examples of this class that were predicted as it.
    pub recall: f64,
    /// Harmonic mean of precision and recall.
    pub f1: f64,
    /// Number of examples that are of this class.
    pub support: usize,
}

impl ClassScores {
    /// Of `right` predictions among `predicted` ones, where `support` would have been right.
    pub(super) fn of_counts(right: usize, predicted: usize, support: usize) -> Self {
        Self {
            precision: ratio(right, predicted),
            recall: ratio(right, support),
            f1: ratio(2 * right, predicted + support),
            support,
        }
    }

    /// With scikit-learn's keys; it gives the support as a float too.
    pub(super) fn to_json(self) -> Value {
        json!({
            "precision": self.precision,
            "recall": self.recall,
            "f1-score": self.f1,
            "support": self.support as f64,
        })
    }
}

/// 0 where there is nothing to divide by.
pub(super) fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

pub(super) fn average(
    classes: &[ClassScores],
    weight: impl Fn(&ClassScores) -> usize,
) -> ClassScores {
    let weights: usize = classes.iter().map(&weight).sum();
    let mean = |score: fn(&ClassScores) -> f64| {
        let sum: f64 = classes.iter().map(|class| score(class) * weight(class) as f64).sum();
        if weights == 0 { 0.0 } else { sum / weights as f64 }
    };
    ClassScores {
        precision: mean(|class| class.precision),
        recall: mean(|class| class.recall),
        f1: mean(|class| class.f1),
        support: classes.iter().map(|class| class.support).sum(),
    }
}

/// The layout of the text; widths count characters, as Python's format does.
#[derive(Debug, Clone, Copy)]
pub(super) struct Table {
    /// Of the names' column.
    pub(super) width: usize,
}

impl Table {
    pub(super) fn new(names: &[String]) -> Self {
        let longest = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        Self { width: longest.max("weighted avg".len()) }
    }

    pub(super) fn head(self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (width, [precision, recall, f1, support]) =
            (self.width, ["precision", "recall", "f1-score", "support"]);
        writeln!(out, "{:>width$}  {precision:>9} {recall:>9} {f1:>9} {support:>9}\n", "")
    }

    pub(super) fn row(
        self,
        out: &mut fmt::Formatter<'_>,
        name: &str,
        scores: &ClassScores,
    ) -> fmt::Result {
        let (width, ClassScores { precision, recall, f1, support }) = (self.width, scores);
        writeln!(out, "{name:>width$}  {precision:>9.4} {recall:>9.4} {f1:>9.4} {support:>9}")
    }
}
