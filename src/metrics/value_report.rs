//! Regression: how predicted numbers go with the true ones, as scipy and scikit-learn measure it.

use std::{cmp::Ordering, fmt};

use serde_json::{Value, json};

/// Correlations and errors of predicted numbers.
///
/// A correlation is NaN where it is not defined, as in scipy: with fewer than two examples, or where all
/// true or all predicted numbers are equal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ValueReport {
    /// Pearson's product-moment correlation, `scipy.stats.pearsonr`.
    pub pearson: f64,
    /// Pearson's correlation of the ranks, ties sharing the mean of theirs, `scipy.stats.spearmanr`.
    pub spearman: f64,
    /// Mean squared error.
    pub mse: f64,
    /// Mean absolute error.
    pub mae: f64,
    /// Examples compared.
    pub examples: usize,
}

impl ValueReport {
    /// Of pairs of the true and the predicted number.
    pub fn from_pairs(pairs: impl IntoIterator<Item = (f32, f32)>) -> Self {
        let (truth, predicted): (Vec<f64>, Vec<f64>) =
            pairs.into_iter().map(|(t, p)| (f64::from(t), f64::from(p))).unzip();
        let errors = || truth.iter().zip(&predicted).map(|(t, p)| p - t);
        Self {
            pearson: correlation(&truth, &predicted),
            spearman: correlation(&ranks(&truth), &ranks(&predicted)),
            mse: mean(errors().map(|e| e * e)),
            mae: mean(errors().map(f64::abs)),
            examples: truth.len(),
        }
    }

    /// An undefined number is null.
    pub fn to_json(&self) -> Value {
        json!({
            "pearson": self.pearson,
            "spearman": self.spearman,
            "mse": self.mse,
            "mae": self.mae,
            "examples": self.examples,
        })
    }
}

impl fmt::Display for ValueReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pearson, spearman, mse, mae, examples } = self;
        for (name, value) in
            [("pearson", pearson), ("spearman", spearman), ("mse", mse), ("mae", mae)]
        {
            writeln!(out, "{name:>8}  {value:>9.4}")?;
        }
        writeln!(out, "{:>8}  {examples:>9}", "examples")
    }
}

/// NaN of nothing.
fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    values.sum::<f64>() / count
}

/// `Σ (x - x̄)(y - ȳ) / (‖x - x̄‖ ‖y - ȳ‖)`, which rounding must not carry past 1.
fn correlation(x: &[f64], y: &[f64]) -> f64 {
    let centred = |values: &[f64]| -> Vec<f64> {
        let mean = mean(values.iter().copied());
        values.iter().map(|value| value - mean).collect()
    };
    let (x, y) = (centred(x), centred(y));
    let product = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
    let r = product(&x, &y) / (product(&x, &x).sqrt() * product(&y, &y).sqrt());
    r.clamp(-1.0, 1.0)
}

/// From 1 for the least; equal values share the mean of their ranks.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut before = 0;
    // -0 is 0 here, though not in the order.
    let tied = |a: &usize, b: &usize| values[*a].partial_cmp(&values[*b]) == Some(Ordering::Equal);
    for equal in order.chunk_by(tied) {
        let rank = before as f64 + (equal.len() + 1) as f64 / 2.0;
        for &index in equal {
            ranks[index] = rank;
        }
        before += equal.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    /// Written by `tests/fixtures/make_reports.py` with scipy and scikit-learn.
    #[derive(Deserialize)]
    struct Case {
        title: String,
        truth: Vec<f32>,
        predicted: Vec<f32>,
        pearson: f64,
        spearman: f64,
        mse: f64,
        mae: f64,
    }

    #[test]
    fn correlations_and_errors_are_scipys_and_scikit_learns() {
        let cases: Vec<Case> = serde_json::from_str(include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/fixtures/value_reports.json"
        )))
        .unwrap();
        for case in cases {
            let pairs = case.truth.iter().copied().zip(case.predicted.iter().copied());
            let report = ValueReport::from_pairs(pairs);
            // Relative, for the errors far from zero are large.
            let agree =
                |ours: f64, theirs: f64| (ours - theirs).abs() < 1e-12 * theirs.abs().max(1.0);
            let ValueReport { pearson, spearman, mse, mae, .. } = report;
            assert!(agree(pearson, case.pearson), "{}: {pearson}", case.title);
            assert!(agree(spearman, case.spearman), "{}: {spearman}", case.title);
            assert!(agree(mse, case.mse) && agree(mae, case.mae), "{}: {report}", case.title);
        }
    }

    #[test]
    fn ties_share_the_mean_of_their_ranks() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0, -0.0, 0.0, 3.0]), [5.0, 3.0, 5.0, 1.5, 1.5, 5.0]);
    }

    #[test]
    fn what_is_not_defined_is_not_a_number_and_null_in_json() {
        for pairs in [vec![], vec![(1.0, 2.0)], vec![(1.0, 2.0), (1.0, 3.0)]] {
            let report = ValueReport::from_pairs(pairs);
            assert!(report.pearson.is_nan() && report.spearman.is_nan());
            assert!(report.to_json()["pearson"].is_null());
        }
    }
}
