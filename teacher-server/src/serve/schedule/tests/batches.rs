//! What a batch is made of.

use proptest::prelude::*;

use super::*;

fn one_flow(lengths: &[usize], budget: usize) -> Served {
    let mut served = Served::equal(budget, 1);
    served.push_all(0, lengths.iter().copied());
    served
}

#[test]
fn the_oldest_leads_and_the_nearest_in_length_follow() {
    // A quarter of the budget is 30: the tens fill it, so 9 and 11 do not join them.
    let mut served = one_flow(&[10, 50, 10, 9, 49, 10, 11, 10], 120);
    assert_eq!(served.lengths(), [10, 10, 10, 10]);
    // 50 alone is full enough.
    assert_eq!(served.lengths(), [50]);
    assert_eq!(served.lengths(), [9, 11]);
    assert_eq!(served.lengths(), [49]);
    assert_eq!(served.next(), Next::Empty);
}

#[test]
fn a_batch_never_exceeds_the_budget_by_padding() {
    // Three of width 14 would be 42 tokens.
    let mut served = one_flow(&[14, 13, 13], 40);
    assert_eq!(served.lengths(), [14]);
    assert_eq!(served.lengths(), [13, 13]);
}

#[test]
fn an_example_over_the_budget_goes_alone() {
    let mut served = one_flow(&[100, 3, 100], 40);
    assert_eq!(served.lengths(), [100]);
    assert_eq!(served.lengths(), [3]);
    assert_eq!(served.lengths(), [100]);
}

#[test]
fn a_limit_of_one_example_gives_batches_of_one_in_order_of_arrival() {
    let mut served = one_flow(&[7, 7, 3, 7], 2048);
    served.schedule.policy.max_batch_examples = 1;
    for expected in [7, 7, 3, 7] {
        assert_eq!(served.lengths(), [expected]);
    }
}

#[test]
fn batches_beside_each_other_share_what_waits() {
    let mut served = one_flow(&[10; 20], 120);
    served.schedule.policy.lanes = 2;
    // Half of 200 tokens, of 100, then a quarter of the budget at least.
    for expected in [10, 5, 3, 2] {
        assert_eq!(served.lengths().len(), expected);
    }
    assert_eq!(served.next(), Next::Empty);
    // Lengths still mix until a batch is full enough, which a quarter of the budget is: three of width 10.
    let mut served = one_flow(&[10, 11, 9, 10], 120);
    served.schedule.policy.lanes = 2;
    assert_eq!(served.lengths(), [10, 10, 9]);
    assert_eq!(served.lengths(), [11]);
    // A full queue fills whole batches.
    let mut served = one_flow(&[10; 50], 120);
    served.schedule.policy.lanes = 2;
    assert_eq!(served.lengths().len(), 12);
}

/// Share of padding in percent while `waiting` headlines a flow are queued, each replaced once it has
/// been served, over 500 batches.
fn padding_of_a_full_queue(flows: usize, waiting: usize, budget: usize) -> f64 {
    let mut served = Served::equal(budget, flows);
    for i in 0..flows * waiting {
        served.push(i % flows, headline(i));
    }
    let (mut real, mut padded) = (0, 0);
    for _ in 0..500 {
        let batch = served.batch();
        real += tokens(&batch);
        padded += padded_tokens(&batch);
        for example in batch {
            served.push(example.flow, headline(served.pushed));
        }
    }
    100.0 * (padded - real) as f64 / padded as f64
}

#[test]
fn a_full_queue_of_headlines_pads_less_than_two_percent_from_one_flow_and_from_eight() {
    for (flows, waiting) in [(1, 1024), (8, 128), (8, 1024)] {
        for budget in [512, 2048] {
            let padding = padding_of_a_full_queue(flows, waiting, budget);
            assert!(padding < 2.0, "{padding:.2} % for {flows} x {waiting} within {budget}");
        }
    }
}

#[test]
fn a_queue_of_headlines_that_runs_dry_pads_less_than_five_percent_from_one_flow_and_from_eight() {
    for flows in [1, 8] {
        let mut served = Served::equal(2048, flows);
        (0..1024).for_each(|i| served.push(i % flows, headline(i)));
        let (mut real, mut padded) = (0, 0);
        while let Next::Batch(batch) = served.next() {
            real += tokens(&batch);
            padded += padded_tokens(&batch);
        }
        assert_eq!(real, (0..1024).map(headline).sum::<usize>());
        assert!((padded - real) * 20 < padded, "{real} real of {padded} from {flows}");
    }
}

#[test]
fn cancelled_examples_leave_no_hole_and_cost_their_flow_nothing() {
    // Four of length 10 fill the budget, and both flows have as much that is wanted.
    let mut served = Served::equal(40, 2);
    for flow in [0, 1] {
        for _ in 0..80 {
            served.push(flow, 10);
            // Every other one of flow 0 will be cancelled, so it gets twice as many.
            if flow == 0 {
                served.push(flow, 10);
            }
        }
    }
    let wanted = |example: &Example| example.flow == 1 || example.number.is_multiple_of(2);
    let mut by_flow = [0, 0];
    for _ in 0..40 {
        let Next::Batch(batch) = served.schedule.next_batch(served.now, wanted) else {
            panic!("work is left");
        };
        assert_eq!(batch.len(), 4);
        assert!(batch.iter().all(wanted));
        for example in &batch {
            by_flow[example.flow] += 1;
        }
        assert!(usize::abs_diff(by_flow[0], by_flow[1]) <= 4, "{by_flow:?}");
    }
    assert_eq!(served.schedule.next_batch(served.now, wanted), Next::Empty);
}

#[test]
fn work_that_was_all_cancelled_is_no_batch() {
    let mut served = one_flow(&[5; 1000], 40);
    assert_eq!(served.schedule.next_batch(served.now, |_| false), Next::Empty);
    assert_eq!(served.schedule.queued(), []);
}

#[test]
fn what_one_flow_was_served_is_not_served_again_through_another() {
    let mut served = Served::equal(100, 2);
    for i in 0..20 {
        served.push(i % 2, 5 + i / 2);
    }
    // Examples 2n and 2n + 1 are the same content, asked for by two experiments.
    let mut begun = std::collections::HashSet::new();
    let mut examples = 0;
    while let Next::Batch(batch) =
        served.schedule.next_batch(served.now, |example| begun.insert(example.number / 2))
    {
        examples += batch.len();
    }
    assert_eq!(examples, 10);
}

#[test]
fn what_is_queued_is_told_by_flow() {
    let mut served = Served::equal(20, 3);
    served.push_all(0, [10, 10, 10]);
    served.push_all(2, [7]);
    let queued = |served: &Served| {
        let queued = served.schedule.queued().into_iter();
        queued.map(|(name, examples, tokens)| (name.to_string(), examples, tokens)).collect()
    };
    let before: Vec<_> = queued(&served);
    assert_eq!(before, [("0".to_owned(), 3, 30), ("2".to_owned(), 1, 7)]);
    assert_eq!(served.lengths(), [7]);
    let after: Vec<_> = queued(&served);
    assert_eq!(after, [("0".to_owned(), 3, 30)]);
}

proptest! {
    #[test]
    fn every_example_is_served_once_within_the_budget(
        steps in prop::collection::vec((0usize..6, 1usize..200, prop::bool::weighted(0.1)), 1..400),
        weights in prop::collection::vec(0.01f64..20.0, 6),
        budget in 1usize..1000,
        max_examples in prop_oneof![Just(usize::MAX), 1usize..10],
    ) {
        let shares: Vec<_> = weights.into_iter().map(weight).collect();
        let mut served = Served::new(budget, &shares);
        served.schedule.policy.max_batch_examples = max_examples;
        let mut numbers = Vec::new();
        let mut check = |batch: Vec<Example>| {
            prop_assert!(batch.len() == 1 || padded_tokens(&batch) <= budget);
            prop_assert!(batch.len() <= max_examples);
            numbers.extend(batch.iter().map(|example| example.number));
            Ok(())
        };
        for &(flow, tokens, serve) in &steps {
            served.push(flow, tokens);
            if serve {
                check(served.batch())?;
            }
        }
        while let Next::Batch(batch) = served.next() {
            prop_assert!(!batch.is_empty());
            check(batch)?;
        }
        numbers.sort_unstable();
        prop_assert_eq!(numbers, (0..steps.len()).collect::<Vec<_>>());
    }
}
