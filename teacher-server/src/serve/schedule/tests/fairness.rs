//! Who gets how much of the teacher.

use proptest::prelude::*;

use super::*;

/// Tokens that each flow gets of `total` while its queue is kept at `waiting` examples.
fn shares_of_a_backlog(
    served: &mut Served,
    lengths: &[impl Fn(usize) -> usize],
    waiting: usize,
    total: usize,
) -> Vec<usize> {
    let mut tokens = vec![0; lengths.len()];
    let push = |served: &mut Served, flow: usize| {
        let length = lengths[flow](served.pushed);
        served.push(flow, length);
    };
    for flow in 0..lengths.len() {
        (0..waiting).for_each(|_| push(served, flow));
    }
    while tokens.iter().sum::<usize>() < total {
        for example in served.batch() {
            tokens[example.flow] += example.tokens;
            push(served, example.flow);
        }
    }
    tokens
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn shares_of_a_long_backlog_are_within_five_percent_of_the_weights(
        flows in prop::collection::vec(
            (prop::sample::select(vec![1.0, 2.0, 5.0]), 4usize..60, 1usize..40),
            2..9,
        ),
        budget in prop::sample::select(vec![128, 512]),
        waiting in prop::sample::select(vec![64, 256, 1024]),
    ) {
        let weights: Vec<f64> = flows.iter().map(|flow| flow.0).collect();
        let shares: Vec<_> = weights.iter().copied().map(weight).collect();
        let lengths: Vec<_> = flows
            .iter()
            .map(|&(_, shortest, spread)| move |i: usize| shortest + (i * 7919) % spread)
            .collect();
        let mut served = Served::new(budget, &shares);
        // Sixty rounds; where in a round it ends makes a difference of one in sixty or so.
        let total = 60 * budget * weights.iter().sum::<f64>() as usize;
        let tokens = shares_of_a_backlog(&mut served, &lengths, waiting, total);
        let total: usize = tokens.iter().sum();
        for (&tokens, weight) in tokens.iter().zip(&weights) {
            let due = total as f64 * weight / weights.iter().sum::<f64>();
            let off = (tokens as f64 - due).abs() / due;
            prop_assert!(off < 0.05, "{tokens} tokens instead of {due:.0} for weight {weight}");
        }
    }
}

#[test]
fn shares_are_counted_in_tokens_whatever_the_lengths() {
    let shares = [weight(1.0), weight(2.0), weight(5.0)];
    let lengths: [fn(usize) -> usize; 3] = [headline, |_| 100, |i| 3 + i % 5];
    let mut served = Served::new(512, &shares);
    let tokens = shares_of_a_backlog(&mut served, &lengths, 1024, 60 * 8 * 512);
    let unit = tokens.iter().sum::<usize>() as f64 / 8.0;
    for (tokens, weight) in tokens.iter().zip([1.0, 2.0, 5.0]) {
        let ratio = *tokens as f64 / (weight * unit);
        assert!((0.95..1.05).contains(&ratio), "{ratio:.3} of its share for weight {weight}");
    }
}

#[test]
fn ten_examples_go_in_the_next_batch_however_many_another_flow_has_queued() {
    let mut served = Served::equal(2048, 2);
    served.push_all(0, (0..100_000).map(headline));
    for _ in 0..100 {
        served.batch();
        served.push_all(1, (0..10).map(headline));
        let light = served.batch().iter().filter(|example| example.flow == 1).count();
        assert_eq!(light, 10);
        // Not beyond its share, of course: the flood has its turn in between.
        served.batch();
    }
}

#[test]
fn a_heavy_flow_fills_a_light_one_s_batch_only_until_it_is_full_enough() {
    let mut served = Served::equal(2048, 2);
    served.push_all(0, [20; 1000]);
    served.batch();
    served.push_all(1, [20; 10]);
    // A quarter of 2048 is 25 examples of 20.
    assert_eq!(served.batch().len(), 25);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_light_flow_beside_a_flood_needs_at_most_twice_the_batches_it_needs_alone(
        lights in prop::collection::vec(
            (prop::collection::vec(8usize..36, 10..65), 1usize..4),
            1..10,
        ),
        budget in prop::sample::select(vec![512, 1024, 2048, 4096]),
    ) {
        let mut served = Served::equal(budget, 2);
        served.push_all(0, (0..10_000).map(headline));
        for (light, batches_between) in lights {
            (0..batches_between).for_each(|_| drop(served.batch()));
            let mut alone = Served::equal(budget, 1);
            alone.push_all(0, light.iter().copied());
            let needed_alone = std::iter::from_fn(|| Some(alone.batch()))
                .take_while(|batch| !batch.is_empty())
                .count();
            served.push_all(1, light.iter().copied());
            let (mut waiting, mut needed) = (light.len(), 0);
            while waiting > 0 {
                waiting -= served.batch().iter().filter(|example| example.flow == 1).count();
                needed += 1;
            }
            prop_assert!(needed <= 2 * needed_alone, "{needed} instead of {needed_alone}");
        }
    }
}

#[test]
fn the_last_batch_of_a_turn_is_full_enough() {
    let mut served = Served::equal(98, 2);
    served.push_all(0, [60; 10]);
    served.push_all(1, [5; 30]);
    // 19 leave 3 tokens of 98; a quarter of the budget is four more, one in its turn and three on credit.
    assert_eq!(served.lengths(), [5; 19]);
    assert_eq!(served.lengths(), [5; 4]);
    assert_eq!(served.lengths(), [60]);
}

#[test]
fn a_flow_gains_nothing_by_running_empty() {
    // Flow 1 has never more than one example, and a new one as soon as that is served.
    let mut served = Served::equal(100, 2);
    served.push_all(0, [50; 100]);
    let mut tokens = [0, 0];
    for _ in 0..1000 {
        if served.schedule.queued().len() < 2 {
            served.push(1, 90);
        }
        for example in served.batch() {
            tokens[example.flow] += example.tokens;
            served.push_all(0, (example.flow == 0).then_some(50));
        }
    }
    assert!(tokens[1] * 100 <= tokens[0] * 105, "{tokens:?}");
}

#[test]
fn a_debt_is_paid_although_its_flow_ran_empty() {
    // Ten rounds' worth in one example, which a budget of 100 lets go alone.
    let mut served = Served::equal(100, 2);
    served.push_all(0, [10; 1000]);
    served.push(1, 1000);
    let mut before = 0;
    let mut others = |served: &mut Served| {
        let batch = served.batch();
        before += tokens(&batch);
        batch.iter().any(|example| example.flow == 1)
    };
    while !others(&mut served) {}
    others(&mut served);
    served.push(1, 10);
    let mut since = 0;
    while !others(&mut served) {
        since += 1;
    }
    // Nine batches of ten times 10 pay for it, give or take those at both ends.
    assert!((7..=10).contains(&since), "after {since} batches");
}

#[test]
fn ever_new_names_neither_starve_a_flow_nor_pile_up() {
    let mut served = Served::equal(100, 1);
    served.push_all(0, std::iter::repeat_n(10, 10_000));
    let mut ours = 0;
    for i in 0..1000 {
        // Two new names a batch, each with a whole batch of work.
        for twin in 0..2 {
            let name: Arc<str> = format!("{i} {twin}").into();
            for number in 0..2 {
                let example = Example { flow: 1, tokens: 50, number };
                served.schedule.push(&name, 50, example, served.now);
            }
        }
        let batch = served.batch();
        ours += batch.iter().filter(|example| example.flow == 0).count();
        assert!(served.schedule.flows.len() <= 2 * served.schedule.queued().len() + 4);
    }
    // A round serves twice the flows that it began with, while four times as many come: rounds begin with
    // 1, 3, 9 … flows, so that a thousand batches hold six, of ten examples each.
    assert!(ours >= 50, "{ours}");
}
