//! What the engine keeps of an example: who waits, in whose queues it stands, what to compare with.

use std::{sync::Arc, time::Instant};

use lectern::{
    text::Tokens,
    wire::{Answer, ContentHash, Failure, Row},
};
use smallvec::{SmallVec, smallvec};
use tokio::sync::mpsc;

use super::packed::Packed;

/// Who gets an answer. The channel holds as many answers as its stream has credits, so that there is
/// always room: an example in flight has its place reserved.
#[derive(Debug, Clone)]
pub(super) struct Waiter {
    pub(super) id: u64,
    pub(super) answers: mpsc::Sender<Answer>,
}

impl Waiter {
    pub(super) fn answer(&self, outcome: Result<Row, Failure>) {
        // A student that has gone away is no longer interested; one that is there has room.
        let _gone = self.answers.try_send(Answer { id: self.id, outcome });
    }

    /// Whether nobody is there to be answered.
    pub(super) fn has_gone(&self) -> bool {
        self.answers.is_closed()
    }
}

/// An example that no tier of the store knows.
#[derive(Debug)]
pub(super) struct Unknown {
    pub(super) content: ContentHash,
    /// One for each member of the model.
    pub(super) tokens: Box<[Tokens]>,
    pub(super) waiter: Waiter,
}

/// Mostly one: it needs no allocation of its own.
type FewOf<T> = SmallVec<[T; 1]>;

/// One content to compute, with all who wait for it.
#[derive(Debug)]
pub(super) struct Job {
    /// One for each member of the model.
    pub(super) tokens: Packed,
    pub(super) waiters: FewOf<Waiter>,
    /// The row to compare with, when nobody waits but the store is being checked.
    pub(super) stored: Option<Box<Row>>,
    /// The experiments in whose queue it stands. Whichever of them has its turn first has it computed,
    /// so that a short queue need not wait for a long one.
    pub(super) flows: FewOf<Arc<str>>,
    pub(super) since: Instant,
    pub(super) under_way: bool,
}

impl Job {
    /// Asked for by one.
    pub(super) fn new(flow: &Arc<str>, tokens: &[Tokens], waiter: Waiter) -> Self {
        let tokens = Packed::new(tokens);
        let (waiters, flows) = (smallvec![waiter], smallvec![Arc::clone(flow)]);
        Self { tokens, waiters, stored: None, flows, since: Instant::now(), under_way: false }
    }

    /// Asked for by nobody.
    pub(super) fn comparing(row: Row, tokens: &[Tokens]) -> Self {
        let tokens = Packed::new(tokens);
        let (waiters, flows) = (SmallVec::new(), SmallVec::new());
        let stored = Some(Box::new(row));
        Self { tokens, waiters, stored, flows, since: Instant::now(), under_way: false }
    }

    /// Whether anyone would have something of its row.
    pub(super) fn is_wanted(&self) -> bool {
        self.stored.is_some() || !self.waiters.iter().all(Waiter::has_gone)
    }
}

/// A batch for a compute thread: contents with their tokens, in one order.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) contents: Vec<ContentHash>,
    pub(super) tokens: Vec<Box<[Tokens]>>,
}
