//! Multi-label: scikit-learn's `classification_report` of label indicators, to the byte in text and to the
//! key in JSON.

use std::fmt;

use serde_json::{Map, Value, json};

use super::ClassScores;
use super::scores::{Table, average, ratio};

/// What was true against what was predicted of one label, over all examples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    /// True and predicted.
    right: usize,
    predicted: usize,
    support: usize,
}

impl Counts {
    fn scores(self) -> ClassScores {
        ClassScores::of_counts(self.right, self.predicted, self.support)
    }
}

/// Scores of predicted label sets under the labels' names.
///
/// `Display` writes what `classification_report(truth, predicted, target_names=names, digits=4,
/// zero_division=0)` returns for arrays of 0 and 1, the same bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelReport {
    names: Vec<String>,
    counts: Vec<Counts>,
    examples: usize,
    exact: usize,
    /// Of the averages over examples: sums of precision, recall and F1.
    sample_sums: [f64; 3],
}

impl LabelReport {
    /// Counts pairs of the true and the predicted classes of an example, each ascending.
    ///
    /// # Panics
    /// If a class is not below the number of names.
    pub fn from_pairs<'a>(
        pairs: impl IntoIterator<Item = (&'a [usize], &'a [usize])>,
        names: &[String],
    ) -> Self {
        let mut report = Self {
            names: names.to_vec(),
            counts: vec![Counts::default(); names.len()],
            examples: 0,
            exact: 0,
            sample_sums: [0.0; 3],
        };
        for (truth, predicted) in pairs {
            report.add(truth, predicted);
        }
        report
    }

    fn add(&mut self, truth: &[usize], predicted: &[usize]) {
        let mut right = 0;
        for &class in truth {
            self.counts[class].support += 1;
        }
        for &class in predicted {
            let hit = truth.binary_search(&class).is_ok();
            right += usize::from(hit);
            self.counts[class].predicted += 1;
            self.counts[class].right += usize::from(hit);
        }
        self.examples += 1;
        self.exact += usize::from(truth == predicted);
        let ClassScores { precision, recall, f1, .. } =
            ClassScores::of_counts(right, predicted.len(), truth.len());
        for (sum, score) in self.sample_sums.iter_mut().zip([precision, recall, f1]) {
            *sum += score;
        }
    }

    /// F1 of all decisions together, whatever their label.
    pub fn micro_f1(&self) -> f64 {
        self.micro().f1
    }

    /// Mean of the labels' F1.
    pub fn macro_f1(&self) -> f64 {
        average(&self.scores(), |_| 1).f1
    }

    /// Share of examples with exactly the true labels; scikit-learn's `accuracy_score`.
    pub fn exact_match(&self) -> f64 {
        ratio(self.exact, self.examples)
    }

    /// Examples counted.
    pub fn examples(&self) -> usize {
        self.examples
    }

    fn scores(&self) -> Vec<ClassScores> {
        self.counts.iter().map(|counts| counts.scores()).collect()
    }

    fn micro(&self) -> ClassScores {
        let sum = |count: fn(&Counts) -> usize| self.counts.iter().map(count).sum();
        ClassScores::of_counts(sum(|c| c.right), sum(|c| c.predicted), sum(|c| c.support))
    }

    /// In scikit-learn's order.
    fn averages(&self) -> [(&'static str, ClassScores); 4] {
        let (labels, micro) = (self.scores(), self.micro());
        let [precision, recall, f1] = self
            .sample_sums
            .map(|sum| if self.examples == 0 { 0.0 } else { sum / self.examples as f64 });
        [
            ("micro avg", micro),
            ("macro avg", average(&labels, |_| 1)),
            ("weighted avg", average(&labels, |label| label.support)),
            ("samples avg", ClassScores { precision, recall, f1, support: micro.support }),
        ]
    }

    /// scikit-learn's `output_dict=True`, and its `multilabel_confusion_matrix` under that name: for each
    /// label `[[true negatives, false positives], [false negatives, true positives]]`.
    pub fn to_json(&self) -> Value {
        let labels = self.names.iter().map(String::as_str).zip(self.scores());
        let mut report: Map<String, Value> = labels
            .chain(self.averages())
            .map(|(name, scores)| (name.to_owned(), scores.to_json()))
            .collect();
        let matrix = |&Counts { right, predicted, support }: &Counts| {
            let others = self.examples + right - predicted - support;
            json!([[others, predicted - right], [support - right, right]])
        };
        let matrices: Vec<Value> = self.counts.iter().map(matrix).collect();
        report.insert("multilabel_confusion_matrix".to_owned(), json!(matrices));
        Value::Object(report)
    }
}

impl fmt::Display for LabelReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = Table::new(&self.names);
        table.head(out)?;
        for (name, counts) in self.names.iter().zip(&self.counts) {
            table.row(out, name, &counts.scores())?;
        }
        writeln!(out)?;
        self.averages().iter().try_for_each(|(name, scores)| table.row(out, name, scores))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::super::report::tests::agree;
    use super::*;

    /// Written by `tests/fixtures/make_reports.py` with scikit-learn.
    #[derive(Deserialize)]
    struct Case {
        title: String,
        names: Vec<String>,
        truth: Vec<Vec<usize>>,
        predicted: Vec<Vec<usize>>,
        text: String,
        exact_match: f64,
        dict: Value,
    }

    #[test]
    fn text_and_json_are_scikit_learns() {
        let cases: Vec<Case> = serde_json::from_str(include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/fixtures/label_reports.json"
        )))
        .unwrap();
        for case in cases {
            let pairs = case.truth.iter().zip(&case.predicted);
            let report = LabelReport::from_pairs(
                pairs.map(|(t, p)| (t.as_slice(), p.as_slice())),
                &case.names,
            );
            assert_eq!(report.to_string(), case.text, "{}", case.title);
            let ours = report.to_json();
            assert!(agree(&ours, &case.dict), "{}: {ours:#} against {:#}", case.title, case.dict);
            assert!((report.exact_match() - case.exact_match).abs() < 1e-12, "{}", case.title);
        }
    }

    #[test]
    fn nothing_counted_scores_zero() {
        let report = LabelReport::from_pairs([], &["a".to_owned()]);
        assert_eq!((report.micro_f1(), report.macro_f1(), report.exact_match()), (0.0, 0.0, 0.0));
    }
}
