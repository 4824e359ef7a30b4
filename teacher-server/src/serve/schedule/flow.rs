//! One experiment's work and what it may still use.

use std::time::Instant;

use super::{quota::Bucket, share::Share, waiting::Waiting};

/// See the module.
#[derive(Debug)]
pub(super) struct Flow<T> {
    pub(super) waiting: Waiting<T>,
    /// The batch it led last, or the one before which it got work.
    pub(super) led: u64,
    /// The deficit of deficit round robin, in quanta: what is left of this round, or, below zero, what
    /// was used of rounds to come.
    pub(super) deficit: f64,
    /// Tokens of one round.
    quantum: f64,
    bucket: Option<Bucket>,
}

impl<T> Flow<T> {
    pub(super) fn new(share: Share, budget: usize, deficit: f64, now: Instant) -> Self {
        let bucket = share.quota.map(|rate| Bucket::new(rate, now));
        Self { waiting: Waiting::new(), led: 0, deficit, quantum: share.quantum(budget), bucket }
    }

    /// Whether it has work that its quota lets go.
    pub(super) fn is_ready(&self, now: Instant) -> bool {
        !self.waiting.is_empty() && self.bucket.as_ref().is_none_or(|bucket| bucket.is_open(now))
    }

    /// Whether it is ready and has something left of this round.
    pub(super) fn has_turn(&self, now: Instant) -> bool {
        self.deficit > 0.0 && self.is_ready(now)
    }

    /// When its quota lets the next example go, if it has one.
    pub(super) fn ready_at(&self, now: Instant) -> Option<Instant> {
        (!self.waiting.is_empty()).then(|| self.bucket.as_ref().map_or(now, Bucket::opens_at))
    }

    /// Whether a new flow in its place would be the same.
    pub(super) fn is_spent(&self, now: Instant) -> bool {
        let nothing_owed = self.bucket.as_ref().is_none_or(|bucket| bucket.is_full(now));
        self.waiting.is_empty() && self.deficit >= 1.0 && nothing_owed
    }

    /// Rounds until it has a turn.
    pub(super) fn rounds_to_turn(&self) -> f64 {
        (-self.deficit).floor() + 1.0
    }

    /// Nothing is saved up beyond one round: neither without work nor while the quota holds work back.
    pub(super) fn begin_rounds(&mut self, rounds: f64) {
        self.deficit = (self.deficit + rounds).min(1.0);
    }

    /// Lets it go although its turn has not come; else what it takes so would add up without end.
    pub(super) fn forgive_debt(&mut self) {
        self.deficit = self.deficit.max(0.0);
    }

    pub(super) fn charge(&mut self, tokens: usize, now: Instant) {
        self.deficit -= tokens as f64 / self.quantum;
        if let Some(bucket) = &mut self.bucket {
            bucket.take(tokens, now);
        }
    }
}
