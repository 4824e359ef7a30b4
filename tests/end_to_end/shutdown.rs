//! How a server ends, and what students make of it.

use std::{num::NonZeroUsize, sync::mpsc, time::Duration};

use student_trainer::labels::{LabelError, SoftLabels, StreamSettings};
use teacher_server::serve::ServeConfig;
use tonic::Code;

use crate::support::{
    Raw, Server, block_on, example, hello, relabelled, requests, rows_alone, take, teacher, texts,
};

#[test]
fn examples_in_flight_are_answered_before_the_server_ends() {
    // Batches of one, so that most examples are still in flight when the first is answered.
    let server = Server::with(ServeConfig { max_batch_tokens: Some(1), ..Server::config() });
    let texts = texts(200);
    let (in_flight, status) = block_on(async {
        let (mut raw, _) = Raw::open(server.channel().await, hello()).await.unwrap();
        let all = texts.iter().zip(0..).map(|((text, _), id)| example(id, text)).collect();
        raw.ask(all).await;
        // All examples of a message enter the queue together, so one answer shows that all did.
        let before = raw.answers().await.unwrap().len();
        server.begin_to_stop();
        let after = raw.collect(200 - before).await;
        assert!(after.values().all(Result::is_ok));
        (after.len(), raw.status().await)
    });
    assert!(in_flight > 0);
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    let totals = server.stop();
    assert_eq!((totals.answered, totals.computed), (200, 200));
}

#[test]
fn students_that_ask_nothing_do_not_hold_up_the_end() {
    let server = Server::start();
    block_on(async {
        let (mut idle, _) = Raw::open(server.channel().await, hello()).await.unwrap();
        let mut silent = Raw::silent(server.channel().await).await;
        server.begin_to_stop();
        assert_eq!(idle.status().await.code(), Code::Unavailable);
        assert_eq!(silent.status().await.code(), Code::Unavailable);
    });
    assert_eq!(server.stop().answered, 0);
}

#[test]
fn a_student_that_takes_no_answers_is_dropped_after_the_drain_time() {
    let drain = Duration::from_millis(50);
    let server = Server::with(ServeConfig { drain, ..Server::config() });
    let texts = texts(500);
    block_on(async {
        // A window of 1 KiB is full after some 30 rows; the other answers cannot leave.
        let endpoint = server.endpoint().initial_stream_window_size(1024);
        let (mut deaf, _) = Raw::open(endpoint.connect().await.unwrap(), hello()).await.unwrap();
        let all = texts.iter().zip(0..).map(|((text, _), id)| example(id, text)).collect();
        deaf.ask(all).await;
        deaf.answers().await.unwrap();
        assert!(server.stop().answered > 0);
    });
}

/// A student with two batches of 40, whose teacher goes after the first. The second is not asked for
/// before `back` is serving at the same address.
fn interrupted(first: ServeConfig, back: ServeConfig) -> (SoftLabels, Server) {
    // Until it asks again the student answers nothing, not even a goodbye.
    let server = Server::with(ServeConfig { drain: Duration::from_millis(50), ..first });
    let settings = StreamSettings {
        look_ahead: NonZeroUsize::MIN,
        ..StreamSettings::new(server.url(), "interrupted")
    };
    let requests = requests(&texts(80));
    let (allow, allowed) = mpsc::channel();
    allow.send(()).unwrap();
    let batches = (0..2).map(move |i| {
        allowed.recv().unwrap();
        requests[40 * i..40 * (i + 1)].to_vec()
    });
    let mut labels = SoftLabels::start(settings, server.card().fingerprint, batches).unwrap();
    assert_eq!(take(&mut labels, 1).concat().len(), 40);
    let address = server.address().to_string();
    server.stop();
    let server = Server::with(ServeConfig { listen: address, ..back });
    allow.send(()).unwrap();
    (labels, server)
}

#[test]
fn a_student_goes_on_where_it_was_when_its_teacher_comes_back() {
    let (mut labels, _server) = interrupted(Server::config(), Server::config());
    let rows = take(&mut labels, 1).concat();
    let expected = rows_alone(&texts(80));
    assert_eq!(rows.len(), 40);
    for (row, expected) in rows.iter().zip(&expected[40..]) {
        // Another batch composition changes the order of float32 sums.
        assert!(row.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5));
    }
    assert!(labels.metrics().reconnects > 0);
}

#[test]
fn a_student_stops_when_another_teacher_comes_in_its_teachers_place() {
    let folder = tempfile::tempdir().unwrap();
    let model = relabelled(folder.path(), ["positive", "negative", "neutral"]);
    let (mut labels, server) = interrupted(
        Server::config(),
        ServeConfig { models: vec![model.as_path().into()], ..Server::config() },
    );
    let LabelError::OtherTeacher { expected, found, .. } = labels.next_batch().unwrap_err() else {
        panic!("another teacher's rows were taken");
    };
    assert_eq!(found, server.card().fingerprint);
    assert_eq!(expected, teacher().fingerprint().unwrap());
}
