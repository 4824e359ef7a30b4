//! Relative positions of DeBERTa: which row of the table a distance has.
//!
//! `T` tokens, `W` rows of the table that an input of `T` tokens can reach.

use tch::{Device, Tensor};

use super::super::super::ModelError;

/// How distances share the table of relative positions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Distances {
    /// `k`: the table has `2 k` rows; row `k` is distance 0.
    pub(super) span: i64,
    /// Distances are told apart up to here.
    farthest: i64,
    /// Near distances have a row each, far ones share rows on a logarithmic scale.
    bucketed: bool,
}

/// The rows that one input reaches.
#[derive(Debug)]
pub(super) struct Reached {
    /// First of them.
    pub(super) first: i64,
    /// `W`.
    pub(super) count: i64,
    /// `[1, 1, T, T]` int64: of query `i` and key `j`, `δ(i, j)` counted from `first`.
    pub(super) index: Tensor,
}

impl Distances {
    pub(super) fn new(buckets: Option<i64>, farthest: i64) -> Self {
        Self { span: buckets.unwrap_or(farthest), farthest, bucketed: buckets.is_some() }
    }

    /// The bucket of a distance that is not negative; the bucket of `-d` is that of `d` negated (He et al. 2021,
    /// arXiv 2111.09543, and the code released with it): `d` up to `m = k / 2`, then `m + ⌈ln(d / m) / ln((n - 1) / m) (m - 1)⌉`
    /// with `n` the farthest distance. In float32, as models were trained.
    pub(super) fn bucket(self, distance: i64) -> i64 {
        let middle = self.span / 2;
        if !self.bucketed || distance <= middle {
            return distance;
        }
        let logarithm = |d: i64| (d as f32 / middle as f32).ln();
        let share = logarithm(distance) / logarithm(self.farthest - 1);
        (share * (middle - 1) as f32).ceil() as i64 + middle
    }

    /// What `tokens` tokens reach.
    pub(super) fn reached(self, tokens: i64, device: Device) -> Result<Reached, ModelError> {
        let buckets: Vec<i64> = (0..tokens).map(|distance| self.bucket(distance)).collect();
        let last = 2 * self.span - 1;
        let widest = buckets.last().copied().unwrap_or(0);
        let (first, end) = ((self.span - widest).max(0), (self.span + widest).min(last));
        let row = |i: i64, j: i64| {
            let bucket = buckets[i.abs_diff(j) as usize];
            let bucket = if i < j { -bucket } else { bucket };
            (self.span + bucket).clamp(0, last) - first
        };
        let index: Vec<i64> = (0..tokens)
            .flat_map(|i| (0..tokens).map(move |j| (i, j)))
            .map(|(i, j)| row(i, j))
            .collect();
        let index = Tensor::f_from_slice(&index)?.f_view([1, 1, tokens, tokens])?;
        Ok(Reached { first, count: end - first + 1, index: index.f_to_device(device)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_distances_have_a_bucket_each_and_far_ones_share() {
        // By hand for 8 buckets up to distance 20: m = 4, ln(19 / 4) = 1.558; d = 5: ⌈0.223 / 1.558 · 3⌉ = 1, d = 8: 1.33,
        // so 2, d = 12: 2.11, so 3, d = 19: 3; beyond the farthest, 30: 3.88, so 4.
        let distances = Distances::new(Some(8), 20);
        let buckets = [0, 1, 4, 5, 6, 8, 12, 19, 30].map(|d| distances.bucket(d));
        assert_eq!(buckets, [0, 1, 4, 5, 5, 6, 7, 7, 8]);
        assert_eq!(Distances::new(None, 20).bucket(19), 19);
    }

    /// Written by `tests/fixtures/make_relative_families.py`.
    const OF_256_AND_512: &str = include_str!("../../../../tests/fixtures/deberta/buckets.json");

    #[test]
    fn every_distance_has_the_bucket_that_transformers_gives_it() {
        let expected: Vec<i64> = serde_json::from_str(OF_256_AND_512).unwrap();
        let distances = Distances::new(Some(256), 512);
        let found: Vec<i64> = (0..expected.len() as i64).map(|d| distances.bucket(d)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn an_input_reaches_only_the_rows_of_its_distances() {
        let reached = Distances::new(Some(8), 20).reached(3, Device::Cpu).unwrap();
        assert_eq!((reached.first, reached.count), (6, 5));
        let index: Vec<i64> = Vec::try_from(reached.index.view([-1])).unwrap();
        assert_eq!(index, [2, 1, 0, 3, 2, 1, 4, 3, 2]);
    }

    #[test]
    fn a_distance_beyond_the_table_has_its_last_row() {
        let reached = Distances::new(Some(8), 20).reached(31, Device::Cpu).unwrap();
        assert_eq!((reached.first, reached.count), (0, 16));
        assert_eq!(reached.index.int64_value(&[0, 0, 30, 0]), 15);
        assert_eq!(reached.index.int64_value(&[0, 0, 0, 30]), 0);
    }
}
