//! Whether a difference between two models is more than chance: tests over the examples of one test set, and over
//! seeds. Pure; knows numbers, not models.

use std::f64::consts::LN_2;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use statrs::function::beta::beta_reg;

/// The exact test of McNemar 1947 (Psychometrika 12, 153-157): the two-sided probability, if both models are equally good,
/// of discordant examples as unequal as these.
///
/// `b` examples only one model has right, `c` only the other. Each of them is a coin's toss under that hypothesis, so with
/// `k = min(b, c)` it is `min(1, 2 · Σ_{i≤k} C(b+c, i) / 2^(b+c))`; 1 without any.
pub fn mcnemar_exact(b: usize, c: usize) -> f64 {
    if b == c {
        return 1.0;
    }
    let (n, k) = (b + c, b.min(c));
    // The largest term by its logarithm, for 2^-n underflows; the smaller ones by their ratios to it.
    let choices: f64 = (1..=k).map(|i| ((n - k + i) as f64 / i as f64).ln()).sum();
    let largest = (choices - n as f64 * LN_2).exp();
    let (mut term, mut sum) = (1.0, 1.0);
    for i in (1..=k).rev() {
        term *= i as f64 / (n - i + 1) as f64;
        sum += term;
    }
    (2.0 * largest * sum).min(1.0)
}

/// The two-sided p-value of Welch's t-test (Welch 1947, Biometrika 34, 28-35) for two samples of unequal variance, such as
/// the accuracies of several seeds: `t = (x̄ - ȳ) / √(s²_x/n + s²_y/m)` with Satterthwaite's degrees of freedom.
///
/// As `scipy.stats.ttest_ind(x, y, equal_var=False)`: NaN with fewer than two values in a sample, and where all values of
/// both are equal; 0 where neither sample varies and their means differ.
pub fn welch(x: &[f64], y: &[f64]) -> f64 {
    if x.len() < 2 || y.len() < 2 {
        return f64::NAN;
    }
    let (of_x, of_y) = (Sample::new(x), Sample::new(y));
    let [x_share, y_share] = [of_x, of_y].map(|of| of.sd * of.sd / of.count);
    let squared = (of_x.mean - of_y.mean).powi(2) / (x_share + y_share);
    if squared.is_nan() || squared.is_infinite() {
        return if squared.is_nan() { f64::NAN } else { 0.0 };
    }
    let freedom = (x_share + y_share).powi(2)
        / (x_share.powi(2) / (of_x.count - 1.0) + y_share.powi(2) / (of_y.count - 1.0));
    // P(|T| > t) = I_{ν/(ν+t²)}(ν/2, 1/2), Abramowitz and Stegun 26.7.1 and 26.5.27.
    beta_reg(freedom / 2.0, 0.5, freedom / (freedom + squared))
}

/// Mean and spread of a few numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Their number.
    pub count: f64,
    /// Their mean; NaN of none.
    pub mean: f64,
    /// Their sample standard deviation, which divides by one less than their number; NaN of fewer than two.
    pub sd: f64,
}

impl Sample {
    /// Of these numbers.
    pub fn new(values: &[f64]) -> Self {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let sd = if values.len() < 2 { f64::NAN } else { (squares / (count - 1.0)).sqrt() };
        Self { count, mean, sd }
    }
}

/// What [`paired_bootstrap`] finds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bootstrap {
    /// Mean of the scores less mean of the baseline's.
    pub difference: f64,
    /// Of the 95 % percentile interval of the difference, its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
    /// Two-sided p-value of the hypothesis that there is no difference.
    pub p: f64,
}

/// Paired bootstrap over the examples of a test set (Efron and Tibshirani 1993; for tests of language systems
/// Berg-Kirkpatrick et al. 2012, An Empirical Investigation of Statistical Significance in NLP).
///
/// `scores` and `baseline` hold what each example is worth to either model, such as 1 where it is right, or the share of
/// seeds that have it right. Each of the `resamples` draws as many examples with replacement and takes the difference `δ*` of
/// the means. The interval is of `δ*`; `p` is the share of resamples with `|δ* - δ| ≥ |δ|`, the two-sided form of Figure 1
/// of Berg-Kirkpatrick et al., which counts the measured difference as one of them, so that it is never 0. The same `seed`
/// draws the same resamples on every machine.
///
/// NaN of no examples or no resamples.
///
/// # Panics
/// If there are not as many scores as the baseline has.
pub fn paired_bootstrap(
    scores: &[f64],
    baseline: &[f64],
    resamples: usize,
    seed: u64,
) -> Bootstrap {
    assert_eq!(scores.len(), baseline.len(), "the same examples in both");
    let differences: Vec<f64> = scores.iter().zip(baseline).map(|(a, b)| a - b).collect();
    let examples = differences.len();
    let total: f64 = differences.iter().sum();
    if examples == 0 || resamples == 0 {
        let nothing = f64::NAN;
        return Bootstrap { difference: nothing, low: nothing, high: nothing, p: nothing };
    }
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut resample =
        || -> f64 { (0..examples).map(|_| differences[random.random_range(0..examples)]).sum() };
    let mut totals: Vec<f64> = (0..resamples).map(|_| resample()).collect();
    // Sums of shares such as thirds are equal but for rounding.
    let rounding = 1e-12 * examples as f64;
    let as_far = |drawn: &&f64| (**drawn - total).abs() >= total.abs() - rounding;
    let far = totals.iter().filter(as_far).count();
    totals.sort_by(f64::total_cmp);
    let mean = |total: f64| total / examples as f64;
    Bootstrap {
        difference: mean(total),
        low: mean(quantile(&totals, 0.025)),
        high: mean(quantile(&totals, 0.975)),
        p: (far + 1) as f64 / (resamples + 1) as f64,
    }
}

/// Of ascending values, between neighbours by distance, as numpy's default.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + (above - below) * place.fract()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    /// Written by `tests/fixtures/make_significance.py` with scipy.
    #[derive(Deserialize)]
    struct Expected {
        mcnemar: Vec<(usize, usize, f64)>,
        welch: Vec<(Vec<f64>, Vec<f64>, f64)>,
        bootstrap: Vec<Exact>,
    }

    /// The bootstrap's limit for ever more resamples, from all that there are.
    #[derive(Deserialize)]
    struct Exact {
        scores: Vec<f64>,
        baseline: Vec<f64>,
        difference: f64,
        low: f64,
        high: f64,
        p: f64,
    }

    fn expected() -> Expected {
        serde_json::from_str(include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/fixtures/significance.json"
        )))
        .unwrap()
    }

    #[test]
    fn mcnemars_p_values_are_those_of_scipys_binomial_test() {
        for (b, c, p) in expected().mcnemar {
            let found = mcnemar_exact(b, c);
            // Relative: logarithms of up to 10^4 digits' sums lose a few digits.
            assert!((found - p).abs() <= 1e-9 * p, "{b} against {c}: {found}, scipy says {p}");
        }
        // By hand: 2 · (1 + 5) / 2^5.
        assert!((mcnemar_exact(1, 4) - 0.375).abs() < 1e-15);
    }

    #[test]
    fn welchs_p_values_are_scipys() {
        for (x, y, p) in expected().welch {
            let found = welch(&x, &y);
            assert!((found - p).abs() <= 1e-9 * p, "{x:?} against {y:?}: {found}, scipy says {p}");
        }
    }

    #[test]
    fn welchs_test_of_samples_that_do_not_vary_follows_scipy() {
        assert!(welch(&[0.5], &[0.6, 0.7]).is_nan());
        assert!(welch(&[0.5, 0.5], &[0.5, 0.5]).is_nan());
        assert!(welch(&[0.5, 0.5], &[0.75, 0.75]).abs() < f64::EPSILON);
    }

    #[test]
    fn a_samples_deviation_divides_by_one_less() {
        let sample = Sample::new(&[1.0, 2.0, 6.0]);
        // Mean 3; (4 + 1 + 9) / 2 = 7.
        assert!((sample.mean - 3.0).abs() < 1e-12 && (sample.sd - 7f64.sqrt()).abs() < 1e-12);
        assert!(Sample::new(&[1.0]).sd.is_nan());
    }

    #[test]
    fn the_bootstrap_comes_near_to_all_resamples_there_are() {
        for exact in expected().bootstrap {
            let resamples = 10_000;
            let found = paired_bootstrap(&exact.scores, &exact.baseline, resamples, 7);
            // Four standard errors of a share among so many.
            let error = 4.0 * (exact.p * (1.0 - exact.p) / resamples as f64).sqrt() + 1e-4;
            assert!((found.p - exact.p).abs() <= error, "{found:?} for p {}", exact.p);
            for (ours, theirs) in [
                (found.difference, exact.difference),
                (found.low, exact.low),
                (found.high, exact.high),
            ] {
                assert!((ours - theirs).abs() < 1e-12, "{found:?}: {ours} is not {theirs}");
            }
            assert_eq!(found, paired_bootstrap(&exact.scores, &exact.baseline, resamples, 7));
        }
    }

    #[test]
    fn equal_models_do_not_differ() {
        let scores = [1.0, 0.0, 1.0];
        let found = paired_bootstrap(&scores, &scores, 100, 1);
        assert_eq!(found, Bootstrap { difference: 0.0, low: 0.0, high: 0.0, p: 1.0 });
        assert!(paired_bootstrap(&[], &[], 100, 1).p.is_nan());
    }
}
