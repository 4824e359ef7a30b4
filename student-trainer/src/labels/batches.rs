//! Puts answers, which come in any order, back into batches, which leave in the order of training.

use std::collections::VecDeque;

use super::Outcome;

/// Where an outcome belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) batch: u64,
    pub(super) position: usize,
}

/// The batches begun and not yet handed over, each with a token `T` that goes with it.
#[derive(Debug)]
pub(super) struct Batches<T> {
    /// Number of the batch in front.
    front: u64,
    begun: VecDeque<Begun<T>>,
}

#[derive(Debug)]
struct Begun<T> {
    outcomes: Vec<Option<Outcome>>,
    open: usize,
    token: T,
}

impl<T> Batches<T> {
    pub(super) fn new() -> Self {
        Self { front: 0, begun: VecDeque::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.begun.is_empty()
    }

    /// Begins a batch at the end and tells its number.
    pub(super) fn begin(&mut self, examples: usize, token: T) -> u64 {
        self.begun.push_back(Begun { outcomes: vec![None; examples], open: examples, token });
        self.front + self.begun.len() as u64 - 1
    }

    /// Puts an outcome where it belongs. Every place is filled once.
    pub(super) fn fill(&mut self, place: Place, outcome: Outcome) {
        let index = place.batch.checked_sub(self.front).map(|behind| behind as usize);
        if let Some(batch) = index.and_then(|index| self.begun.get_mut(index))
            && let Some(slot @ None) = batch.outcomes.get_mut(place.position)
        {
            *slot = Some(outcome);
            batch.open -= 1;
        }
    }

    /// The batch in front, if it is complete.
    pub(super) fn pop(&mut self) -> Option<(Vec<Outcome>, T)> {
        let batch = self.begun.pop_front_if(|batch| batch.open == 0)?;
        self.front += 1;
        Some((batch.outcomes.into_iter().flatten().collect(), batch.token))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn row(value: f32) -> Arc<[f32]> {
        [value].into()
    }

    #[test]
    fn a_later_batch_waits_for_the_earlier_one() {
        let mut batches = Batches::new();
        let first = batches.begin(2, 'a');
        let second = batches.begin(1, 'b');
        let empty = batches.begin(0, 'c');
        assert_eq!((first, second, empty), (0, 1, 2));
        batches.fill(Place { batch: second, position: 0 }, Ok(row(3.0)));
        batches.fill(Place { batch: first, position: 1 }, Ok(row(2.0)));
        assert_eq!(batches.pop(), None);
        batches.fill(Place { batch: first, position: 0 }, Ok(row(1.0)));
        assert_eq!(batches.pop(), Some((vec![Ok(row(1.0)), Ok(row(2.0))], 'a')));
        assert_eq!(batches.pop(), Some((vec![Ok(row(3.0))], 'b')));
        assert_eq!(batches.pop(), Some((vec![], 'c')));
        assert!(batches.is_empty());
        assert_eq!(batches.begin(1, 'd'), 3);
    }
}
