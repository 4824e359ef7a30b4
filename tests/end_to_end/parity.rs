//! Golden parity: what comes out of the stream is what the same model says when called here.

use std::{sync::Arc, thread};

use lectern::{
    data::epoch_batches,
    wire::{Encoding, RowFormat},
};
use student_trainer::labels::{Request, StreamSettings};

use crate::support::{Server, requests, rows_alone, take, texts};

/// The server computes a text beside others than this process does, padded to another length; float32
/// sums over 64 tokens and 32 units then come in another order. Their error is a few times
/// 64 · 2^-24 = 4e-6 of values below 1.
const TOLERANCE: f32 = 1e-5;

/// The place of the first row that is not the expected one.
fn first_difference<'a>(
    rows: impl IntoIterator<Item = &'a Arc<[f32]>>,
    expected: impl IntoIterator<Item = &'a Vec<f32>>,
) -> Option<usize> {
    let differ = |(row, expected): (&Arc<[f32]>, &Vec<f32>)| {
        row.len() != expected.len()
            || !row.iter().zip(expected).all(|(a, b)| (a - b).abs() <= TOLERANCE)
    };
    rows.into_iter().zip(expected).position(differ)
}

/// Shuffled batches of 32, one of them short, as one seed and epoch order them.
fn shuffled(requests: &[Arc<Request>], seed: u64) -> (Vec<usize>, Vec<Vec<Arc<Request>>>) {
    let lengths: Vec<usize> = requests.iter().map(|r| r.text().split(' ').count()).collect();
    let order = epoch_batches(&lengths, 32, seed, 1);
    let batch = |batch: &Vec<usize>| batch.iter().map(|&i| Arc::clone(&requests[i])).collect();
    let batches = order.iter().map(batch).collect();
    (order.concat(), batches)
}

#[test]
fn rows_through_the_server_are_the_models_own_on_several_streams_at_once() {
    let texts = texts(331);
    let expected = rows_alone(&texts);
    let requests = requests(&texts);
    let server = Server::start();
    thread::scope(|scope| {
        for seed in 0..3 {
            let (server, requests, expected) = (&server, &requests, &expected);
            scope.spawn(move || {
                let (order, batches) = shuffled(requests, seed);
                assert!(batches.iter().any(|batch| batch.len() == 331 % 32), "none is short");
                let n = batches.len();
                let rows = take(&mut server.student(batches), n).concat();
                assert_eq!(rows.len(), 331);
                let expected = order.iter().map(|&i| &expected[i]);
                assert_eq!(first_difference(&rows, expected), None, "seed {seed}");
            });
        }
    });
}

#[test]
fn a_row_swapped_on_purpose_is_caught() {
    let texts = texts(40);
    let expected = rows_alone(&texts);
    let server = Server::start();
    let mut rows = take(&mut server.student(vec![requests(&texts)]), 1).remove(0);
    assert_eq!(first_difference(&rows, &expected), None);
    for at in 0..39 {
        rows.swap(at, at + 1);
        assert_eq!(first_difference(&rows, &expected), Some(at), "the swap of {at} went unseen");
        rows.swap(at, at + 1);
    }
}

#[test]
fn float16_rows_stay_within_the_bound_of_the_contract() {
    let requests = requests(&texts(200));
    let server = Server::start();
    let exact = take(&mut server.student(vec![requests.clone()]), 1).concat();
    let settings = StreamSettings {
        format: RowFormat { encoding: Encoding::Float16, ..RowFormat::default() },
        ..StreamSettings::new(server.url(), "half the bytes")
    };
    // The server remembers the rows, so both encodings are of the same values.
    let rounded = take(&mut server.student_with(settings, vec![requests]), 1).concat();
    for (exact, rounded) in exact.iter().zip(&rounded) {
        for (a, b) in exact.iter().zip(rounded.iter()) {
            let bound =
                if a.abs() < 2f32.powi(-14) { 2f32.powi(-25) } else { a.abs() * 2f32.powi(-11) };
            assert!((a - b).abs() <= bound, "{a} became {b}");
        }
    }
    assert_ne!(exact, rounded, "nothing was rounded");
    assert_eq!(server.stop().computed, 200);
}

/// `ln Σ exp(z)`.
fn log_sum_exp(logits: impl Iterator<Item = f32> + Clone) -> f32 {
    let largest = logits.clone().fold(f32::NEG_INFINITY, f32::max);
    largest + logits.map(|z| (z - largest).exp()).sum::<f32>().ln()
}

#[test]
fn top_k_rows_hold_the_largest_logits_exactly_and_the_mass_of_the_rest() {
    let requests = requests(&texts(60));
    let server = Server::start();
    let exact = take(&mut server.student(vec![requests.clone()]), 1).concat();
    for top_k in [1, 2] {
        let settings = StreamSettings {
            format: RowFormat { encoding: Encoding::TopK, top_k, variance: false },
            ..StreamSettings::new(server.url(), "the largest")
        };
        let rows = take(&mut server.student_with(settings, vec![requests.clone()]), 1).concat();
        for (exact, row) in exact.iter().zip(&rows) {
            let mut order: Vec<usize> = (0..exact.len()).collect();
            order.sort_by(|&a, &b| exact[b].total_cmp(&exact[a]));
            let (kept, rest) = order.split_at(top_k);
            for &class in kept {
                assert_eq!(row[class].to_bits(), exact[class].to_bits());
            }
            let mass = |logits: &[f32]| log_sum_exp(rest.iter().map(|&class| logits[class]));
            // Logits below 1 in magnitude, a few roundings of 2^-24 each.
            assert!((mass(row) - mass(exact)).abs() < 1e-6, "{row:?} from {exact:?}");
            assert!(
                rest.iter().all(|&class| row[class].to_bits() == row[rest[0]].to_bits()),
                "{row:?} is not even"
            );
        }
    }
    assert_eq!(server.stop().computed, 60);
}
