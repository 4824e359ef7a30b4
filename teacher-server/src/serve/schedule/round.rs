//! The making of one batch: who leads it, and who joins.

use std::{cmp::Reverse, collections::BinaryHeap, ops::RangeInclusive, time::Instant};

use super::{
    flow::Flow,
    shape::{Fill, Shape},
    waiting::Arrival,
};

/// Batches, times the flows with work, that a flow may be passed over. Beyond weights of about 1 : 32
/// this decides instead of them, for one batch that is just full enough.
const PATIENCE: u64 = 32;

/// A flow with at most so many times the tokens of the leader's flow counts as no heavier.
const PEER: usize = 2;

/// The flows while a batch is made from them.
#[derive(Debug)]
pub(super) struct Round<'a, T> {
    pub(super) flows: Vec<&'a mut Flow<T>>,
    /// New flows that still get a quantum in this round.
    pub(super) admissions: &'a mut usize,
    pub(super) now: Instant,
}

/// A batch under construction.
#[derive(Debug)]
pub(super) struct Batch<T> {
    pub(super) items: Vec<T>,
    pub(super) shape: Shape,
    pub(super) leader: usize,
}

/// What a flow could give to a batch, best first: distance from the leader's length, length, arrival,
/// and the flow.
type Offer = Reverse<(usize, usize, Arrival, usize)>;

impl<T> Round<'_, T> {
    /// Who leads the batch after `batches` others: the flow passed over for too long, or else, of those with
    /// something left of the round, the one with the least waiting. `None` if no flow is ready.
    pub(super) fn leader(&mut self, batches: u64) -> Option<usize> {
        let busy = self.flows.iter().filter(|flow| !flow.waiting.is_empty()).count() as u64;
        let ready = || self.flows.iter().enumerate().filter(|(_, flow)| flow.is_ready(self.now));
        let longest_ago = ready().min_by_key(|(_, flow)| flow.led)?;
        if batches - longest_ago.1.led >= PATIENCE * busy {
            let overdue = longest_ago.0;
            self.flows[overdue].forgive_debt();
            return Some(overdue);
        }
        self.begin_if_over();
        let with_turn = self.flows.iter().enumerate().filter(|(_, flow)| flow.has_turn(self.now));
        let lightest = with_turn.min_by_key(|(_, flow)| (flow.waiting.tokens(), flow.led))?;
        Some(lightest.0)
    }

    /// Takes the oldest example of the leader that is still wanted.
    pub(super) fn oldest(
        &mut self,
        leader: usize,
        wanted: &mut impl FnMut(&T) -> bool,
    ) -> Option<(usize, T)> {
        let flow = &mut *self.flows[leader];
        let (length, item) = flow.waiting.take_oldest(wanted)?;
        flow.charge(length, self.now);
        Some((length, item))
    }

    /// Fills a batch whose leader's flow had `tokens` waiting.
    pub(super) fn fill(
        &mut self,
        batch: &mut Batch<T>,
        tokens: usize,
        wanted: &mut impl FnMut(&T) -> bool,
    ) {
        let heavier = |flow: &&mut Flow<T>| flow.waiting.tokens() > PEER * tokens;
        let heavier: Vec<bool> = self.flows.iter().map(heavier).collect();
        loop {
            self.join(batch, Fill::Budget, |flow| !heavier[flow], wanted);
            self.join(batch, Fill::Enough, |flow| heavier[flow], wanted);
            let full = batch.shape.joinable(Fill::Budget).is_none();
            if full || !self.begin_if_over() {
                return;
            }
        }
    }

    /// Fills the batch with what is nearest in length to its leader, from some of the flows.
    fn join(
        &mut self,
        batch: &mut Batch<T>,
        fill: Fill,
        from: impl Fn(usize) -> bool,
        wanted: &mut impl FnMut(&T) -> bool,
    ) {
        let Some(range) = batch.shape.joinable(fill) else { return };
        let from = (0..self.flows.len()).filter(|&flow| from(flow));
        let mut offers: BinaryHeap<Offer> =
            from.filter_map(|flow| self.offer(flow, batch, &range)).collect();
        while let Some(range) = batch.shape.joinable(fill) {
            let Some(Reverse((_, length, _, from))) = offers.pop() else { return };
            // The batch may have grown since this was offered.
            if range.contains(&length) {
                let flow = &mut *self.flows[from];
                if let Some(item) = flow.waiting.pop(length).filter(|item| wanted(item)) {
                    flow.charge(length, self.now);
                    batch.items.push(item);
                    batch.shape.join(length);
                }
            }
            offers.extend(self.offer(from, batch, &range));
        }
    }

    /// What a flow gives while it has something left of the round, and the leader's until the batch is full
    /// enough: cut short by the end of a turn, a batch would waste the device.
    fn offer(&self, from: usize, batch: &Batch<T>, range: &RangeInclusive<usize>) -> Option<Offer> {
        let flow = &self.flows[from];
        let leads = from == batch.leader && batch.shape.joinable(Fill::Enough).is_some();
        if !(flow.has_turn(self.now) || leads && flow.is_ready(self.now)) {
            return None;
        }
        let leader = batch.shape.leader();
        let (length, arrival) = flow.waiting.nearest(leader, range)?;
        Some(Reverse((length.abs_diff(leader), length, arrival, from)))
    }

    /// Begins a round if no flow that is ready has anything left of this one; says whether it did.
    fn begin_if_over(&mut self) -> bool {
        let ready = || self.flows.iter().filter(|flow| flow.is_ready(self.now));
        let rounds = ready().map(|flow| flow.rounds_to_turn()).fold(f64::INFINITY, f64::min);
        if rounds.is_infinite() || ready().any(|flow| flow.has_turn(self.now)) {
            return false;
        }
        let ready = ready().count();
        for flow in &mut self.flows {
            flow.begin_rounds(rounds);
        }
        *self.admissions = ready;
        true
    }
}
