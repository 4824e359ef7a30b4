//! Learning rates as pure functions of the step.

use std::f64::consts::PI;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// What the learning rate does after its warm-up. Each is the schedule of `transformers` whose name ends in
/// `schedule_with_warmup`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Decay {
    /// Falls to 0 in a straight line
    Linear,
    /// Falls to 0 along half a cosine
    Cosine,
    /// Stays at its peak
    Constant,
}

/// A linear warm-up, then a decay, over a number of steps that is known beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// After the warm-up.
    pub decay: Decay,
    /// Steps over which the rate rises from 0 to its peak.
    pub warm_up: usize,
    /// All steps.
    pub total: usize,
}

impl Schedule {
    /// Factor of the peak learning rate at `step`, counted from 0.
    pub fn factor(self, step: usize) -> f64 {
        if step < self.warm_up {
            return step as f64 / self.warm_up as f64;
        }
        let falling = self.total.saturating_sub(self.warm_up).max(1) as f64;
        let done = (step.min(self.total) - self.warm_up.min(self.total)) as f64 / falling;
        match self.decay {
            Decay::Linear => 1.0 - done,
            Decay::Cosine => f64::midpoint(1.0, (PI * done).cos()),
            Decay::Constant => 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(decay: Decay, warm_up: usize, total: usize) -> Vec<f64> {
        (0..=total).map(|step| Schedule { decay, warm_up, total }.factor(step)).collect()
    }

    #[test]
    fn a_linear_rate_rises_to_the_peak_and_falls_to_zero() {
        assert_eq!(rates(Decay::Linear, 2, 6), [0.0, 0.5, 1.0, 0.75, 0.5, 0.25, 0.0]);
    }

    #[test]
    fn a_cosine_rate_is_at_half_height_half_way() {
        let rates = rates(Decay::Cosine, 2, 6);
        // cos(π/4) = √½.
        let quarter = f64::midpoint(1.0, 0.5_f64.sqrt());
        let expected = [0.0, 0.5, 1.0, quarter, 0.5, 1.0 - quarter, 0.0];
        assert!(rates.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-15), "{rates:?}");
    }

    #[test]
    fn a_constant_rate_stays_at_the_peak() {
        assert_eq!(rates(Decay::Constant, 2, 4), [0.0, 0.5, 1.0, 1.0, 1.0]);
    }

    #[test]
    fn without_warm_up_the_first_step_has_the_full_rate() {
        for decay in [Decay::Linear, Decay::Cosine, Decay::Constant] {
            let first = Schedule { decay, warm_up: 0, total: 10 }.factor(0);
            assert!((first - 1.0).abs() < f64::EPSILON);
        }
    }

    #[test]
    fn a_warm_up_as_long_as_the_training_ends_at_its_peak() {
        assert_eq!(rates(Decay::Linear, 2, 2), [0.0, 0.5, 1.0]);
    }
}
