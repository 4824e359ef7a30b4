//! Rows that outlive their server.

use std::{path::Path, sync::Arc};

use lectern::wire::{ContentHash, Row};
use teacher_server::{
    serve::{ServeConfig, Verify},
    store::{Store, StoreConfig},
};

use crate::support::{Server, relabelled, requests, take, texts};

/// Rows in `folder` and nowhere else.
fn stored_in(folder: &Path) -> StoreConfig {
    StoreConfig { folder: Some(folder.to_owned()), ..StoreConfig::default() }
}

fn serving(folder: &Path) -> ServeConfig {
    ServeConfig { store: stored_in(folder), ..Server::config() }
}

fn rows_of(server: &Server, n: usize) -> Vec<Arc<[f32]>> {
    take(&mut server.student(vec![requests(&texts(n))]), 1).concat()
}

#[test]
fn a_server_that_comes_back_computes_nothing_again_and_gives_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with(serving(folder.path()));
    let first = rows_of(&server, 60);
    assert_eq!(server.stop().computed, 60);

    let server = Server::with(serving(folder.path()));
    // One batch more than before, in another order: computed anew, bits would differ.
    let again = rows_of(&server, 70);
    assert_eq!(again[..60], first);
    let totals = server.stop();
    assert_eq!((totals.computed, totals.from_disk), (10, 60));
}

#[test]
fn another_teacher_does_not_get_this_ones_rows() {
    let folder = tempfile::tempdir().unwrap();
    let other = relabelled(folder.path(), ["positive", "negative", "neutral"]);
    let rows = folder.path().join("rows");
    let server = Server::with(serving(&rows));
    rows_of(&server, 20);
    server.stop();
    let models = vec![other.as_path().into()];
    let server = Server::with(ServeConfig { models, ..serving(&rows) });
    rows_of(&server, 20);
    let totals = server.stop();
    assert_eq!((totals.computed, totals.from_disk), (20, 0));
}

/// Serves `n` stored rows, each of which is to be verified, and waits until that many were.
fn verified(folder: &Path, n: u64) -> u64 {
    let server = Server::with(ServeConfig {
        verify: Verify { one_in: 1, tolerance: 0.001 },
        http: Some("127.0.0.1:0".to_owned()),
        ..serving(folder)
    });
    rows_of(&server, n as usize);
    let line = format!("lectern_verified_rows_total {n}.0");
    while !server.get("/metrics").lines().any(|found| found == line) {
        std::thread::yield_now();
    }
    let totals = server.stop();
    assert_eq!((totals.computed, totals.verified), (0, n));
    totals.mismatched
}

#[test]
fn stored_rows_are_compared_with_what_the_teacher_computes_now() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with(serving(folder.path()));
    let card = server.card();
    rows_of(&server, 12);
    server.stop();
    assert_eq!(verified(folder.path(), 12), 0);

    let (text, pair) = &texts(1)[0];
    let store = Store::open(&stored_in(folder.path()), &card).unwrap();
    store.insert(vec![Row {
        content: ContentHash::new(text, pair.as_deref()),
        logits: [0.25, 0.5, 99.0].into(),
        variance: None,
        truncated: false,
    }]);
    store.flush();
    drop(store);
    assert_eq!(verified(folder.path(), 12), 1);
}
