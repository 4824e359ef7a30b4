//! What can be served: ensembles, pinned teachers, copies on several devices.

use std::path::Path;

use lectern::{
    models::{Classifier as _, Teacher},
    wire::proto::Hello,
};
use teacher_server::serve::{Listening, ModelSource, ServeConfig, ServeError};
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::support::{
    Raw, Server, block_on, example, fixture, hello, relabelled, requests, rows_alone, take, texts,
};

fn source(folder: &Path, weight: f64) -> ModelSource {
    ModelSource { files: folder.into(), weight }
}

/// The fixture and the same weights with the labels in another order, at 7 to 3.
fn ensemble(folder: &Path, names: [&str; 3]) -> Vec<ModelSource> {
    let other = relabelled(folder, names);
    vec![source(&fixture(), 7.0), source(&other, 3.0)]
}

#[test]
fn an_ensemble_answers_with_the_weighted_mean_by_label_name_and_its_variance() {
    let folder = tempfile::tempdir().unwrap();
    let models = ensemble(folder.path(), ["positive", "negative", "neutral"]);
    let server = Server::with(ServeConfig { models, ..Server::config() });
    let (texts, card) = (texts(8), server.card());
    assert_eq!(card.labels, ["negative", "neutral", "positive"]);
    assert_eq!(card.members, 2);
    let rows = block_on(async {
        let asks = Hello { variance: true, ..hello() };
        let (mut raw, _) = Raw::open(server.channel().await, asks).await.unwrap();
        let asked = texts.iter().zip(0..).map(|((text, _), id)| example(id, text)).collect();
        raw.ask(asked).await;
        raw.collect(8).await
    });
    let alone: Vec<_> = texts.iter().map(|(text, _)| (text.clone(), None)).collect();
    for (id, z) in rows_alone(&alone).iter().enumerate() {
        let row = rows[&(id as u64)].as_ref().unwrap();
        // The second member calls its logits positive, negative, neutral.
        let second = [z[1], z[2], z[0]];
        for c in 0..3 {
            let (a, b) = (f64::from(z[c]), f64::from(second[c]));
            let mean = 0.7 * a + 0.3 * b;
            let variance = 0.7 * (a - mean).powi(2) + 0.3 * (b - mean).powi(2);
            // Another batch composition changes the order of float32 sums.
            assert!((f64::from(row.logits[c]) - mean).abs() < 1e-5);
            let found = f64::from(row.variance.as_ref().unwrap()[c]);
            assert!((found - variance).abs() < 1e-5, "{found} for {variance}");
        }
    }
}

#[test]
fn an_ensembles_rows_are_its_own_and_depend_on_its_weights() {
    let print = |weights: [f64; 2]| {
        let models = weights.map(|weight| source(&fixture(), weight)).to_vec();
        Server::with(ServeConfig { models, ..Server::config() }).card().fingerprint
    };
    let equal = print([1.0, 1.0]);
    assert_eq!(equal, print([2.0, 2.0]));
    assert_ne!(equal, print([1.0, 2.0]));
    assert_ne!(equal, Server::start().card().fingerprint);
}

#[test]
fn members_that_do_not_answer_the_same_question_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let models = ensemble(folder.path(), ["good", "bad", "neutral"]);
    let config = ServeConfig { models, ..Server::config() };
    let refused = block_on(async {
        Listening::bind(config).await.unwrap().serve(CancellationToken::new()).await
    });
    let Err(ServeError::Labels { found, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(found, ["good", "bad", "neutral"]);
}

#[test]
fn a_single_teacher_has_no_variance_to_give() {
    let server = Server::start();
    let asks = Hello { variance: true, ..hello() };
    let refused = block_on(async { Raw::open(server.channel().await, asks).await.unwrap_err() });
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[test]
fn pinned_rows_do_not_depend_on_who_else_asks() {
    let texts = texts(60);
    let server = Server::with(ServeConfig { pinned: true, ..Server::config() });
    let teacher = Teacher::load(&fixture(), tch::Device::Cpu).unwrap();
    assert_ne!(server.card().fingerprint, teacher.fingerprint().unwrap());
    assert_eq!(server.card().labels, teacher.labels().names());
    let rows = take(&mut server.student(vec![requests(&texts)]), 1).concat();
    let expected = rows_alone(&texts);
    for (row, expected) in rows.iter().zip(&expected) {
        assert_eq!(**row, **expected);
    }
    let totals = server.stop();
    assert_eq!((totals.batches, totals.computed), (60, 60));
}

#[test]
fn copies_on_two_devices_share_the_work() {
    let devices = vec![tch::Device::Cpu; 2];
    let config = ServeConfig { devices, max_batch_tokens: Some(64), ..Server::config() };
    let server = Server::with(config);
    let texts = texts(120);
    let rows = take(&mut server.student(vec![requests(&texts)]), 1).concat();
    for (row, expected) in rows.iter().zip(&rows_alone(&texts)) {
        // Another batch composition changes the order of float32 sums.
        assert!(row.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5));
    }
    assert_eq!(server.stop().computed, 120);
}

#[test]
fn passes_beside_each_other_give_pinned_rows_the_bits_of_one_alone() {
    let texts = texts(60);
    let server = Server::with(ServeConfig { threads: 3, pinned: true, ..Server::config() });
    let rows = take(&mut server.student(vec![requests(&texts)]), 1).concat();
    for (row, expected) in rows.iter().zip(&rows_alone(&texts)) {
        assert_eq!(**row, **expected);
    }
    let totals = server.stop();
    assert_eq!((totals.batches, totals.computed), (60, 60));
}

#[test]
fn a_batch_size_is_measured_where_none_is_given() {
    let server = Server::with(ServeConfig { max_batch_tokens: None, ..Server::config() });
    take(&mut server.student(vec![requests(&texts(20))]), 1);
    assert_eq!(server.stop().computed, 20);
}
