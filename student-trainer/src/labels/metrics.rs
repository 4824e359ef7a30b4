//! Counts of what happened on the way of the soft labels.

use std::{
    iter::Sum,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// What happened to all examples so far. Each example that was looked at is counted once among
/// `asked`, `joined`, `from_memory` and `from_file`, or is `missing` because it was too large to send
/// or does not stand in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StreamMetrics {
    /// Examples for which the teacher was asked; once, however often the stream broke.
    pub asked: u64,
    /// Answers received, rows and failures.
    pub answered: u64,
    /// Examples whose row was remembered from before.
    pub from_memory: u64,
    /// Examples whose row stood in the label file.
    pub from_file: u64,
    /// Examples whose content was on its way already.
    pub joined: u64,
    /// Rows received, or read, for a text longer than the teacher's maximum length.
    pub truncated: u64,
    /// Examples that got no row.
    pub missing: u64,
    /// Times that the stream was opened again.
    pub reconnects: u64,
    /// Time that the training loop was blocked.
    pub waited: Duration,
}

impl Sum for StreamMetrics {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, more| Self {
            asked: sum.asked + more.asked,
            answered: sum.answered + more.answered,
            from_memory: sum.from_memory + more.from_memory,
            from_file: sum.from_file + more.from_file,
            joined: sum.joined + more.joined,
            truncated: sum.truncated + more.truncated,
            missing: sum.missing + more.missing,
            reconnects: sum.reconnects + more.reconnects,
            waited: sum.waited + more.waited,
        })
    }
}

/// The same counts, shared between the background and who looks.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) asked: AtomicU64,
    pub(super) answered: AtomicU64,
    pub(super) from_memory: AtomicU64,
    pub(super) joined: AtomicU64,
    pub(super) truncated: AtomicU64,
    pub(super) missing: AtomicU64,
    pub(super) opened: AtomicU64,
}

impl Counters {
    pub(super) fn snapshot(&self, waited: Duration) -> StreamMetrics {
        StreamMetrics {
            asked: self.asked.load(Relaxed),
            answered: self.answered.load(Relaxed),
            from_memory: self.from_memory.load(Relaxed),
            from_file: 0,
            joined: self.joined.load(Relaxed),
            truncated: self.truncated.load(Relaxed),
            missing: self.missing.load(Relaxed),
            reconnects: self.opened.load(Relaxed).saturating_sub(1),
            waited,
        }
    }
}

/// One more of it; tells what it was before.
pub(super) fn count(counter: &AtomicU64) -> u64 {
    counter.fetch_add(1, Relaxed)
}
