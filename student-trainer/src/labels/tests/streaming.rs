//! What holds on a healthy stream.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use lectern::wire::{FailureCode, Limits};

use super::{
    batches,
    double::{Double, fingerprint, soon},
    examples, expected, request, start, take_all,
};
use crate::labels::{LabelError, Missing, SoftLabels, StreamSettings};

#[test]
fn rows_land_at_their_own_example_whatever_the_order_of_answers() {
    let teacher = Double::start(Limits { credits: 50, ..Limits::default() });
    let batches = batches(60);
    let mut labels = start(&teacher, batches.clone());
    take_all(&mut labels, &batches).unwrap();
    let (seen, metrics) = (teacher.seen(), labels.metrics());
    assert_eq!(seen.texts.len(), examples(&batches));
    assert_eq!((metrics.asked, metrics.answered), (seen.texts.len() as u64, metrics.asked));
    assert_eq!((metrics.reconnects, metrics.missing), (0, 0));
    assert!(metrics.waited > Duration::ZERO && metrics.waited == labels.waited());
}

#[test]
fn credits_and_message_sizes_are_never_exceeded() {
    // 20 texts of 100 bytes fit a message; the double's own limit would end the stream.
    let limits = Limits { credits: 30, max_message_bytes: 2000, ..Limits::default() };
    let teacher = Double::start(limits);
    let text = |i: usize| request(&format!("{i:0>100}"));
    let batches: Vec<Vec<_>> =
        (0..20).map(|b| (0..40).map(|i| text(b * 40 + i)).collect()).collect();
    let mut labels = start(&teacher, batches.clone());
    take_all(&mut labels, &batches).unwrap();
    let seen = teacher.seen();
    assert!(seen.most_in_flight <= 30, "{seen:?}");
    assert!((10..20).contains(&seen.largest_message), "{}", seen.largest_message);
    assert_eq!(seen.streams_opened, 1);
}

#[test]
fn an_error_reaches_only_its_own_position() {
    let limits = Limits { max_example_bytes: 100, ..Limits::default() };
    let teacher = Double::start(limits);
    let large = "x".repeat(101);
    let batch = ["one", "refuse", "two", "", &large, "long three"].map(request).to_vec();
    let mut labels = start(&teacher, vec![batch.clone(), vec![request("refuse")]]);
    let outcomes = labels.next_batch().unwrap();
    for good in [0, 2, 5] {
        assert_eq!(outcomes[good], Ok(expected(&batch[good])));
    }
    let code = |i: usize| match &outcomes[i] {
        Err(Missing::Refused(failure)) => failure.code,
        other => panic!("{other:?}"),
    };
    assert_eq!(code(1), FailureCode::NotFinite);
    assert_eq!(code(3), FailureCode::EmptyText);
    assert_eq!(code(4), FailureCode::TooLarge);
    assert!(outcomes[4].as_ref().unwrap_err().to_string().contains("101 bytes"));
    assert!(labels.next_batch().unwrap()[0].is_err());
    let metrics = labels.metrics();
    assert_eq!((metrics.missing, metrics.truncated), (4, 1));
    assert!(!teacher.seen().texts.contains(&large));
}

#[test]
fn repeated_content_is_asked_once_and_later_epochs_not_at_all() {
    let teacher = Double::start(Limits::default());
    let epoch = vec![["a", "b", "a"].map(request).to_vec(), ["b", "c", "a"].map(request).to_vec()];
    let three = [epoch.clone(), epoch.clone(), epoch].concat();
    let mut labels = start(&teacher, three.clone());
    take_all(&mut labels, &three).unwrap();
    let metrics = labels.metrics();
    assert_eq!(teacher.seen().texts, ["a", "b", "c"]);
    assert_eq!((metrics.asked, metrics.joined + metrics.from_memory), (3, 15));
}

#[test]
fn without_memory_a_later_epoch_asks_again() {
    let teacher = Double::start(Limits::default());
    let settings =
        StreamSettings { memory_bytes: 0, look_ahead: NonZeroUsize::MIN, ..teacher.settings() };
    let two = vec![vec![request("a")]; 2];
    let mut labels =
        SoftLabels::start(settings, fingerprint('a'), two.clone().into_iter()).unwrap();
    take_all(&mut labels, &two).unwrap();
    assert_eq!(teacher.seen().texts, ["a", "a"]);
}

#[test]
fn it_runs_ahead_as_far_as_allowed_and_no_farther() {
    let teacher = Double::start(Limits::default());
    let pulled = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&pulled);
    let requests = batches(100).into_iter().inspect(move |_| {
        counter.fetch_add(1, SeqCst);
    });
    let settings =
        StreamSettings { look_ahead: NonZeroUsize::new(5).unwrap(), ..teacher.settings() };
    let mut labels = SoftLabels::start(settings, fingerprint('a'), requests).unwrap();
    assert!(soon(|| pulled.load(SeqCst) == 5));
    assert!(soon(|| labels.metrics().answered == labels.metrics().asked));
    assert_eq!(pulled.load(SeqCst), 5);
    labels.next_batch().unwrap();
    assert!(soon(|| pulled.load(SeqCst) == 6));
}

#[test]
fn dropping_it_ends_the_stream_at_the_teacher() {
    let teacher = Double::start(Limits::default());
    let mut labels = start(&teacher, batches(1000));
    labels.next_batch().unwrap();
    assert_eq!(teacher.seen().streams_ended, 0);
    drop(labels);
    assert!(soon(|| teacher.seen().streams_ended == 1));
}

#[test]
fn after_the_last_batch_the_student_closes_the_stream_itself() {
    let teacher = Double::start(Limits::default());
    let batches = batches(3);
    let mut labels = start(&teacher, batches.clone());
    take_all(&mut labels, &batches).unwrap();
    assert!(soon(|| teacher.seen().streams_closed == 1));
}

#[test]
fn a_fault_in_the_requests_does_not_hang_the_training() {
    let teacher = Double::start(Limits::default());
    let requests = batches(9).into_iter().enumerate().map(|(i, batch)| {
        assert!(i < 1, "sampler is broken");
        batch
    });
    let mut labels = SoftLabels::start(teacher.settings(), fingerprint('a'), requests).unwrap();
    let ended = (0..3).find_map(|_| labels.next_batch().err()).unwrap();
    assert!(matches!(ended, LabelError::Stopped(_)), "{ended}");
}
