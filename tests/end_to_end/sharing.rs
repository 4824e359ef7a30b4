//! Several students of one teacher: they share its work and do not stand in each other's way.

use std::{sync::Arc, thread};

use student_trainer::labels::{Request, StreamSettings};
use teacher_server::{serve::ServeConfig, store::StoreConfig};

use crate::support::{Raw, Server, block_on, example, hello, requests, take, texts};

/// Rows without any memory of the student's own, so that each epoch asks the teacher again.
fn forgetful(server: &Server) -> StreamSettings {
    StreamSettings { memory_bytes: 0, ..StreamSettings::new(server.url(), "forgetful") }
}

#[test]
fn a_sentence_is_computed_once_however_many_students_and_epochs_ask() {
    let mut texts = texts(150);
    let distinct = texts.len() as u64;
    // Sentences also repeat within an epoch.
    texts.extend_from_within(..30);
    let requests = requests(&texts);
    let server = Server::start();
    let asked: u64 = thread::scope(|scope| {
        let student = |_| {
            scope.spawn(|| {
                let epoch: Vec<Vec<Arc<Request>>> =
                    requests.chunks(16).map(<[_]>::to_vec).collect();
                let batches = [epoch.clone(), epoch].concat();
                let n = batches.len();
                let mut labels = server.student_with(forgetful(&server), batches);
                assert_eq!(take(&mut labels, n).concat().len(), 360);
                labels.metrics().asked
            })
        };
        let students: Vec<_> = (0..3).map(student).collect();
        students.into_iter().map(|student| student.join().unwrap()).sum()
    });
    let totals = server.stop();
    assert_eq!(totals.computed, distinct);
    assert_eq!(totals.answered, asked);
    assert_eq!(totals.joined + totals.from_memory, asked - distinct);
    assert!(totals.batches > 1);
}

#[test]
fn without_a_store_every_row_is_computed_anew() {
    let config = ServeConfig { store: StoreConfig::default(), ..Server::config() };
    let server = Server::with(config);
    let requests = requests(&texts(20));
    for _ in 0..2 {
        take(&mut server.student(vec![requests.clone()]), 1);
    }
    let totals = server.stop();
    assert_eq!((totals.computed, totals.from_memory), (40, 0));
}

#[test]
fn a_student_that_does_not_read_holds_up_nobody_and_loses_nothing() {
    let server = Server::start();
    let credits = server.card().limits.credits;
    let texts = texts(credits);
    block_on(async {
        // A window of 1 KiB is full after some 30 rows; the rest has to wait at the server.
        let endpoint = server.endpoint().initial_stream_window_size(1024);
        let channel = endpoint.connect().await.unwrap();
        let (mut deaf, _) = Raw::open(channel, hello()).await.unwrap();
        let all = texts.iter().zip(0..).map(|((text, _), id)| example(id, text)).collect();
        deaf.ask(all).await;
        // One answer shows that all were taken; from here on this thread reads nothing.
        let early = deaf.answers().await.unwrap().len();

        let requests = requests(&texts);
        let (server, other) = (&server, requests.chunks(64).map(<[_]>::to_vec).collect::<Vec<_>>());
        let n = other.len();
        let others_rows = thread::scope(|scope| {
            let other = scope.spawn(move || take(&mut server.student(other), n).concat().len());
            other.join().unwrap()
        });
        assert_eq!(others_rows, credits);

        let late = deaf.collect(credits - early).await;
        assert!(late.values().all(Result::is_ok));
    });
}

#[test]
fn a_student_that_leaves_with_examples_in_flight_does_not_disturb_the_others() {
    let config = ServeConfig { max_batch_tokens: Some(1), ..Server::config() };
    let server = Server::with(config);
    let texts = texts(60);
    block_on(async {
        let (mut leaver, _) = Raw::open(server.channel().await, hello()).await.unwrap();
        let all = texts.iter().zip(0..).map(|((text, _), id)| example(id, text)).collect();
        leaver.ask(all).await;
        // One answer shows that all are in flight; batches of one leave most of them there.
        leaver.answers().await.unwrap();
    });
    assert_eq!(take(&mut server.student(vec![requests(&texts)]), 1).concat().len(), 60);
    server.stop();
}
