//! The report that a task asks for, behind one face: what is printed, and the number that chooses the best
//! epoch.

use std::fmt;

use serde_json::Value;

use super::{ClassificationReport, LabelReport, ValueReport};
use crate::data::{LabelSet, Target, Task};

/// How a model did on labelled examples.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// Single-label.
    Classes(ClassificationReport),
    /// Multi-label.
    Labels(LabelReport),
    /// Regression.
    Values(ValueReport),
}

impl Report {
    /// Compares what was true with what was predicted, both of `labels`; a pair of another task's targets
    /// does not count.
    pub fn new(labels: &LabelSet, pairs: &[(&Target, Target)]) -> Self {
        let names = labels.names();
        match labels.task() {
            Task::SingleLabel => {
                let class = |(truth, predicted): &(&Target, Target)| match (truth, predicted) {
                    (Target::Label(truth), Target::Label(predicted)) => Some((*truth, *predicted)),
                    _ => None,
                };
                let pairs = pairs.iter().filter_map(class);
                Self::Classes(ClassificationReport::from_pairs(pairs, names))
            }
            Task::MultiLabel => {
                let sets =
                    pairs.iter().map(|(truth, predicted)| (truth.labels(), predicted.labels()));
                Self::Labels(LabelReport::from_pairs(sets, names))
            }
            Task::Regression => {
                let values = |(truth, predicted): &(&Target, Target)| match (truth, predicted) {
                    (Target::Value(truth), Target::Value(predicted)) => Some((*truth, *predicted)),
                    _ => None,
                };
                Self::Values(ValueReport::from_pairs(pairs.iter().filter_map(values)))
            }
        }
    }

    /// The numbers that say most, by name; the first chooses the best epoch, and more of it is better:
    /// accuracy, micro-averaged F1, or Pearson's correlation.
    pub fn scores(&self) -> Vec<(&'static str, f64)> {
        match self {
            Self::Classes(report) => {
                vec![("accuracy", report.accuracy()), ("macro_f1", report.macro_f1())]
            }
            Self::Labels(report) => vec![
                ("micro_f1", report.micro_f1()),
                ("macro_f1", report.macro_f1()),
                ("exact_match", report.exact_match()),
            ],
            Self::Values(report) => vec![
                ("pearson", report.pearson),
                ("spearman", report.spearman),
                ("mse", report.mse),
                ("mae", report.mae),
            ],
        }
    }

    /// [`scores`](Self::scores) as a JSON object; an undefined one is null.
    pub fn scores_json(&self) -> Value {
        self.scores().into_iter().collect()
    }

    /// [`scores`](Self::scores) for a line of a log.
    pub fn summary(&self) -> String {
        let scores = self.scores().into_iter();
        scores.map(|(name, score)| format!("{name} {score:.4}")).collect::<Vec<_>>().join(", ")
    }

    /// What the best epoch is chosen by, to be compared with other epochs': an undefined correlation,
    /// as of a model that answers every text alike, is the worst.
    pub fn score(&self) -> f64 {
        let score = match self {
            Self::Classes(report) => report.accuracy(),
            Self::Labels(report) => report.micro_f1(),
            Self::Values(report) => report.pearson,
        };
        if score.is_nan() { f64::NEG_INFINITY } else { score }
    }

    /// Everything as JSON.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Classes(report) => report.to_json(),
            Self::Labels(report) => report.to_json(),
            Self::Values(report) => report.to_json(),
        }
    }

    /// What stands below the table: the confusion matrix, or how many examples were wholly right.
    pub fn details(&self) -> Option<String> {
        match self {
            Self::Classes(report) => {
                let matrix = report.matrix_table();
                Some(format!("confusion matrix, true labels in rows\n{matrix}"))
            }
            Self::Labels(report) => Some(format!(
                "exactly the true labels: {:.4} of {} examples\n",
                report.exact_match(),
                report.examples()
            )),
            Self::Values(_) => None,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Classes(report) => report.fmt(f),
            Self::Labels(report) => report.fmt(f),
            Self::Values(report) => report.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_undefined_correlation_is_worse_than_any_other() {
        let labels = LabelSet::of_task(Task::Regression, vec!["score".to_owned()]).unwrap();
        let (one, two) = (Target::Value(1.0), Target::Value(2.0));
        let constant = Report::new(&labels, &[(&one, one.clone()), (&two, one.clone())]);
        let backwards = Report::new(&labels, &[(&one, two.clone()), (&two, one.clone())]);
        assert!(constant.score() < backwards.score());
        assert_eq!(constant.scores()[0].0, "pearson");
    }
}
