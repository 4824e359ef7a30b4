//! What holds when the teacher is wrong, broken or gone.

use std::time::{Duration, Instant};

use lectern::wire::{Answer, Limits, WireError, proto::Rows};
use tonic::{Code, Status};

use super::{
    batches,
    double::{Double, Manner, fingerprint, free_address, soon},
    examples, start, take_all,
};
use crate::labels::{LabelError, SoftLabels, StreamSettings, in_flight::Mismatch};

/// The error with which a run of 20 batches ends.
fn ends_with(teacher: &Double, settings: StreamSettings) -> LabelError {
    let batches = batches(20);
    let mut labels =
        SoftLabels::start(settings, fingerprint('a'), batches.clone().into_iter()).unwrap();
    let error = take_all(&mut labels, &batches).unwrap_err();
    assert!(error.to_string().contains(&teacher.url().to_string()), "{error}");
    error
}

fn tampered(tamper: fn(&mut Vec<Answer>)) -> LabelError {
    let teacher = Double::with(Limits::default(), move |_| Manner { tamper, ..Manner::default() });
    ends_with(&teacher, teacher.settings())
}

fn corrupted(corrupt: fn(&mut Rows)) -> LabelError {
    let teacher = Double::with(Limits::default(), move |_| Manner { corrupt, ..Manner::default() });
    ends_with(&teacher, teacher.settings())
}

#[test]
fn exchanged_ids_are_caught() {
    let error = tampered(|answers| {
        if let [first, second, ..] = &mut answers[..] {
            std::mem::swap(&mut first.id, &mut second.id);
        }
    });
    let LabelError::Mismatch { cause, .. } = error else { panic!("{error}") };
    assert!(matches!(cause, Mismatch::OtherContent { .. }), "{cause}");
}

#[test]
fn exchanged_hashes_are_caught() {
    let error = tampered(|answers| {
        if let [first, second, ..] = &mut answers[..]
            && let (Ok(first), Ok(second)) = (&mut first.outcome, &mut second.outcome)
        {
            std::mem::swap(&mut first.content, &mut second.content);
        }
    });
    let LabelError::Mismatch { cause, .. } = error else { panic!("{error}") };
    assert!(matches!(cause, Mismatch::OtherContent { .. }), "{cause}");
}

#[test]
fn answers_to_nothing_and_second_answers_are_caught() {
    let unknown: fn(&mut Vec<Answer>) = |answers| answers.iter_mut().for_each(|a| a.id += 1 << 40);
    let twice: fn(&mut Vec<Answer>) = |answers| answers.extend(answers.first().cloned());
    for tamper in [unknown, twice] {
        let error = tampered(tamper);
        let LabelError::Mismatch { cause, .. } = error else { panic!("{error}") };
        assert!(matches!(cause, Mismatch::NotInFlight { .. }), "{cause}");
    }
}

#[test]
fn exchanged_values_without_their_checksum_are_caught() {
    let error = corrupted(|rows| rows.values = rows.values.iter().rev().copied().collect());
    assert!(matches!(error, LabelError::Wire { cause: WireError::Checksum { .. }, .. }), "{error}");
}

#[test]
fn rows_with_another_class_count_are_caught() {
    let error = corrupted(|rows| rows.classes = 5);
    assert!(matches!(error, LabelError::Wire { cause: WireError::Classes { .. }, .. }), "{error}");
}

#[test]
fn a_stream_that_breaks_is_resumed_and_every_batch_is_complete() {
    let ends = [
        Err(Status::unavailable("shutting down")),
        Ok(()),
        Err(Status::internal("the device is lost")),
    ];
    let teacher = Double::with(Limits { credits: 40, ..Limits::default() }, move |stream| {
        let ends_after = ends.get(stream).map(|end| (25, end.clone()));
        Manner { ends_after, ..Manner::default() }
    });
    let batches = batches(30);
    let mut labels = start(&teacher, batches.clone());
    take_all(&mut labels, &batches).unwrap();
    let metrics = labels.metrics();
    assert_eq!(metrics.reconnects, 3);
    assert_eq!(metrics.answered, examples(&batches) as u64, "no example was answered twice");
    assert!(teacher.seen().texts.len() > examples(&batches), "the unanswered were sent again");
}

#[test]
fn a_teacher_that_restarts_at_its_address_is_found_again() {
    let quiet = |_| Manner { answers: false, ..Manner::default() };
    let teacher = Double::with(Limits::default(), quiet);
    let (address, settings) = (teacher.address, teacher.settings());
    let batches = batches(10);
    let mut labels =
        SoftLabels::start(settings, fingerprint('a'), batches.clone().into_iter()).unwrap();
    assert!(soon(|| !teacher.seen().texts.is_empty()));
    drop(teacher);
    let _teacher = Double::at(address, Limits::default(), |_| Manner::default());
    take_all(&mut labels, &batches).unwrap();
    assert_eq!(labels.metrics().reconnects, 1);
}

#[test]
fn another_teacher_after_a_break_ends_the_run_with_both_fingerprints() {
    for checks_hello in [true, false] {
        let teacher = Double::with(Limits::default(), move |stream| match stream {
            0 => Manner { ends_after: Some((8, Ok(()))), ..Manner::default() },
            _ => Manner { fingerprint: fingerprint('b'), checks_hello, ..Manner::default() },
        });
        let error = ends_with(&teacher, teacher.settings());
        assert!(matches!(error, LabelError::OtherTeacher { .. }), "{error}");
        let text = error.to_string();
        assert!(
            text.contains(fingerprint('a').as_str()) && text.contains(fingerprint('b').as_str())
        );
    }
}

#[test]
fn a_teacher_that_never_answers_is_given_up_with_the_cause() {
    let silent = |_| Manner { answers: false, ..Manner::default() };
    let teacher = Double::with(Limits::default(), silent);
    let settings = StreamSettings {
        patience: Duration::from_millis(600),
        answer_timeout: Duration::from_millis(100),
        ..teacher.settings()
    };
    let error = ends_with(&teacher, settings);
    let LabelError::GaveUp { waited, cause, .. } = error else { panic!("{error}") };
    assert!(waited >= Duration::from_millis(600), "{waited:?}");
    assert!(cause.contains("none answered within"), "{cause}");
    assert!(teacher.seen().streams_opened > 1, "silence is a reason to try another stream");
}

#[test]
fn a_teacher_that_is_gone_is_given_up_with_the_cause() {
    let teacher = Double::start(Limits::default());
    let settings = StreamSettings { patience: Duration::from_millis(500), ..teacher.settings() };
    let batches = batches(1000);
    let mut labels = SoftLabels::start(settings, fingerprint('a'), batches.into_iter()).unwrap();
    labels.next_batch().unwrap();
    drop(teacher);
    let start = Instant::now();
    let error = (0..1000).find_map(|_| labels.next_batch().err()).unwrap();
    let LabelError::GaveUp { cause, .. } = error else { panic!("{error}") };
    assert!(cause.to_lowercase().contains("refused"), "{cause}");
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn without_patience_a_teacher_that_is_there_is_enough() {
    let teacher = Double::start(Limits::default());
    let settings = StreamSettings { patience: Duration::ZERO, ..teacher.settings() };
    let batches = batches(10);
    let requests = batches.clone().into_iter();
    let mut labels = SoftLabels::start(settings.clone(), fingerprint('a'), requests).unwrap();
    take_all(&mut labels, &batches).unwrap();
    let url = format!("http://{}", free_address()).parse().unwrap();
    let settings = StreamSettings { url, ..settings };
    let mut labels = SoftLabels::start(settings, fingerprint('a'), batches.into_iter()).unwrap();
    let error = labels.next_batch().unwrap_err();
    assert!(matches!(error, LabelError::GaveUp { .. }), "{error}");
}

#[test]
fn what_is_remembered_needs_no_teacher() {
    let teacher = Double::start(Limits::default());
    let epoch = batches(4);
    // No look-ahead into the second epoch before the teacher is gone.
    let settings = StreamSettings {
        look_ahead: std::num::NonZeroUsize::MIN,
        patience: Duration::from_millis(100),
        ..teacher.settings()
    };
    let both = [epoch.clone(), epoch.clone()].concat();
    let mut labels =
        SoftLabels::start(settings, fingerprint('a'), both.clone().into_iter()).unwrap();
    for _ in &epoch {
        labels.next_batch().unwrap();
    }
    drop(teacher);
    std::thread::sleep(Duration::from_millis(200));
    take_all(&mut labels, &epoch).unwrap();
    assert_eq!(labels.metrics().from_memory, examples(&epoch) as u64);
}

#[test]
fn decisions_of_the_teacher_end_the_run_at_once() {
    for status in [
        Status::invalid_argument("encoding"),
        Status::resource_exhausted("over the credits"),
        Status::unimplemented("no such method"),
        Status::failed_precondition("draining"),
    ] {
        let code = status.code();
        let teacher = Double::with(Limits::default(), move |_| Manner {
            ends_after: Some((5, Err(status.clone()))),
            ..Manner::default()
        });
        match ends_with(&teacher, teacher.settings()) {
            LabelError::Refused { code: found, .. } => assert_eq!(found, code),
            LabelError::Foreign { .. } => assert_eq!(code, Code::Unimplemented),
            other => panic!("{other}"),
        }
        assert_eq!(teacher.seen().streams_opened, 1);
    }
}
