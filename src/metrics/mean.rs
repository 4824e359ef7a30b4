//! A running mean that adds and divides once, so that a short last batch weighs what it should.

/// Sum and count of what was added so far.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Mean {
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
}
