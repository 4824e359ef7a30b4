//! The schedule's promises, without clock and socket.

mod batches;
mod behind;
mod dropping;
mod fairness;
mod quotas;
mod waiting;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use super::*;

/// An example: its flow, its length, and its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Example {
    flow: usize,
    tokens: usize,
    number: usize,
}

/// A schedule whose flows are numbers, and the time, which passes when a test says so.
struct Served {
    schedule: Schedule<Example>,
    names: Vec<Arc<str>>,
    pushed: usize,
    now: Instant,
}

impl Served {
    /// A schedule with these shares, in the order of the flows.
    fn new(max_batch_tokens: usize, shares: &[Share]) -> Self {
        let names: Vec<Arc<str>> = (0..shares.len()).map(|flow| flow.to_string().into()).collect();
        let shares = names.iter().map(ToString::to_string).zip(shares.iter().copied());
        let shares: HashMap<_, _> = shares.collect();
        let (max_batch_examples, lanes) = (usize::MAX, 1);
        let schedule =
            Schedule::new(Policy { max_batch_tokens, max_batch_examples, lanes, shares });
        Self { schedule, names, pushed: 0, now: Instant::now() }
    }

    /// A schedule of so many equal flows.
    fn equal(max_batch_tokens: usize, flows: usize) -> Self {
        Self::new(max_batch_tokens, &vec![Share::default(); flows])
    }

    fn push(&mut self, flow: usize, tokens: usize) {
        let example = Example { flow, tokens, number: self.pushed };
        self.pushed += 1;
        self.schedule.push(&self.names[flow], tokens, example, self.now);
    }

    fn push_all(&mut self, flow: usize, lengths: impl IntoIterator<Item = usize>) {
        lengths.into_iter().for_each(|tokens| self.push(flow, tokens));
    }

    fn next(&mut self) -> Next<Example> {
        self.schedule.next_batch(self.now, |_| true)
    }

    /// The next batch; empty if there is none.
    fn batch(&mut self) -> Vec<Example> {
        match self.next() {
            Next::Batch(batch) => batch,
            Next::Wait(_) | Next::Empty => Vec::new(),
        }
    }

    /// The lengths in the next batch.
    fn lengths(&mut self) -> Vec<usize> {
        self.batch().iter().map(|example| example.tokens).collect()
    }
}

fn weight(weight: f64) -> Share {
    Share { weight, quota: None }
}

fn tokens(batch: &[Example]) -> usize {
    batch.iter().map(|example| example.tokens).sum()
}

fn padded_tokens(batch: &[Example]) -> usize {
    batch.len() * batch.iter().map(|example| example.tokens).max().unwrap_or(0)
}

/// Lengths spread as those of real headlines are: 8 to 36 tokens, 22 on average.
fn headline(i: usize) -> usize {
    8 + (i * 7919) % 15 + (i * 104_729) % 15
}
