//! The order in which a direction of a recurrent layer reads a batch, without padding.
//!
//! Tokens are packed: first all first tokens, then all second ones, examples from the longest to the shortest, so that
//! those that go on are the first rows of a step. `N` tokens, of `B` texts padded to `T`.

use std::cmp::Reverse;

use tch::{TchError, Tensor};

/// Share of the tokens that a loss may depend on for it to pay that the others are left out of its backward pass.
const MOST_REACHED: f64 = 0.95;

/// One step: `count` packed rows from `start`, whose examples' rows of the step before begin at `before`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    start: i64,
    before: Option<i64>,
    pub(super) count: i64,
}

impl Step {
    /// Its rows.
    pub(super) fn of(self, packed: &Tensor) -> Result<Tensor, TchError> {
        packed.f_narrow(0, self.start, self.count)
    }

    /// The rows of the step before, of the examples that go on.
    pub(super) fn before(self, packed: &Tensor) -> Result<Option<Tensor>, TchError> {
        self.before.map(|before| packed.f_narrow(0, before, self.count)).transpose()
    }
}

/// The order in which a direction reads a batch.
#[derive(Debug, Default)]
pub(super) struct Packing {
    pub(super) steps: Vec<Step>,
    /// `[N]` row of `x`.
    pub(super) rows: Vec<i64>,
    /// `[N]` place in the flat `[T · B]`.
    pub(super) places: Vec<i64>,
}

impl Packing {
    /// - `examples`: of each, the row of `x` of each of its tokens
    pub(super) fn new(examples: &[Vec<i64>], reversed: bool) -> Self {
        let mut order: Vec<usize> = (0..examples.len()).collect();
        order.sort_by_key(|&i| Reverse(examples[i].len()));
        let mut packing = Self::default();
        let longest = order.first().map_or(0, |&i| examples[i].len());
        for time in 0..longest {
            let active = order.partition_point(|&i| examples[i].len() > time);
            packing.begin_step(active);
            for &example in &order[..active] {
                let tokens = &examples[example];
                let at = if reversed { tokens.len() - 1 - time } else { time };
                packing.rows.push(tokens[at]);
                packing.places.push((at * examples.len() + example) as i64);
            }
        }
        packing
    }

    /// The part that a loss depends on, which is all up to the last token of each example whose state `matters`, by its
    /// place.
    pub(super) fn reached(self, matters: impl Fn(i64) -> bool) -> Reached {
        let examples = self.steps.first().map_or(0, |step| step.count as usize);
        let mut reach = vec![0; examples];
        for (time, step) in self.steps.iter().enumerate() {
            let places = &self.places[step.start as usize..][..step.count as usize];
            for (reach, _) in reach.iter_mut().zip(places).filter(|(_, place)| matters(**place)) {
                *reach = time + 1;
            }
        }
        let reached: usize = reach.iter().sum();
        if reached == 0 || reached as f64 > MOST_REACHED * self.rows.len() as f64 {
            return Reached { packing: self, kept: None };
        }
        let mut order: Vec<usize> = (0..examples).collect();
        order.sort_by_key(|&rank| Reverse(reach[rank]));
        let (mut packing, mut kept) = (Self::default(), Vec::with_capacity(reached));
        for (time, whole) in self.steps.iter().enumerate() {
            let active = order.partition_point(|&rank| reach[rank] > time);
            packing.begin_step(active);
            for rank in &order[..active] {
                let at = whole.start as usize + rank;
                kept.push(at as i64);
                packing.rows.push(self.rows[at]);
                packing.places.push(self.places[at]);
            }
        }
        Reached { packing, kept: Some(kept) }
    }

    /// Before the tokens of `count` examples are pushed.
    fn begin_step(&mut self, count: usize) {
        let before = self.steps.last().map(|step| step.start);
        if count > 0 {
            let start = self.rows.len() as i64;
            self.steps.push(Step { start, before, count: count as i64 });
        }
    }

    /// The distinct rows of `x`, and of each its packed rows: all, one distinct row after the other, and where each one's
    /// begin.
    pub(super) fn occurrences(&self) -> [Vec<i64>; 3] {
        let mut order: Vec<i64> = (0..self.rows.len() as i64).collect();
        order.sort_by_key(|&at| self.rows[at as usize]);
        let (mut distinct, mut starts) = (Vec::new(), Vec::new());
        for (start, &at) in (0..).zip(&order) {
            let row = self.rows[at as usize];
            if distinct.last() != Some(&row) {
                distinct.push(row);
                starts.push(start);
            }
        }
        [distinct, order, starts]
    }
}

/// A part of a packing, of fewer tokens.
#[derive(Debug)]
pub(super) struct Reached {
    pub(super) packing: Packing,
    /// The row that each had, where it is not all.
    kept: Option<Vec<i64>>,
}

impl Reached {
    /// The rows of a step in what was packed as the whole, as they are packed now.
    pub(super) fn of(
        &self,
        whole: &Tensor,
        Step { start, count, .. }: Step,
    ) -> Result<Tensor, TchError> {
        self.span(whole, start, count)
    }

    /// Those of the step before, of the examples that go on.
    pub(super) fn before(&self, whole: &Tensor, step: Step) -> Result<Option<Tensor>, TchError> {
        step.before.map(|before| self.span(whole, before, step.count)).transpose()
    }

    fn span(&self, whole: &Tensor, start: i64, count: i64) -> Result<Tensor, TchError> {
        match &self.kept {
            None => whole.f_narrow(0, start, count),
            Some(kept) => {
                let kept = &kept[start as usize..][..count as usize];
                whole.f_index_select(0, &Tensor::f_from_slice(kept)?)
            }
        }
    }

    /// The rows, in what was packed as the whole, of the token before each that is not an example's first one.
    pub(super) fn previous(&self) -> Vec<i64> {
        let steps = self.packing.steps.iter();
        let now = steps.filter_map(|step| Some(step.before?..step.before? + step.count)).flatten();
        now.map(|at| self.kept.as_ref().map_or(at, |kept| kept[at as usize])).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three texts of 3, 1 and 2 tokens.
    fn packing(reversed: bool) -> Packing {
        Packing::new(&[vec![0, 1, 2], vec![3], vec![4, 5]], reversed)
    }

    #[test]
    fn texts_are_read_from_the_longest_to_the_shortest_in_either_direction() {
        let forward = packing(false);
        assert_eq!(forward.rows, [0, 4, 3, 1, 5, 2]);
        // Time by time, three texts each.
        assert_eq!(forward.places, [0, 2, 1, 3, 5, 6]);
        assert_eq!(forward.steps.iter().map(|step| step.count).collect::<Vec<_>>(), [3, 2, 1]);
        let backward = packing(true);
        assert_eq!(backward.rows, [2, 5, 3, 1, 4, 0]);
        assert_eq!(backward.places, [6, 5, 1, 3, 2, 0]);
    }

    #[test]
    fn what_a_loss_does_not_depend_on_is_left_out() {
        // The only token of the second text and the last one of the third.
        let part = packing(false).reached(|place| place == 1 || place == 5);
        assert_eq!(part.packing.rows, [4, 3, 5]);
        assert_eq!(part.kept.as_deref(), Some([1, 2, 4].as_slice()));
        assert_eq!(part.previous(), [1]);
        // All of the first text and the others' first tokens are five of six.
        let most = packing(false).reached(|place| [6, 1, 2].contains(&place));
        assert_eq!(most.packing.rows, [0, 4, 3, 1, 2]);
        for all in [packing(false).reached(|_| true), packing(false).reached(|_| false)] {
            assert_eq!((all.packing.rows.len(), all.kept), (6, None));
        }
    }

    #[test]
    fn a_word_that_occurs_twice_has_both_its_places() {
        let packing = Packing::new(&[vec![7, 3], vec![3]], false);
        assert_eq!(packing.rows, [7, 3, 3]);
        assert_eq!(packing.occurrences(), [vec![3, 7], vec![1, 2, 0], vec![0, 2]]);
    }
}
