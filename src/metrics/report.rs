//! scikit-learn's `classification_report`, to the byte in text and to the key in JSON.

use std::fmt;

use serde_json::{Map, Value, json};

use super::ConfusionMatrix;

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
                let support = row.iter().sum();
                ClassScores {
                    precision: ratio(row[class], predicted),
                    recall: ratio(row[class], support),
                    f1: ratio(2 * row[class], predicted + support),
                    support,
                }
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

impl ClassScores {
    /// With scikit-learn's keys; it gives the support as a float too.
    fn to_json(self) -> Value {
        json!({
            "precision": self.precision,
            "recall": self.recall,
            "f1-score": self.f1,
            "support": self.support as f64,
        })
    }
}

impl fmt::Display for ClassificationReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Widths count characters, as Python's format does.
        let longest = self.names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        let width = longest.max("weighted avg".len());
        let row = |out: &mut fmt::Formatter<'_>, name: &str, scores: &ClassScores| {
            let ClassScores { precision, recall, f1, support } = scores;
            writeln!(out, "{name:>width$}  {precision:>9.4} {recall:>9.4} {f1:>9.4} {support:>9}")
        };
        writeln!(
            out,
            "{:>width$}  {:>9} {:>9} {:>9} {:>9}\n",
            "", "precision", "recall", "f1-score", "support"
        )?;
        for (name, scores) in self.names.iter().zip(&self.classes) {
            row(out, name, scores)?;
        }
        let (accuracy, total) = (self.accuracy(), self.matrix.total());
        writeln!(out, "\n{:>width$}  {:>9} {:>9} {accuracy:>9.4} {total:>9}", "accuracy", "", "")?;
        row(out, "macro avg", &self.averages.macro_avg)?;
        row(out, "weighted avg", &self.averages.weighted_avg)
    }
}

/// 0 where there is nothing to divide by.
fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn average(classes: &[ClassScores], weight: impl Fn(&ClassScores) -> usize) -> ClassScores {
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

#[cfg(test)]
mod tests {
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
    fn agree(ours: &Value, theirs: &Value) -> bool {
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
