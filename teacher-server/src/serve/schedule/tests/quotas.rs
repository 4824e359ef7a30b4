//! Experiments that may use only so many tokens a second.

use super::*;

fn quota(tokens_per_second: f64) -> Share {
    Share { quota: Some(TokensPerSecond(tokens_per_second)), ..Share::default() }
}

#[test]
fn a_quota_is_kept_over_a_minute_and_the_others_use_the_rest() {
    // A teacher that computes 2,000 padded tokens a second, of which flow 0 may have 100.
    let mut served = Served::new(512, &[quota(100.0), weight(1.0)]);
    for flow in [0, 1] {
        served.push_all(flow, (0..10_000).map(headline));
    }
    let start = served.now;
    let mut by_flow = [0, 0];
    while served.now < start + Duration::from_mins(1) {
        let batch = served.batch();
        assert!(!batch.is_empty(), "a flow without quota never waits");
        for example in &batch {
            by_flow[example.flow] += example.tokens;
        }
        served.now += Duration::from_secs_f64(padded_tokens(&batch) as f64 / 2000.0);
    }
    // A minute's worth, a second's saved up, and one example.
    assert!((5900..=6136).contains(&by_flow[0]), "{by_flow:?}");
    // All but 5 % for padding.
    assert!(by_flow[0] + by_flow[1] > 114_000, "{by_flow:?}");
}

#[test]
fn work_that_only_a_quota_holds_back_goes_when_the_quota_allows() {
    let mut served = Served::new(512, &[quota(100.0)]);
    served.push_all(0, [50; 4]);
    let start = served.now;
    // A second's worth is 100 tokens; the third example overdraws it by 50.
    assert_eq!(served.lengths(), [50, 50, 50]);
    let opens = start + Duration::from_millis(500);
    assert_eq!(served.next(), Next::Wait(opens));
    served.now = start + Duration::from_millis(499);
    assert_eq!(served.next(), Next::Wait(opens));
    served.now = opens;
    assert_eq!(served.lengths(), [50]);
    assert_eq!(served.next(), Next::Empty);
}

#[test]
fn an_example_longer_than_a_second_of_quota_goes_and_is_paid_afterwards() {
    let mut served = Served::new(512, &[quota(10.0)]);
    served.push_all(0, [500, 500]);
    let start = served.now;
    assert_eq!(served.lengths(), [500]);
    // 500 tokens are 50 seconds, of which one was saved up.
    assert_eq!(served.next(), Next::Wait(start + Duration::from_secs(49)));
}

#[test]
fn a_flow_held_back_by_its_quota_saves_up_no_turns() {
    let mut served = Served::new(100, &[quota(1000.0), weight(1.0)]);
    served.push_all(0, [100; 50]);
    served.push_all(1, [100; 500]);
    let of_flow_0 = |served: &mut Served, batches: usize| {
        let batches = (0..batches).flat_map(|_| served.batch());
        batches.filter(|example| example.flow == 0).count()
    };
    // A second's worth, and the one that overdraws it.
    assert_eq!(of_flow_0(&mut served, 200), 11);
    // After so long without, it leads once for having waited, and then takes turns with the other.
    served.now += Duration::from_hours(1);
    assert_eq!(of_flow_0(&mut served, 10), 6);
}

#[test]
fn a_quota_is_remembered_while_its_flow_has_no_work() {
    let mut served = Served::new(512, &[quota(100.0), weight(1.0)]);
    served.push(0, 300);
    let start = served.now;
    assert_eq!(served.lengths(), [300]);
    // Rounds pass in which it has nothing to do.
    served.push_all(1, [100; 100]);
    while served.next() != Next::Empty {}
    served.push(0, 300);
    assert_eq!(served.next(), Next::Wait(start + Duration::from_secs(2)));
}
