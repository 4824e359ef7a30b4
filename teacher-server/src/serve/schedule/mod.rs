//! Which waiting examples share a forward pass, and whose turn it is. Pure policy: no clock, no socket,
//! no tensors.
//!
//! **Fair.** Deficit round robin (Shreedhar & Varghese 1995) between flows, one per experiment, over
//! tokens without padding: how much is padded depends on the company that the scheduler chose, and no
//! flow should pay for that. A round gives every flow its quantum, the batch budget times its weight, and
//! ends when no flow with work has anything left of it. What is overdrawn, by the last example or to make
//! a batch [full enough](shape), is a debt that later rounds pay, whether or not the flow has work in
//! them; what a flow leaves of a round it loses. Shreedhar and Varghese visit flows in a fixed order. Here
//! the one with the least waiting leads first, which changes no share and lets a flow that asks for
//! little wait for no more than the batch under way.
//!
//! **Tight.** The leader's oldest example begins the batch. Its own flow and those that have at most
//! twice as much waiting fill it with what is nearest in length, which pads little. Flows with more
//! waiting fill it only until it is full enough: they have examples of every length, and would spread a
//! light flow over as many batches as it has lengths, each as slow as a full one. So a flow of some dozen
//! examples beside one with any number needs at most twice the batches that it needs alone.
//!
//! **Shared out.** Where batches are computed beside each other, none takes more than its part of what waits, once it is
//! full enough.
//!
//! **Bounded.** An example with `k` older ones in its flow is in one of the next `(k + 1) · 33 · N` batches,
//! `N` being the greatest number of flows with work meanwhile, whatever the weights, as long as its quota
//! lets it go: a flow that has led none of the last `32 · N` leads the next, the longest passed over first,
//! and each lead serves the oldest of its flow.
//!
//! **Behind.** What no experiment asked for is computed when none of them has work that may go, a batch at
//! a time, full enough and no fuller: whoever asks meanwhile waits for a short one.

mod flow;
mod quota;
mod round;
mod shape;
mod share;
#[cfg(test)]
mod tests;
mod waiting;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Instant,
};

use flow::Flow;
use round::{Batch, Round};
use shape::{Fill, Shape};
pub use share::{Share, TokensPerSecond};
use waiting::{Arrival, Waiting};

/// What a schedule obeys.
#[derive(Debug, Clone)]
pub(super) struct Policy {
    /// Tokens of a batch, padding included; a single example may exceed it and then goes alone.
    pub(super) max_batch_tokens: usize,
    /// Examples of a batch.
    pub(super) max_batch_examples: usize,
    /// Batches that are computed beside each other.
    pub(super) lanes: usize,
    /// By flow; the others have the default.
    pub(super) shares: HashMap<String, Share>,
}

impl Policy {
    /// A lane's part of so many waiting tokens. Where no batch takes more, no lane has nothing left to do beside one with a
    /// long batch ("guided self-scheduling", Polychronopoulos and Kuck 1987).
    fn part(&self, waiting: usize) -> usize {
        if self.lanes > 1 { waiting.div_ceil(self.lanes) } else { usize::MAX }
    }
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next<T> {
    /// Compute these together.
    Batch(Vec<T>),
    /// Quotas hold back all that waits, until then at least.
    Wait(Instant),
    /// Nothing waits.
    Empty,
}

/// Waiting work; see the module. As bounded as what is pushed: flows without work are forgotten, and a
/// round admits at most as many new ones as it began with.
#[derive(Debug)]
pub(super) struct Schedule<T> {
    policy: Policy,
    flows: BTreeMap<Arc<str>, Flow<T>>,
    arrivals: Arrival,
    batches: u64,
    /// New flows that still get a quantum in this round; more would make it endless.
    admissions: usize,
    behind: Waiting<T>,
}

impl<T> Schedule<T> {
    /// A schedule with nothing in it.
    pub(super) fn new(policy: Policy) -> Self {
        let (flows, behind) = (BTreeMap::new(), Waiting::new());
        Self { policy, flows, arrivals: 0, batches: 0, admissions: 0, behind }
    }

    /// Queues an example of so many tokens.
    pub(super) fn push(&mut self, flow: &Arc<str>, tokens: usize, item: T, now: Instant) {
        let flow = self.flows.entry(Arc::clone(flow)).or_insert_with_key(|name| {
            let share = self.policy.shares.get(&**name).copied().unwrap_or_default();
            let deficit = if self.admissions > 0 { 1.0 } else { 0.0 };
            self.admissions = self.admissions.saturating_sub(1);
            Flow::new(share, self.policy.max_batch_tokens, deficit, now)
        });
        if flow.waiting.is_empty() {
            flow.led = self.batches;
        }
        flow.waiting.push(self.arrivals, tokens, item);
        self.arrivals += 1;
    }

    /// Queues an example of so many tokens behind all flows.
    pub(super) fn push_behind(&mut self, tokens: usize, item: T) {
        self.behind.push(self.arrivals, tokens, item);
        self.arrivals += 1;
    }

    /// Examples behind all flows.
    pub(super) fn behind(&self) -> usize {
        self.behind.examples()
    }

    /// Drops what is not wanted any more.
    pub(super) fn retain(&mut self, wanted: impl Fn(&T) -> bool) {
        self.flows.values_mut().for_each(|flow| flow.waiting.retain(&wanted));
        self.behind.retain(wanted);
    }

    /// Flows with work: name, examples, tokens.
    pub(super) fn queued(&self) -> Vec<(Arc<str>, usize, usize)> {
        let busy = self.flows.iter().filter(|(_, flow)| !flow.waiting.is_empty());
        busy.map(|(name, flow)| (Arc::clone(name), flow.waiting.examples(), flow.waiting.tokens()))
            .collect()
    }

    /// The next batch. `wanted` is asked of each example at the moment it would join, once: true, and it
    /// is in the batch; false, and it is dropped, charged to no flow.
    pub(super) fn next_batch(
        &mut self,
        now: Instant,
        mut wanted: impl FnMut(&T) -> bool,
    ) -> Next<T> {
        self.flows.retain(|_, flow| !flow.is_spent(now));
        let mut round = Round {
            flows: self.flows.values_mut().collect(),
            admissions: &mut self.admissions,
            now,
        };
        let all_waiting = round.flows.iter().map(|flow| flow.waiting.tokens()).sum();
        while let Some(leader) = round.leader(self.batches) {
            // A flow is as heavy as all that it has waiting, its oldest example included.
            let waiting = round.flows[leader].waiting.tokens();
            let Some((length, item)) = round.oldest(leader, &mut wanted) else { continue };
            self.batches += 1;
            round.flows[leader].led = self.batches;
            let Policy { max_batch_tokens, max_batch_examples, .. } = self.policy;
            let shape = Shape::new(length, max_batch_tokens, max_batch_examples);
            let mut batch = Batch {
                items: vec![item],
                shape: shape.up_to(self.policy.part(all_waiting)),
                leader,
            };
            round.fill(&mut batch, waiting, &mut wanted);
            return Next::Batch(batch.items);
        }
        let opens_at = round.flows.iter().filter_map(|flow| flow.ready_at(now)).min();
        let behind = self.next_behind(wanted);
        if behind.is_empty() {
            opens_at.map_or(Next::Empty, Next::Wait)
        } else {
            Next::Batch(behind)
        }
    }

    /// A batch of what stands behind all flows: the oldest, and what is nearest to it in length.
    fn next_behind(&mut self, mut wanted: impl FnMut(&T) -> bool) -> Vec<T> {
        let Policy { max_batch_tokens, max_batch_examples, .. } = self.policy;
        let Some((length, oldest)) = self.behind.take_oldest(&mut wanted) else {
            return Vec::new();
        };
        let mut shape = Shape::new(length, max_batch_tokens, max_batch_examples);
        let mut batch = vec![oldest];
        while let Some(range) = shape.joinable(Fill::Enough)
            && let Some((length, _)) = self.behind.nearest(shape.leader(), &range)
            && let Some(item) = self.behind.pop(length)
        {
            if wanted(&item) {
                shape.join(length);
                batch.push(item);
            }
        }
        batch
    }
}
