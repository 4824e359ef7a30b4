//! Rows asked for, under way and stored: one forward pass for a content, however many ask for it.
//! Between the async streams and the compute threads; knows neither gRPC nor tensors.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Instant,
};

use lectern::{
    text::Tokens,
    wire::{ContentHash, Failure, FailureCode, Row, TeacherCard},
};
use tokio::sync::{Notify, watch};
use tracing::error;

use super::{
    jobs::{Batch, Job, Unknown, Waiter},
    model::{Reader, Values},
    schedule::{Next, Policy, Schedule},
    students::Students,
    totals::{Counters, Totals},
};
use crate::store::{Store, Tier};

/// Rows that may wait to be compared, which they do while students have work: a sample needs no more.
const MOST_TO_COMPARE: usize = 1024;

/// How stored rows are checked, in time that students leave over.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verify {
    /// One row in so many that come from disk or from the shared tier is computed again, at most; 0 for
    /// none.
    pub one_in: u64,
    /// Largest difference of a logit that is still agreement.
    pub tolerance: f32,
}

#[derive(Debug)]
struct Work {
    schedule: Schedule<ContentHash>,
    jobs: HashMap<ContentHash, Job>,
    stopped: bool,
}

/// What an engine is built from.
#[derive(Debug)]
pub(super) struct EngineParts {
    pub(super) card: TeacherCard,
    pub(super) reader: Reader,
    pub(super) store: Store,
    pub(super) policy: Policy,
    pub(super) verify: Verify,
    /// Examples queued or under way beyond which streams wait and unary calls are refused.
    pub(super) max_queued: usize,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Engine {
    card: TeacherCard,
    reader: Reader,
    store: Store,
    verify: Verify,
    stored_rows: AtomicU64,
    work: Mutex<Work>,
    arrived: Condvar,
    max_queued: usize,
    queued: AtomicUsize,
    room: Notify,
    pub(super) counters: Counters,
    pub(super) students: Arc<Students>,
    failure: watch::Sender<Option<String>>,
}

impl Engine {
    pub(super) fn new(parts: EngineParts) -> Self {
        let EngineParts { card, reader, store, policy, verify, max_queued } = parts;
        let schedule = Schedule::new(policy);
        Self {
            card,
            reader,
            store,
            verify,
            stored_rows: AtomicU64::new(0),
            work: Mutex::new(Work { schedule, jobs: HashMap::new(), stopped: false }),
            arrived: Condvar::new(),
            max_queued,
            queued: AtomicUsize::new(0),
            room: Notify::new(),
            counters: Counters::default(),
            students: Arc::default(),
            failure: watch::Sender::new(None),
        }
    }

    pub(super) const fn card(&self) -> &TeacherCard {
        &self.card
    }

    pub(super) const fn reader(&self) -> &Reader {
        &self.reader
    }

    pub(super) const fn store(&self) -> &Store {
        &self.store
    }

    /// Whether more is queued than the server wants to hold.
    pub(super) fn is_full(&self) -> bool {
        self.queued.load(Ordering::Relaxed) >= self.max_queued
    }

    /// Waits while the engine is full.
    pub(super) async fn room(&self) {
        loop {
            let freed = self.room.notified();
            if !self.is_full() {
                return;
            }
            freed.await;
        }
    }

    /// Notes an answer that a stream made by itself.
    pub(super) fn refuse(&self, waiter: &Waiter, failure: Failure) {
        self.counters.answered.add(1);
        waiter.answer(Err(failure));
    }

    /// Answers from memory, if the content is known there.
    pub(super) fn answer_from_memory(&self, content: ContentHash, waiter: &Waiter) -> bool {
        let Some(row) = self.store.in_memory(content) else {
            return false;
        };
        self.counters.from_memory.add(1);
        self.counters.answered.add(1);
        waiter.answer(Ok(row));
        true
    }

    /// Answers with a row of a lower tier. True if this one should also be computed again, by
    /// [`compare`](Self::compare).
    pub(super) fn answer_stored(&self, tier: Tier, row: Row, waiter: &Waiter) -> bool {
        match tier {
            Tier::Disk => self.counters.from_disk.add(1),
            Tier::Shared => self.counters.from_shared.add(1),
        }
        self.counters.answered.add(1);
        waiter.answer(Ok(row));
        let nth = self.stored_rows.fetch_add(1, Ordering::Relaxed);
        self.verify.one_in > 0 && nth.is_multiple_of(self.verify.one_in)
    }

    /// Queues examples that no tier knows for `experiment`; contents already under way are joined, and
    /// what nobody waits for any more is dropped.
    pub(super) fn submit(&self, experiment: &Arc<str>, examples: Vec<Unknown>) {
        let now = Instant::now();
        let mut work = self.lock();
        for Unknown { content, tokens, waiter } in examples {
            if waiter.has_gone() {
                self.counters.dropped.add(1);
                continue;
            }
            let Work { schedule, jobs, .. } = &mut *work;
            let length = length(&tokens);
            match jobs.entry(content) {
                Entry::Occupied(mut job) => {
                    self.counters.joined.add(1);
                    let job = job.get_mut();
                    job.waiters.push(waiter);
                    if !job.under_way && !job.flows.contains(experiment) {
                        job.flows.push(Arc::clone(experiment));
                        schedule.push(experiment, length, content, now);
                    }
                }
                // Asked again under the lock: it may have been finished since the first look.
                Entry::Vacant(_) if self.answer_from_memory(content, &waiter) => {}
                Entry::Vacant(place) => {
                    schedule.push(experiment, length, content, now);
                    place.insert(Job::new(experiment, &tokens, waiter));
                }
            }
        }
        self.note_queued(&work);
        drop(work);
        self.arrived.notify_all();
    }

    /// Queues a stored row to be computed again and compared when students ask for nothing.
    pub(super) fn compare(&self, row: Row, tokens: &[Tokens]) {
        let mut work = self.lock();
        let Work { schedule, jobs, .. } = &mut *work;
        if schedule.behind() < MOST_TO_COMPARE
            && let Entry::Vacant(place) = jobs.entry(row.content)
        {
            schedule.push_behind(length(tokens), row.content);
            place.insert(Job::comparing(row, tokens));
        }
        self.note_queued(&work);
        drop(work);
        self.arrived.notify_all();
    }

    /// Drops the work that nobody waits for any more.
    pub(super) fn let_go(&self) {
        let mut work = self.lock();
        let Work { schedule, jobs, .. } = &mut *work;
        let before = jobs.len();
        jobs.retain(|_, job| job.under_way || job.is_wanted());
        let dropped = before - jobs.len();
        if dropped > 0 {
            schedule.retain(|content| jobs.contains_key(content));
            self.counters.dropped.add(dropped as u64);
            self.note_queued(&work);
        }
    }

    /// Waits for work; `None` when the engine was stopped.
    pub(super) fn next_batch(&self) -> Option<Batch> {
        let mut work = self.lock();
        loop {
            if work.stopped {
                return None;
            }
            let now = Instant::now();
            let Work { schedule, jobs, .. } = &mut *work;
            let next = schedule.next_batch(now, |content| match jobs.get_mut(content) {
                Some(job) => !std::mem::replace(&mut job.under_way, true),
                // Computed in the turn of another experiment.
                None => false,
            });
            self.note_queued(&work);
            work = match next {
                Next::Batch(contents) => return Some(self.begin(&mut work, contents, now)),
                Next::Wait(until) => {
                    let time = until.saturating_duration_since(now);
                    let woken = self.arrived.wait_timeout(work, time);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                Next::Empty => self.arrived.wait(work).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    fn begin(&self, work: &mut Work, contents: Vec<ContentHash>, now: Instant) -> Batch {
        let mut batch = Batch { tokens: Vec::with_capacity(contents.len()), contents };
        for content in &batch.contents {
            if let Some(job) = work.jobs.get_mut(content) {
                if job.stored.is_none() {
                    self.counters.waiting.add(now.saturating_duration_since(job.since));
                }
                batch.tokens.push(std::mem::take(&mut job.tokens).unpack());
            }
        }
        batch
    }

    /// Takes the rows of a batch: stores them and answers everyone who waits.
    pub(super) fn finish(&self, batch: &Batch, values: Vec<Values>) {
        self.counters.batches.add(1);
        let outcomes: Vec<_> = batch
            .contents
            .iter()
            .zip(&batch.tokens)
            .zip(values)
            .map(|((&content, tokens), values)| {
                row(content, values, tokens.iter().any(|tokens| tokens.truncated))
            })
            .collect();
        // Stored before the jobs end, so that whoever asks now finds either the one or the other.
        self.store.insert(outcomes.iter().flatten().cloned().collect());
        let mut jobs = Vec::with_capacity(outcomes.len());
        {
            let mut work = self.lock();
            jobs.extend(batch.contents.iter().map(|content| work.jobs.remove(content)));
            self.note_queued(&work);
        }
        for (job, outcome) in jobs.into_iter().zip(outcomes) {
            let Some(job) = job else { continue };
            match &job.stored {
                Some(stored) => self.judge(stored, &outcome),
                None => self.counters.computed.add(1),
            }
            self.counters.answered.add(job.waiters.len() as u64);
            for waiter in &job.waiters {
                waiter.answer(outcome.clone());
            }
        }
    }

    /// Compares a stored row with the one just computed.
    fn judge(&self, stored: &Row, computed: &Result<Row, Failure>) {
        self.counters.verified.add(1);
        let difference = computed.as_ref().map_or(f32::INFINITY, |computed| {
            let pairs = computed.logits.iter().zip(stored.logits.iter());
            pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
        });
        if difference > self.verify.tolerance {
            self.counters.mismatched.add(1);
            error!(
                content = %stored.content,
                difference,
                tolerance = self.verify.tolerance,
                "ALARM: a stored row is not what the teacher computes; check the store with \
                 `teacher-server store verify`, and whether another machine or libtorch filled it"
            );
        }
    }

    /// The teacher failed: nobody who waits will be answered, and the server ends.
    pub(super) fn fail(&self, cause: String) {
        self.failure.send_replace(Some(cause));
        self.stop();
    }

    /// Waits until the teacher fails, and says why.
    pub(super) async fn failed(&self) -> String {
        let mut failure = self.failure.subscribe();
        let cause = failure.wait_for(Option::is_some).await.map(|cause| cause.clone());
        match cause {
            Ok(cause) => cause.unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }

    /// Ends the compute threads after the batch they are at, and lets go of everyone who waits.
    pub(super) fn stop(&self) {
        let mut work = self.lock();
        work.stopped = true;
        work.jobs.clear();
        self.note_queued(&work);
        drop(work);
        self.arrived.notify_all();
    }

    pub(super) fn totals(&self) -> Totals {
        self.counters.totals()
    }

    /// Experiments with work in the queue: name, examples, tokens.
    pub(super) fn queues(&self) -> Vec<(Arc<str>, usize, usize)> {
        self.lock().schedule.queued()
    }

    /// Publishes how much is queued and wakes streams that wait for room.
    fn note_queued(&self, work: &Work) {
        let was_full = self.is_full();
        self.queued.store(work.jobs.len(), Ordering::Relaxed);
        if was_full && !self.is_full() {
            self.room.notify_waiters();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Work> {
        // Every change under this lock is complete in itself, so a panic elsewhere leaves it usable.
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tokens of the member that takes most.
fn length(tokens: &[Tokens]) -> usize {
    tokens.iter().map(Tokens::len).max().unwrap_or(0)
}

fn row(content: ContentHash, values: Values, truncated: bool) -> Result<Row, Failure> {
    match values.logits.iter().find(|logit| !logit.is_finite()) {
        None => Ok(Row {
            content,
            logits: values.logits.into(),
            variance: values.variance.map(Into::into),
            truncated,
        }),
        Some(logit) => {
            let message = format!("the teacher's logits hold {logit}; check the teacher's weights");
            Err(Failure { code: FailureCode::NotFinite, message })
        }
    }
}
