//! What a student learns before it trains.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    sync::{Arc, atomic::Ordering::SeqCst},
    thread,
    time::{Duration, Instant},
};

use lectern::wire::Limits;

use super::double::{Double, Manner, fingerprint, free_address};
use crate::labels::{LabelError, TeacherUrl, describe};

fn url(address: std::net::SocketAddr) -> TeacherUrl {
    format!("http://{address}").parse().unwrap()
}

#[test]
fn a_teacher_shows_its_card() {
    let teacher = Double::start(Limits::default());
    let card = describe(&teacher.url(), Duration::ZERO).unwrap();
    assert_eq!(card.fingerprint, fingerprint('a'));
    assert_eq!(card.labels, ["a", "b", "c"]);
}

#[test]
fn nobody_there_is_said_at_once_without_patience() {
    let url = url(free_address());
    let error = describe(&url, Duration::ZERO).unwrap_err();
    let LabelError::Absent { cause, .. } = &error else { panic!("{error}") };
    assert!(cause.to_lowercase().contains("refused"), "{cause}");
    assert!(error.to_string().contains(&url.to_string()));
}

#[test]
fn patience_waits_for_a_teacher_that_starts_late() {
    let address = free_address();
    let late = thread::spawn(move || {
        thread::sleep(Duration::from_millis(150));
        Double::at(address, Limits::default(), |_| Manner::default())
    });
    assert!(describe(&url(address), Duration::from_secs(20)).is_ok());
    drop(late.join().unwrap());
}

#[test]
fn patience_waits_for_a_teacher_that_loads_and_then_ends() {
    let teacher = Double::start(Limits::default());
    teacher.ready.store(false, SeqCst);
    let start = Instant::now();
    let error = describe(&teacher.url(), Duration::from_millis(300)).unwrap_err();
    let LabelError::NotReady { cause, .. } = &error else { panic!("{error}") };
    assert_eq!(cause, "loading the model");
    assert!(start.elapsed() >= Duration::from_millis(300));

    let ready = Arc::clone(&teacher.ready);
    let loading = thread::spawn(move || {
        thread::sleep(Duration::from_millis(100));
        ready.store(true, SeqCst);
    });
    assert!(describe(&teacher.url(), Duration::from_secs(20)).is_ok());
    loading.join().unwrap();
}

#[test]
fn another_kind_of_server_is_named_as_such_in_spite_of_patience() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let error = describe(&url(address), Duration::from_mins(1)).unwrap_err();
    assert!(matches!(error, LabelError::Foreign { .. }), "{error:?}");
}
