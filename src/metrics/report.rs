//! scikit-learn's `classification_report`, to the byte in text and to the key in JSON.

use std::fmt;

use serde_json::{Map, Value, json};

use super::scores::{Table, average, ratio};
use super::{ClassScores, ConfusionMatrix};

/// Averages over the classes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Averages {
    /// Every class weighs the same, also one that has no examples.
    pub macro_avg: ClassScores,
    /// Each class weighs by its support.
    pub weighted_avg: ClassScores,
}

/// Scores of a confusion matrix under the classes' names.
///
/// `Display` writes what `classification_report(truth, predicted, labels=range(C),
/// target_names=names, digits=4, zero_division=0)` returns, the same bytes. One exception: if no
/// example at all was predicted right, scikit-learn 1.9 writes the support as `1.0`, this as `1`.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassificationReport {
    names: Vec<String>,
    matrix: ConfusionMatrix,
    classes: Vec<ClassScores>,
    averages: Averages,
}

impl ClassificationReport {
    /// Scores what was counted.
    ///
    /// # Panics
    /// If there are not as many names as classes.
    pub fn new(matrix: ConfusionMatrix, names: &[String]) -> Self {
        assert_eq!(names.len(), matrix.classes(), "one name per class");
        let mut predicted = vec![0; matrix.classes()];
        for row in matrix.rows() {
            predicted.iter_mut().zip(row).for_each(|(sum, count)| *sum += count);
        }
        let classes: Vec<ClassScores> = matrix
            .rows()
            .zip(predicted)
            .enumerate()
            .map(|(class, (row, predicted))| {
                ClassScores::of_counts(row[class], predicted, row.iter().sum())
            })
            .collect();
        let averages = Averages {
            macro_avg: average(&classes, |_| 1),
            weighted_avg: average(&classes, |class| class.support),
        };
        Self { names: names.to_vec(), matrix, classes, averages }
    }

    /// The same from the true and the predicted class of each example.
    ///
    /// # Panics
    /// If a class is not below the number of names.
    pub fn from_pairs(pairs: impl IntoIterator<Item = (usize, usize)>, names: &[String]) -> Self {
        let mut matrix = ConfusionMatrix::new(names.len());
        for (truth, predicted) in pairs {
            matrix.add(truth, predicted);
        }
        Self::new(matrix, names)
    }

    /// Share of examples predicted right.
    pub fn accuracy(&self) -> f64 {
        ratio(self.matrix.correct(), self.matrix.total())
    }

    /// Mean of the classes' F1.
    pub fn macro_f1(&self) -> f64 {
        self.averages.macro_avg.f1
    }

    /// Scores of each class, in the order of the names.
    pub fn classes(&self) -> &[ClassScores] {
        &self.classes
    }

    /// Averages over the classes.
    pub fn averages(&self) -> &Averages {
        &self.averages
    }

    /// What it was made of.
    pub fn matrix(&self) -> &ConfusionMatrix {
        &self.matrix
    }

    /// The confusion matrix as text.
    pub fn matrix_table(&self) -> String {
        self.matrix.table(&self.names)
    }

    /// scikit-learn's `output_dict=True`, and the counts as `"confusion_matrix"`: an array of
    /// rows, one per true class.
    pub fn to_json(&self) -> Value {
        let mut report = Map::new();
        for (name, scores) in self.names.iter().zip(&self.classes) {
            report.insert(name.clone(), scores.to_json());
        }
        report.insert("accuracy".to_owned(), json!(self.accuracy()));
        report.insert("macro avg".to_owned(), self.averages.macro_avg.to_json());
        report.insert("weighted avg".to_owned(), self.averages.weighted_avg.to_json());
        let rows: Vec<&[usize]> = self.matrix.rows().collect();
        report.insert("confusion_matrix".to_owned(), json!(rows));
        Value::Object(report)
    }
}

impl fmt::Display for ClassificationReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = Table::new(&self.names);
        table.head(out)?;
        for (name, scores) in self.names.iter().zip(&self.classes) {
            table.row(out, name, scores)?;
        }
        let (width, accuracy, total) = (table.width, self.accuracy(), self.matrix.total());
        writeln!(out, "\n{:>width$}  {:>9} {:>9} {accuracy:>9.4} {total:>9}", "accuracy", "", "")?;
        table.row(out, "macro avg", &self.averages.macro_avg)?;
        table.row(out, "weighted avg", &self.averages.weighted_avg)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde::Deserialize;

    use super::*;

    /// Written by `tests/fixtures/make_reports.py` with scikit-learn.
    #[derive(Deserialize)]
    struct Case {
        title: String,
        names: Vec<String>,
        truth: Vec<usize>,
        predicted: Vec<usize>,
        text: String,
        dict: Value,
    }

    impl Case {
        fn all() -> Vec<Self> {
            serde_json::from_str(include_str!(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/fixtures/reports.json"
            )))
            .unwrap()
        }

        fn report(&self) -> ClassificationReport {
            let pairs = self.truth.iter().copied().zip(self.predicted.iter().copied());
            ClassificationReport::from_pairs(pairs, &self.names)
        }
    }

    /// Equal but for rounding: scikit-learn sums in another order.
    pub(in crate::metrics) fn agree(ours: &Value, theirs: &Value) -> bool {
        match (ours, theirs) {
            (Value::Object(ours), Value::Object(theirs)) => {
                ours.keys().eq(theirs.keys())
                    && ours.values().zip(theirs.values()).all(|(a, b)| agree(a, b))
            }
            (Value::Number(ours), Value::Number(theirs)) => {
                let difference = ours.as_f64().unwrap() - theirs.as_f64().unwrap();
                ours.is_f64() == theirs.is_f64() && difference.abs() < 1e-12
            }
            _ => ours == theirs,
        }
    }

    #[test]
    fn the_text_is_scikit_learns_byte_for_byte() {
        for case in Case::all() {
            assert_eq!(case.report().to_string(), case.text, "{}", case.title);
        }
    }

    #[test]
    fn the_json_is_scikit_learns_and_the_confusion_matrix() {
        for case in Case::all() {
            let ours = case.report().to_json();
            assert!(agree(&ours, &case.dict), "{}: {ours:#} against {:#}", case.title, case.dict);
        }
    }

    #[test]
    fn nothing_counted_scores_zero() {
        let names = ["a".to_owned(), "b".to_owned()];
        let report = ClassificationReport::from_pairs([], &names);
        assert_eq!((report.accuracy(), report.macro_f1()), (0.0, 0.0));
    }
}
