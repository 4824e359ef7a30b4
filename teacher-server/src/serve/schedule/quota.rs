//! An experiment's quota as a token bucket. Pure: the caller says what time it is.

use std::time::{Duration, Instant};

use super::share::TokensPerSecond;

/// How much of its rate a flow may save up while it has no work.
const BURST: Duration = Duration::from_secs(1);

/// Below this one long example would be paid for in weeks, and in the end beyond what an instant can hold.
const LEAST_RATE: f64 = 1e-3;

/// A token bucket kept as one instant, as in the generic cell rate algorithm (ITU-T I.371, annex A):
/// the time at which it will be full again.
#[derive(Debug)]
pub(super) struct Bucket {
    /// Tokens a second.
    rate: f64,
    full_at: Instant,
}

impl Bucket {
    /// A full bucket.
    pub(super) fn new(rate: TokensPerSecond, now: Instant) -> Self {
        Self { rate: rate.0.max(LEAST_RATE), full_at: now }
    }

    /// Whether the next example may go. It may however long it is: what it takes beyond what is in the
    /// bucket is paid before the one after it.
    pub(super) fn is_open(&self, now: Instant) -> bool {
        self.full_at <= now + BURST
    }

    /// When the next example may go; only right while the bucket [is not open](Self::is_open).
    pub(super) fn opens_at(&self) -> Instant {
        self.full_at.checked_sub(BURST).unwrap_or(self.full_at)
    }

    pub(super) fn is_full(&self, now: Instant) -> bool {
        self.full_at <= now
    }

    pub(super) fn take(&mut self, tokens: usize, now: Instant) {
        let seconds = tokens as f64 / self.rate;
        self.full_at = self.full_at.max(now) + Duration::from_secs_f64(seconds);
    }
}
