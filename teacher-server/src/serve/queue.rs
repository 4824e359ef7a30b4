//! Which waiting examples share a forward pass. Pure policy: no clock, no socket, no tensors.

use std::collections::{BTreeMap, VecDeque};

/// Share of the budget from which a batch is full enough: a few hundred tokens already use a CPU fully,
/// and padding more examples into the batch would cost more than it saves.
const ENOUGH: f64 = 0.25;

/// Waiting work by length. The oldest example leads each batch, so that none waits for ever; those
/// nearest to it in length follow, so that little is padded. Once a batch is full enough, only examples
/// between its shortest and its longest join, which pad nothing more.
#[derive(Debug)]
pub(super) struct Queue<T> {
    by_length: BTreeMap<usize, VecDeque<(u64, T)>>,
    arrivals: u64,
    max_batch_tokens: usize,
}

impl<T> Queue<T> {
    /// An empty queue whose batches hold at most `max_batch_tokens` tokens, padding included; a single
    /// example may exceed that and then goes alone.
    pub(super) fn new(max_batch_tokens: usize) -> Self {
        Self { by_length: BTreeMap::new(), arrivals: 0, max_batch_tokens }
    }

    pub(super) fn push(&mut self, tokens: usize, item: T) {
        self.by_length.entry(tokens).or_default().push_back((self.arrivals, item));
        self.arrivals += 1;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_length.is_empty()
    }

    /// The next batch, empty when nothing waits.
    pub(super) fn next_batch(&mut self) -> Vec<T> {
        let oldest = |(_, entries): &(&usize, &VecDeque<(u64, T)>)| entries.front().map(|e| e.0);
        let Some((&leader, _)) = self.by_length.iter().min_by_key(oldest) else {
            return Vec::new();
        };
        let mut batch = Vec::new();
        let (mut shortest, mut longest) = (leader, leader);
        while let Some(length) = self.nearest(leader) {
            let tokens = (batch.len() + 1) * longest.max(length);
            let enough = tokens as f64 > self.max_batch_tokens as f64 * ENOUGH;
            let widens = !(shortest..=longest).contains(&length);
            if !batch.is_empty() && (tokens > self.max_batch_tokens || (enough && widens)) {
                break;
            }
            (shortest, longest) = (shortest.min(length), longest.max(length));
            batch.extend(self.pop(length));
        }
        batch
    }

    /// The waiting length nearest to `leader`; the shorter of two equally near, which pads less.
    fn nearest(&self, leader: usize) -> Option<usize> {
        let below = self.by_length.range(..=leader).next_back().map(|(&length, _)| length);
        let above = self.by_length.range(leader..).next().map(|(&length, _)| length);
        match (below, above) {
            (Some(below), Some(above)) if above - leader < leader - below => Some(above),
            (Some(below), _) => Some(below),
            (None, above) => above,
        }
    }

    fn pop(&mut self, length: usize) -> Option<T> {
        let entries = self.by_length.get_mut(&length)?;
        let item = entries.pop_front().map(|(_, item)| item);
        if entries.is_empty() {
            self.by_length.remove(&length);
        }
        item
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn queue_of(lengths: &[usize], budget: usize) -> Queue<usize> {
        let mut queue = Queue::new(budget);
        for &length in lengths {
            queue.push(length, length);
        }
        queue
    }

    #[test]
    fn the_oldest_leads_and_the_nearest_in_length_follow() {
        // A quarter of the budget is 30: the tens fill it, so 9 and 11 do not join them.
        let mut queue = queue_of(&[10, 50, 10, 9, 49, 10, 11, 10], 120);
        assert_eq!(queue.next_batch(), [10, 10, 10, 10]);
        // 50 alone is full enough.
        assert_eq!(queue.next_batch(), [50]);
        assert_eq!(queue.next_batch(), [9, 11]);
        assert_eq!(queue.next_batch(), [49]);
        assert_eq!(queue.next_batch(), [0usize; 0]);
    }

    #[test]
    fn a_batch_never_exceeds_the_budget_by_padding() {
        // Three of width 14 would be 42 tokens.
        let mut queue = queue_of(&[14, 13, 13], 40);
        assert_eq!(queue.next_batch(), [14]);
        assert_eq!(queue.next_batch(), [13, 13]);
    }

    #[test]
    fn an_example_over_the_budget_goes_alone() {
        let mut queue = queue_of(&[100, 3, 100], 40);
        assert_eq!(queue.next_batch(), [100]);
        assert_eq!(queue.next_batch(), [3]);
        assert_eq!(queue.next_batch(), [100]);
    }

    #[test]
    fn a_full_queue_of_headlines_pads_less_than_two_percent() {
        // Lengths spread as those of real headlines are: 8 to 36 tokens, 22 on average.
        let lengths: Vec<usize> =
            (0..1024).map(|i| 8 + (i * 7919) % 15 + (i * 104_729) % 15).collect();
        let mut queue = queue_of(&lengths, 2048);
        let (mut padded, mut real) = (0, 0);
        loop {
            let batch = queue.next_batch();
            let Some(longest) = batch.iter().max() else { break };
            padded += longest * batch.len();
            real += batch.iter().sum::<usize>();
        }
        assert_eq!(real, lengths.iter().sum::<usize>());
        assert!((padded - real) * 50 < padded, "{real} real of {padded}");
    }

    proptest! {
        #[test]
        fn every_example_is_served_once_within_the_budget(
            lengths in prop::collection::vec(1usize..200, 1..200),
            budget in 1usize..400,
        ) {
            let mut queue = Queue::new(budget);
            for (i, &length) in lengths.iter().enumerate() {
                queue.push(length, (i, length));
            }
            let mut served = Vec::new();
            let mut oldest = 0;
            while !queue.is_empty() {
                let batch = queue.next_batch();
                let longest = batch.iter().map(|&(_, length)| length).max().unwrap();
                prop_assert!(batch.len() == 1 || batch.len() * longest <= budget);
                served.extend(batch.iter().map(|&(i, _)| i));
                // Whoever is oldest is in the batch.
                prop_assert!(served.contains(&oldest));
                while served.contains(&oldest) {
                    oldest += 1;
                }
            }
            served.sort_unstable();
            prop_assert_eq!(served, (0..lengths.len()).collect::<Vec<_>>());
        }
    }
}
