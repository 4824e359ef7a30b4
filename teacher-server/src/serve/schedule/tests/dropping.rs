//! Work that nobody wants any more.

use super::*;

fn numbers(batch: &[Example]) -> Vec<usize> {
    batch.iter().map(|example| example.number).collect()
}

#[test]
fn dropped_examples_are_neither_queued_nor_computed() {
    let mut served = Served::equal(100, 2);
    served.push_all(0, [20, 30, 20]);
    served.push_all(1, [20]);
    served.schedule.push_behind(20, Example { flow: 9, tokens: 20, number: 4 });
    served.schedule.retain(|example| example.number % 4 != 0);
    let queued: Vec<_> = served.schedule.queued().into_iter().map(|(_, n, t)| (n, t)).collect();
    assert_eq!(queued, [(2, 50), (1, 20)]);
    assert_eq!(served.schedule.behind(), 0);
    let mut left: Vec<_> = (0..3).flat_map(|_| numbers(&served.batch())).collect();
    left.sort_unstable();
    assert_eq!(left, [1, 2, 3]);
    assert_eq!(served.next(), Next::Empty);
}

#[test]
fn age_counts_on_among_those_that_stay() {
    let mut served = Served::equal(1, 1);
    served.push_all(0, [20, 30, 20, 10, 20, 30]);
    served.schedule.retain(|example| ![0, 2, 3].contains(&example.number));
    // Batches of one: the oldest first.
    let order: Vec<_> = (0..3).flat_map(|_| numbers(&served.batch())).collect();
    assert_eq!(order, [1, 4, 5]);
    assert_eq!(served.next(), Next::Empty);
}
