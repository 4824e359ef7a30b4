//! The whole way over a real socket, against a teacher that can be told to fail.

mod describing;
mod double;
mod faults;
mod streaming;

use std::sync::Arc;

use super::{LabelError, Outcome, Request, SoftLabels};
use double::{Double, fingerprint, row_of};

fn request(text: &str) -> Arc<Request> {
    Arc::new(Request::new(text.to_owned(), None))
}

/// `count` batches of uneven sizes with distinct texts, some of them pairs, the last one short.
fn batches(count: usize) -> Vec<Vec<Arc<Request>>> {
    let sizes = (0..count).map(|i| if i + 1 == count { 1 } else { 5 + i * 7 % 11 });
    let batch = |(i, size)| {
        let pair = |j| (j % 3 == 0).then(|| format!("pair {j}"));
        (0..size).map(|j| Arc::new(Request::new(format!("text {i} {j}"), pair(j)))).collect()
    };
    sizes.enumerate().map(batch).collect()
}

fn examples(batches: &[Vec<Arc<Request>>]) -> usize {
    batches.iter().map(Vec::len).sum()
}

fn expected(request: &Request) -> Arc<[f32]> {
    row_of(request.text(), request.text_pair()).into()
}

fn start(teacher: &Double, batches: Vec<Vec<Arc<Request>>>) -> SoftLabels {
    SoftLabels::start(teacher.settings(), fingerprint('a'), batches.into_iter()).unwrap()
}

/// Takes all batches; every outcome must be the row of the text at its position.
fn take_all(labels: &mut SoftLabels, batches: &[Vec<Arc<Request>>]) -> Result<(), LabelError> {
    for batch in batches {
        let wanted: Vec<Outcome> = batch.iter().map(|request| Ok(expected(request))).collect();
        assert_eq!(labels.next_batch()?, wanted);
    }
    assert!(matches!(labels.next_batch(), Err(LabelError::Exhausted)));
    Ok(())
}
