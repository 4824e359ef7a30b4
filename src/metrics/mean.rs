//! A running mean that adds and divides once, so that a short last batch weighs what it should.

use serde::{Deserialize, Serialize};

use super::exact;

/// Sum and count of what was added so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Mean {
    #[serde(with = "exact")]
    sum: f64,
    count: usize,
}

impl Mean {
    /// Adds `count` values whose sum is `sum`. A loss that is a batch's mean must be multiplied
    /// back by the batch's size first.
    pub fn add(&mut self, sum: f64, count: usize) {
        self.sum += sum;
        self.count += count;
    }

    /// How many values were added.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The mean of all values; NaN before the first.
    pub fn value(&self) -> f64 {
        self.sum / self.count as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_batch_weighs_by_its_size() {
        let mut mean = Mean::default();
        mean.add(8.0, 4);
        mean.add(7.0, 1);
        // (8 + 7) / 5, not (2 + 7) / 2.
        assert!((mean.value() - 3.0).abs() < 1e-12);
        assert_eq!(mean.count(), 5);
        assert!(Mean::default().value().is_nan());
    }

    #[test]
    fn a_mean_comes_back_from_json_to_the_last_bit() {
        let mut mean = Mean::default();
        // A sum whose shortest text has 17 digits.
        mean.add(0.1 + 0.2, 3);
        let text = serde_json::to_string(&mean).unwrap();
        assert!(text.contains("0.30000000000000004"), "{text}");
        assert_eq!(serde_json::from_str::<Mean>(&text).unwrap(), mean);
    }
}
