//! Work behind all flows.

use super::*;

fn push_behind(served: &mut Served, lengths: impl IntoIterator<Item = usize>) {
    for tokens in lengths {
        let example = Example { flow: usize::MAX, tokens, number: served.pushed };
        served.pushed += 1;
        served.schedule.push_behind(tokens, example);
    }
}

#[test]
fn what_stands_behind_goes_when_no_flow_has_work() {
    let mut served = Served::equal(100, 2);
    push_behind(&mut served, [10]);
    for flow in [0, 1] {
        served.push_all(flow, [40; 5]);
    }
    // Five batches of two, although the one behind came first and would fit.
    for _ in 0..5 {
        assert_eq!(served.lengths(), [40, 40]);
    }
    assert_eq!(served.schedule.behind(), 1);
    assert_eq!(served.lengths(), [10]);
    assert_eq!(served.next(), Next::Empty);
}

#[test]
fn what_stands_behind_goes_while_quotas_hold_back_the_rest() {
    let quota = Share { quota: Some(TokensPerSecond(10.0)), ..Share::default() };
    let mut served = Served::new(100, &[quota]);
    served.push_all(0, [50, 50]);
    push_behind(&mut served, [20]);
    let start = served.now;
    assert_eq!(served.lengths(), [50]);
    assert_eq!(served.lengths(), [20]);
    assert_eq!(served.next(), Next::Wait(start + Duration::from_secs(4)));
}

/// A batch is full enough at a quarter of its 400 tokens.
#[test]
fn batches_from_behind_are_short_and_pad_little() {
    let mut served = Served::equal(400, 0);
    push_behind(&mut served, [30, 90, 31, 10, 29, 32]);
    // 30 leads; four of 31 would be more than 100.
    assert_eq!(served.lengths(), [30, 29, 31]);
    assert_eq!(served.lengths(), [90]);
    assert_eq!(served.lengths(), [10, 32]);
    assert_eq!(served.next(), Next::Empty);
}
