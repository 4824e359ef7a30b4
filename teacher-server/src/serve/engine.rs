//! Rows asked for, under way and known: one forward pass for a content, however many ask for it.
//! Between the async streams and the compute thread; knows neither gRPC nor tensors.

use std::{
    collections::HashMap,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use lectern::{
    text::{Tokenizer, Tokens},
    wire::{Answer, ContentHash, Failure, FailureCode, Row, TeacherCard},
};
use moka::sync::Cache;
use tokio::sync::{mpsc, watch};

use super::queue::Queue;

/// What a row costs the memory tier beside its values: hash, pointers, and the cache's own books.
const ROW_OVERHEAD_BYTES: u32 = 160;

/// Who gets an answer. The channel holds as many answers as the stream has credits, so that there is
/// always room: an example in flight has its place reserved.
#[derive(Debug, Clone)]
pub(super) struct Waiter {
    pub(super) id: u64,
    pub(super) answers: mpsc::Sender<Answer>,
}

impl Waiter {
    fn answer(&self, outcome: Result<Row, Failure>) {
        // A student that has gone away is no longer interested; one that is there has room.
        let _gone = self.answers.try_send(Answer { id: self.id, outcome });
    }
}

/// One content to compute, with all who wait for it.
#[derive(Debug)]
struct Job {
    tokens: Tokens,
    waiters: Vec<Waiter>,
}

#[derive(Debug)]
struct Work {
    queue: Queue<ContentHash>,
    jobs: HashMap<ContentHash, Job>,
    stopped: bool,
}

/// A batch for the compute thread: contents with their tokens, in one order.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) contents: Vec<ContentHash>,
    pub(super) tokens: Vec<Tokens>,
}

/// What the server has done since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Rows and failures handed to streams.
    pub answered: u64,
    /// Examples that went through the teacher.
    pub computed: u64,
    /// Examples answered from memory.
    pub from_memory: u64,
    /// Examples that joined a computation already asked for.
    pub joined: u64,
    /// Forward passes.
    pub batches: u64,
    /// Tokens computed, without padding.
    pub tokens: u64,
    /// Tokens computed, padding included.
    pub padded_tokens: u64,
}

impl Totals {
    /// Share of the computed tokens that was padding.
    pub fn padding_share(&self) -> f64 {
        1.0 - self.tokens as f64 / self.padded_tokens.max(1) as f64
    }
}

#[derive(Debug, Default)]
struct Counters {
    answered: AtomicU64,
    computed: AtomicU64,
    from_memory: AtomicU64,
    joined: AtomicU64,
    batches: AtomicU64,
    tokens: AtomicU64,
    padded_tokens: AtomicU64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Engine {
    card: TeacherCard,
    tokenizer: Tokenizer,
    known: Cache<ContentHash, Row>,
    work: Mutex<Work>,
    arrived: Condvar,
    counters: Counters,
    failure: watch::Sender<Option<String>>,
}

impl Engine {
    pub(super) fn new(
        card: TeacherCard,
        tokenizer: Tokenizer,
        store_bytes: u64,
        max_batch_tokens: usize,
    ) -> Self {
        let known = Cache::builder()
            .max_capacity(store_bytes)
            .weigher(|_, row: &Row| ROW_OVERHEAD_BYTES + 4 * row.logits.len() as u32)
            .build();
        let work =
            Work { queue: Queue::new(max_batch_tokens), jobs: HashMap::new(), stopped: false };
        Self {
            card,
            tokenizer,
            known,
            work: Mutex::new(work),
            arrived: Condvar::new(),
            counters: Counters::default(),
            failure: watch::Sender::new(None),
        }
    }

    pub(super) fn card(&self) -> &TeacherCard {
        &self.card
    }

    pub(super) fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Notes an answer that a stream made by itself.
    pub(super) fn refused(&self, waiter: &Waiter, failure: Failure) {
        add(&self.counters.answered, 1);
        waiter.answer(Err(failure));
    }

    /// Answers from memory, if the content is known.
    pub(super) fn answer_known(&self, content: ContentHash, waiter: &Waiter) -> bool {
        let Some(row) = self.known.get(&content) else {
            return false;
        };
        add(&self.counters.from_memory, 1);
        add(&self.counters.answered, 1);
        waiter.answer(Ok(row));
        true
    }

    /// Queues examples that [`answer_known`](Self::answer_known) did not answer; contents already under
    /// way are joined.
    pub(super) fn submit(&self, examples: Vec<(ContentHash, Tokens, Waiter)>) {
        let mut work = self.lock();
        for (content, tokens, waiter) in examples {
            if let Some(job) = work.jobs.get_mut(&content) {
                add(&self.counters.joined, 1);
                job.waiters.push(waiter);
            } else if !self.answer_known(content, &waiter) {
                // Asked again under the lock: it may have been finished since the first look.
                work.queue.push(tokens.len(), content);
                work.jobs.insert(content, Job { tokens, waiters: vec![waiter] });
            }
        }
        drop(work);
        self.arrived.notify_one();
    }

    /// Waits for work; `None` when the engine was stopped. Work whose students have all gone away is
    /// dropped here, before it is computed.
    pub(super) fn next_batch(&self) -> Option<Batch> {
        let mut work = self.lock();
        loop {
            if work.stopped {
                return None;
            }
            let mut batch = Batch { contents: Vec::new(), tokens: Vec::new() };
            for content in work.queue.next_batch() {
                let Some(job) = work.jobs.get_mut(&content) else { continue };
                if job.waiters.iter().all(|waiter| waiter.answers.is_closed()) {
                    work.jobs.remove(&content);
                } else {
                    batch.contents.push(content);
                    batch.tokens.push(std::mem::take(&mut job.tokens));
                }
            }
            if !batch.contents.is_empty() {
                return Some(batch);
            }
            if work.queue.is_empty() {
                work = self.arrived.wait(work).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// Takes the rows of a batch: keeps them and answers everyone who waits.
    pub(super) fn finish(&self, batch: &Batch, rows: Vec<Vec<f32>>, padded_tokens: usize) {
        let tokens: usize = batch.tokens.iter().map(Tokens::len).sum();
        add(&self.counters.batches, 1);
        add(&self.counters.computed, batch.contents.len() as u64);
        add(&self.counters.tokens, tokens as u64);
        add(&self.counters.padded_tokens, padded_tokens as u64);
        let mut finished = Vec::with_capacity(batch.contents.len());
        {
            let mut work = self.lock();
            for ((&content, tokens), logits) in batch.contents.iter().zip(&batch.tokens).zip(rows) {
                let outcome = row(content, logits, tokens.truncated);
                if let Ok(row) = &outcome {
                    self.known.insert(content, row.clone());
                }
                if let Some(job) = work.jobs.remove(&content) {
                    finished.push((job, outcome));
                }
            }
        }
        for (job, outcome) in finished {
            add(&self.counters.answered, job.waiters.len() as u64);
            for waiter in &job.waiters {
                waiter.answer(outcome.clone());
            }
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

    /// Ends the compute thread after the batch it is at, and lets go of everyone who waits.
    pub(super) fn stop(&self) {
        let mut work = self.lock();
        work.stopped = true;
        work.jobs.clear();
        drop(work);
        self.arrived.notify_all();
    }

    pub(super) fn totals(&self) -> Totals {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let c = &self.counters;
        Totals {
            answered: read(&c.answered),
            computed: read(&c.computed),
            from_memory: read(&c.from_memory),
            joined: read(&c.joined),
            batches: read(&c.batches),
            tokens: read(&c.tokens),
            padded_tokens: read(&c.padded_tokens),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Work> {
        // Every change under this lock is complete in itself, so a panic elsewhere leaves it usable.
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

fn row(content: ContentHash, logits: Vec<f32>, truncated: bool) -> Result<Row, Failure> {
    match logits.iter().find(|logit| !logit.is_finite()) {
        None => Ok(Row { content, logits: logits.into(), variance: None, truncated }),
        Some(logit) => {
            let message = format!("the teacher's logits hold {logit}; check the teacher's weights");
            Err(Failure { code: FailureCode::NotFinite, message })
        }
    }
}
