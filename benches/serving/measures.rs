//! Measures with the sort of bound that each has. A lower bound is [`measure`]'s own.

use serde_json::Value;

use crate::common::{measure, median};

/// Met when the value is at least `target`.
pub(crate) fn at_least(metric: &str, value: f64, unit: &str, target: f64) -> Value {
    measure(metric, value, unit, Some(target))
}

/// Met when the value is at most `target`.
pub(crate) fn at_most(metric: &str, value: f64, unit: &str, target: f64) -> Value {
    judged(metric, value, unit, target, value <= target)
}

/// Met when the value is `target` and nothing else.
pub(crate) fn exactly(metric: &str, value: f64, unit: &str, target: f64) -> Value {
    judged(metric, value, unit, target, value.to_bits() == target.to_bits())
}

/// Without a target.
pub(crate) fn plain(metric: &str, value: f64, unit: &str) -> Value {
    measure(metric, value, unit, None)
}

/// The median of the ratios of two sides that took turns.
pub(crate) fn median_ratio(ours: &[f64], theirs: &[f64]) -> f64 {
    median(&ours.iter().zip(theirs).map(|(a, b)| a / b).collect::<Vec<_>>())
}

/// The smallest of `values` that a share `p` of them does not exceed (nearest rank).
pub(crate) fn percentile(values: &[f64], p: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (p * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

fn judged(metric: &str, value: f64, unit: &str, target: f64, met: bool) -> Value {
    let mut measure = measure(metric, value, unit, Some(target));
    measure["met"] = met.into();
    measure
}
