//! The examples of one flow that wait, by length and by age. Knows no policy.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::RangeInclusive,
};

/// The place of an example in the order of all arrivals.
pub(super) type Arrival = u64;

/// See the module.
#[derive(Debug)]
pub(super) struct Waiting<T> {
    by_length: BTreeMap<usize, VecDeque<(Arrival, T)>>,
    /// Arrivals and their lengths, oldest first; those served out of turn stay until they are oldest.
    by_age: VecDeque<(Arrival, usize)>,
    examples: usize,
    tokens: usize,
}

impl<T> Waiting<T> {
    pub(super) fn new() -> Self {
        Self { by_length: BTreeMap::new(), by_age: VecDeque::new(), examples: 0, tokens: 0 }
    }

    pub(super) fn push(&mut self, arrival: Arrival, length: usize, item: T) {
        self.by_length.entry(length).or_default().push_back((arrival, item));
        self.by_age.push_back((arrival, length));
        self.examples += 1;
        self.tokens += length;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.examples == 0
    }

    pub(super) fn examples(&self) -> usize {
        self.examples
    }

    /// Tokens of all examples, padding not counted.
    pub(super) fn tokens(&self) -> usize {
        self.tokens
    }

    /// Takes the oldest example that is wanted, and drops those before it.
    pub(super) fn take_oldest(
        &mut self,
        wanted: &mut impl FnMut(&T) -> bool,
    ) -> Option<(usize, T)> {
        while let Some(length) = self.oldest() {
            let item = self.pop(length)?;
            if wanted(&item) {
                return Some((length, item));
            }
        }
        None
    }

    /// The length of the oldest example.
    fn oldest(&mut self) -> Option<usize> {
        while let Some(&(arrival, length)) = self.by_age.front() {
            // Within a length examples leave in the order in which they came.
            if self.first(length) == Some(arrival) {
                return Some(length);
            }
            self.by_age.pop_front();
        }
        None
    }

    /// The length nearest to `length` within `range`, which holds it, and the arrival of its first
    /// example; the shorter of two equally near, which pads less.
    pub(super) fn nearest(
        &self,
        length: usize,
        range: &RangeInclusive<usize>,
    ) -> Option<(usize, Arrival)> {
        let below = self.by_length.range(*range.start()..=length).next_back();
        let above = self.by_length.range(length..=*range.end()).next();
        let (&nearest, entries) = match (below, above) {
            (Some(below), Some(above)) if above.0 - length < length - below.0 => above,
            (Some(below), _) => below,
            (None, above) => above?,
        };
        entries.front().map(|&(arrival, _)| (nearest, arrival))
    }

    /// Takes the oldest of the examples that have this length.
    pub(super) fn pop(&mut self, length: usize) -> Option<T> {
        let entries = self.by_length.get_mut(&length)?;
        let (_, item) = entries.pop_front()?;
        if entries.is_empty() {
            self.by_length.remove(&length);
        }
        self.examples -= 1;
        self.tokens -= length;
        if self.is_empty() {
            self.by_age.clear();
        }
        Some(item)
    }

    /// Drops what is not wanted.
    pub(super) fn retain(&mut self, wanted: impl Fn(&T) -> bool) {
        self.by_length.retain(|length, entries| {
            let before = entries.len();
            entries.retain(|(_, item)| wanted(item));
            let dropped = before - entries.len();
            self.examples -= dropped;
            self.tokens -= dropped * length;
            !entries.is_empty()
        });
        let Self { by_length, by_age, .. } = self;
        by_age.retain(|(arrival, length)| {
            let entries = by_length.get(length);
            entries.is_some_and(|e| e.binary_search_by_key(arrival, |(first, _)| *first).is_ok())
        });
    }

    fn first(&self, length: usize) -> Option<Arrival> {
        self.by_length.get(&length)?.front().map(|&(arrival, _)| arrival)
    }
}
