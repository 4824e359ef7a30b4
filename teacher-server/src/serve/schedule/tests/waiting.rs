//! How long an example may wait.

use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn an_example_with_k_older_in_its_flow_goes_within_33_n_times_k_plus_one_batches(
        flows in prop::collection::vec(
            (prop::sample::select(vec![0.001, 0.1, 1.0, 30.0, 1000.0]), 1usize..40, 1usize..60),
            1..7,
        ),
        outlier in 1usize..400,
        budget in prop::sample::select(vec![64, 512, 2048]),
        seed in 0usize..1000,
    ) {
        let shares: Vec<_> = flows.iter().map(|flow| weight(flow.0)).collect();
        let mut served = Served::new(budget, &shares);
        // By flow, how many wait; by number, the batch before which it came and how many were older.
        let mut waiting = vec![0; flows.len()];
        let mut came = Vec::new();
        let mut arrivals: Vec<usize> = (0..flows.len())
            .flat_map(|flow| std::iter::repeat_n(flow, flows[flow].2))
            .collect();
        for batch in 0..300 {
            for flow in arrivals.drain(..) {
                let seed = seed + served.pushed;
                // Now and then one that is near to no other.
                let odd = seed.is_multiple_of(17);
                served.push(flow, if odd { outlier } else { 5 + (seed * 7919) % flows[flow].1 });
                came.push((batch, waiting[flow]));
                waiting[flow] += 1;
            }
            for example in served.batch() {
                let (since, older) = came[example.number];
                let bound = (older + 1) * 33 * flows.len();
                prop_assert!(batch - since < bound, "{} batches for {older} older", batch - since);
                waiting[example.flow] -= 1;
                // Who was served asks again, as a student does that has only so many credits.
                arrivals.push(example.flow);
            }
        }
    }
}

#[test]
fn a_flow_of_the_least_weight_is_not_passed_over_for_ever() {
    let mut served = Served::new(100, &[weight(1000.0), weight(0.001)]);
    served.push_all(0, std::iter::repeat_n(10, 20_000));
    served.push_all(1, [99; 20]);
    let mut passed_over = 0;
    let mut light = 0;
    while light < 20 {
        let batch = served.batch();
        let served_now = batch.iter().filter(|example| example.flow == 1).count();
        passed_over = if served_now == 0 { passed_over + 1 } else { 0 };
        light += served_now;
        assert!(passed_over < 33 * 2, "passed over {passed_over} times");
    }
}

#[test]
fn what_a_flow_got_before_its_turn_is_not_held_against_it() {
    let mut served = Served::new(100, &[weight(1000.0), weight(0.001), weight(0.001)]);
    served.push_all(1, [99; 100]);
    // Some twenty times flow 1 was passed over for so long that it led all the same.
    for _ in 0..1300 {
        served.push_all(0, [10; 10]);
        served.batch();
    }
    served.schedule.flows.remove(&served.names[0]);
    served.push_all(2, [99; 100]);
    let ours = (0..20).flat_map(|_| served.batch()).filter(|example| example.flow == 1).count();
    assert!((9..=11).contains(&ours), "{ours} of 20");
}
