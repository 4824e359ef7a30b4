//! What the server has done: counters that any thread adds to, and one consistent reading of them.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// What the server has done since it started.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Totals {
    /// Rows and failures handed to students.
    pub answered: u64,
    /// Examples that went through the teacher because a student asked.
    pub computed: u64,
    /// Examples answered from the memory tier.
    pub from_memory: u64,
    /// Examples answered from the disk tier.
    pub from_disk: u64,
    /// Examples answered from the shared tier.
    pub from_shared: u64,
    /// Examples that joined a computation already asked for.
    pub joined: u64,
    /// Examples dropped before they were computed, as nobody waited for them any more.
    pub dropped: u64,
    /// Unary calls refused because too much was queued.
    pub refused: u64,
    /// Stored rows that were computed again to be compared.
    pub verified: u64,
    /// Stored rows that differed from the recomputed one beyond the tolerance.
    pub mismatched: u64,
    /// Forward passes.
    pub batches: u64,
    /// Tokens computed, without padding.
    pub tokens: u64,
    /// Tokens computed, padding included.
    pub padded_tokens: u64,
    /// Floating-point operations of the matrix products computed.
    pub flops: f64,
    /// Time that computed examples waited in the queue, added up over examples.
    pub waiting: Duration,
    /// Time spent tokenising, added up over threads.
    pub tokenising: Duration,
    /// Time spent in forward passes, added up over devices.
    pub computing: Duration,
    /// Time spent packing rows into messages, added up over threads.
    pub encoding: Duration,
}

impl Totals {
    /// Share of the computed tokens that was padding.
    pub fn padding_share(&self) -> f64 {
        1.0 - self.tokens as f64 / self.padded_tokens.max(1) as f64
    }

    /// Operations a second of a forward pass, of the peak `peak_flops` measured on its threads; passes beside each other
    /// count one by one.
    pub fn share_of_peak(&self, peak_flops: f64) -> f64 {
        self.flops / (self.computing.as_secs_f64() * peak_flops).max(1.0)
    }

    /// Rows taken from any tier of the store.
    pub const fn from_store(&self) -> u64 {
        self.from_memory + self.from_disk + self.from_shared
    }
}

/// A sum that any thread may add to.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A sum of times.
#[derive(Debug, Default)]
pub(super) struct Clock(Counter);

impl Clock {
    pub(super) fn add(&self, time: Duration) {
        self.0.add(time.as_nanos() as u64);
    }

    /// Adds how long `work` takes.
    pub(super) fn time<T>(&self, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let done = work();
        self.add(start.elapsed());
        done
    }

    fn read(&self) -> Duration {
        Duration::from_nanos(self.0.read())
    }
}

/// The counters behind [`Totals`]; each of its fields is one of these.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) answered: Counter,
    pub(super) computed: Counter,
    pub(super) from_memory: Counter,
    pub(super) from_disk: Counter,
    pub(super) from_shared: Counter,
    pub(super) joined: Counter,
    pub(super) dropped: Counter,
    pub(super) refused: Counter,
    pub(super) verified: Counter,
    pub(super) mismatched: Counter,
    pub(super) batches: Counter,
    pub(super) tokens: Counter,
    pub(super) padded_tokens: Counter,
    /// In units of 10^6 operations, so that a year of a GPU fits.
    pub(super) mega_flops: Counter,
    pub(super) waiting: Clock,
    pub(super) tokenising: Clock,
    pub(super) computing: Clock,
    pub(super) encoding: Clock,
}

impl Counters {
    pub(super) fn totals(&self) -> Totals {
        Totals {
            answered: self.answered.read(),
            computed: self.computed.read(),
            from_memory: self.from_memory.read(),
            from_disk: self.from_disk.read(),
            from_shared: self.from_shared.read(),
            joined: self.joined.read(),
            dropped: self.dropped.read(),
            refused: self.refused.read(),
            verified: self.verified.read(),
            mismatched: self.mismatched.read(),
            batches: self.batches.read(),
            tokens: self.tokens.read(),
            padded_tokens: self.padded_tokens.read(),
            flops: self.mega_flops.read() as f64 * 1e6,
            waiting: self.waiting.read(),
            tokenising: self.tokenising.read(),
            computing: self.computing.read(),
            encoding: self.encoding.read(),
        }
    }
}
