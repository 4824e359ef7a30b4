//! The lengths in a batch, and which may still join it.

use std::ops::RangeInclusive;

/// Share of the budget from which a batch is full enough: a few hundred tokens already use a CPU fully,
/// and padding more examples into the batch would cost more than it saves.
const ENOUGH: f64 = 0.25;

/// How far a batch may be filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fill {
    /// Until it is full enough.
    Enough,
    /// Until nothing fits any more.
    Budget,
}

/// A batch under construction, as lengths. Once it is full enough, only examples between its shortest
/// and its longest join, which pad nothing more.
#[derive(Debug)]
pub(super) struct Shape {
    enough: usize,
    max_tokens: usize,
    max_examples: usize,
    examples: usize,
    leader: usize,
    shortest: usize,
    longest: usize,
}

impl Shape {
    /// A batch of one example, which may exceed `max_tokens` and then stays alone.
    pub(super) fn new(leader: usize, max_tokens: usize, max_examples: usize) -> Self {
        Self {
            enough: (max_tokens as f64 * ENOUGH) as usize,
            max_tokens,
            max_examples,
            examples: 1,
            leader,
            shortest: leader,
            longest: leader,
        }
    }

    /// Of at most so many tokens, but still of enough.
    pub(super) fn up_to(self, tokens: usize) -> Self {
        Self { max_tokens: self.max_tokens.min(tokens.max(self.enough)), ..self }
    }

    /// The length that the others should be near to.
    pub(super) fn leader(&self) -> usize {
        self.leader
    }

    /// The lengths that one more example may have. Never grows again as examples join.
    pub(super) fn joinable(&self, fill: Fill) -> Option<RangeInclusive<usize>> {
        let examples = self.examples + 1;
        let tokens = examples * self.longest;
        let enough = self.enough;
        if examples > self.max_examples {
            None
        } else if tokens <= enough {
            Some(0..=enough / examples)
        } else if fill == Fill::Budget && tokens <= self.max_tokens {
            Some(self.shortest..=self.longest)
        } else {
            None
        }
    }

    pub(super) fn join(&mut self, length: usize) {
        self.examples += 1;
        self.shortest = self.shortest.min(length);
        self.longest = self.longest.max(length);
    }
}
