//! How far a model's confidence is from how often it is right. Knows decisions, not where they come from.

use super::Mean;

/// Bins of equal width, as in Guo et al. 2017, section 4.
const BINS: usize = 15;

/// Expected calibration error of Guo et al. 2017 (arXiv 1706.04599), eq. 3: `Σ_m |B_m|/n · |acc(B_m) - conf(B_m)|` over 15
/// bins `((m-1)/15, m/15]` of the confidence.
///
/// Each decision is the probability, in `[0, 1]`, that the model gives to what it decided, and whether that was right. NaN
/// of no decision.
pub fn expected_calibration_error(decisions: impl IntoIterator<Item = (f64, bool)>) -> f64 {
    // In each bin the confidence less 1 where it was right: |B_m| · (conf - acc) is its sum.
    let mut bins = [0.0; BINS];
    let mut count = 0;
    for (confidence, right) in decisions {
        let bin = ((confidence * BINS as f64).ceil() as usize).clamp(1, BINS) - 1;
        bins[bin] += confidence - f64::from(u8::from(right));
        count += 1;
    }
    let mut gap = Mean::default();
    gap.add(bins.iter().map(|bin| bin.abs()).sum(), count);
    gap.value()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(decisions: &[(f64, bool)], expected: f64) {
        let found = expected_calibration_error(decisions.iter().copied());
        assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
    }

    #[test]
    fn each_bin_weighs_by_its_decisions() {
        // (14/15, 1]: mean confidence 0.95, half of 2 right: 2/4 · 0.45. (0.6, 10/15]: 0.65, all of 1 right: 1/4 · 0.35.
        // (0.4, 7/15]: 0.45, none of 1 right: 1/4 · 0.45.
        let decisions = [(0.94, true), (0.96, false), (0.65, true), (0.45, false)];
        is(&decisions, 0.225 + 0.0875 + 0.1125);
    }

    #[test]
    fn too_much_and_too_little_confidence_cancel_only_within_a_bin() {
        // One bin: mean confidence 0.75 and half right, |0.75 - 0.5|.
        is(&[(0.74, true), (0.76, false)], 0.25);
        // Two bins: (0.3 + 0.9) / 2.
        is(&[(0.7, true), (0.9, false)], 0.6);
    }

    #[test]
    fn both_ends_belong_to_a_bin_and_nothing_has_no_error() {
        is(&[(0.0, false), (1.0, true)], 0.0);
        is(&[(1.0, false)], 1.0);
        assert!(expected_calibration_error([]).is_nan());
    }
}
