//! Counts of what was true against what was predicted, from which every score follows.

use std::fmt::Write;

/// Head of the names' column in [`ConfusionMatrix::table`].
const CORNER: &str = "true \\ predicted";

/// `C x C` counts; the row is the true class, the column the predicted one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfusionMatrix {
    classes: usize,
    counts: Vec<usize>,
}

impl ConfusionMatrix {
    /// An empty matrix for classes `0..classes`.
    pub fn new(classes: usize) -> Self {
        Self { classes, counts: vec![0; classes * classes] }
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Counts one example.
    ///
    /// # Panics
    /// If a class is not below [`classes`](Self::classes).
    pub fn add(&mut self, truth: usize, predicted: usize) {
        assert!(truth < self.classes && predicted < self.classes, "class out of range");
        self.counts[truth * self.classes + predicted] += 1;
    }

    /// How many examples of class `truth` were predicted as `predicted`.
    pub fn count(&self, truth: usize, predicted: usize) -> usize {
        self.rows().nth(truth).and_then(|row| row.get(predicted)).copied().unwrap_or(0)
    }

    /// The rows in order, one per true class.
    pub fn rows(&self) -> impl Iterator<Item = &[usize]> {
        self.counts.chunks(self.classes.max(1))
    }

    /// Examples counted.
    pub fn total(&self) -> usize {
        self.counts.iter().sum()
    }

    /// Examples on the diagonal.
    pub fn correct(&self) -> usize {
        self.counts.iter().step_by(self.classes + 1).sum()
    }

    /// The matrix as text, true classes down and predicted ones across. Widths count characters.
    ///
    /// # Panics
    /// If there are not as many names as classes.
    pub fn table(&self, names: &[String]) -> String {
        assert_eq!(names.len(), self.classes, "one name per class");
        let length = |text: &str| text.chars().count();
        let first = names.iter().map(|name| length(name)).max().unwrap_or(0).max(length(CORNER));
        let widths: Vec<usize> = (0..self.classes)
            .map(|class| {
                let counts = self.rows().map(|row| length(&row[class].to_string()));
                counts.max().unwrap_or(0).max(length(&names[class]))
            })
            .collect();

        let mut table = format!("{CORNER:>first$}");
        for (name, width) in names.iter().zip(&widths) {
            let _ = write!(table, "  {name:>width$}");
        }
        for (row, name) in self.rows().zip(names) {
            let _ = write!(table, "\n{name:>first$}");
            for (count, width) in row.iter().zip(&widths) {
                let _ = write!(table, "  {count:>width$}");
            }
        }
        table.push('\n');
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(pairs: &[(usize, usize)]) -> ConfusionMatrix {
        let mut matrix = ConfusionMatrix::new(2);
        for &(truth, predicted) in pairs {
            matrix.add(truth, predicted);
        }
        matrix
    }

    #[test]
    fn rows_are_the_true_class() {
        let matrix = matrix(&[(0, 1), (0, 1), (0, 0), (1, 1)]);
        assert_eq!(matrix.rows().collect::<Vec<_>>(), [[1, 2], [0, 1]]);
        assert_eq!(matrix.count(0, 1), 2);
        assert_eq!((matrix.total(), matrix.correct()), (4, 2));
    }

    #[test]
    fn the_table_lines_up() {
        let mut counts = ConfusionMatrix::new(2);
        (0..12).for_each(|_| counts.add(0, 0));
        counts.add(1, 0);
        let names = ["a".to_owned(), "positive".to_owned()];
        let expected = "\
true \\ predicted   a  positive
               a  12         0
        positive   1         0
";
        assert_eq!(counts.table(&names), expected);
    }
}
