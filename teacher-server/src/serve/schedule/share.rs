//! What an experiment is entitled to, as the operator gives it.

/// Weights that differ by more than a million are no weights but an order of precedence.
const LEAST_WEIGHT: f64 = 1e-3;
const GREATEST_WEIGHT: f64 = 1e3;

/// Tokens that may be computed in a second, padding not counted; positive, and at least 0.001.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TokensPerSecond(pub f64);

/// The share of one experiment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share {
    /// Its part of the teacher's time, relative to the other experiments that have work. Positive; what is
    /// below 0.001 or above 1000 counts as that.
    pub weight: f64,
    /// What it may use even if nobody else has work.
    pub quota: Option<TokensPerSecond>,
}

impl Default for Share {
    fn default() -> Self {
        Self { weight: 1.0, quota: None }
    }
}

impl Share {
    /// Tokens of one round in which a weight of 1 is worth `budget`.
    pub(super) fn quantum(&self, budget: usize) -> f64 {
        self.weight.clamp(LEAST_WEIGHT, GREATEST_WEIGHT) * budget.max(1) as f64
    }
}
