//! Graph and forward pass against the reference of `make_text_gcn.py`, and training on a tiny corpus.

use std::{fs, path::Path};

use serde::Deserialize;
use tch::{Device, Tensor};

use super::{
    corpus::{Corpus, Documents},
    graph::Graph,
    model::Gcn,
    train::{TrainingConfig, train},
};

#[derive(Debug, Deserialize)]
struct Reference {
    documents: Vec<String>,
    window: usize,
    vocabulary: Vec<String>,
    adjacency: Vec<Vec<f64>>,
    first: Vec<Vec<f32>>,
    second: Vec<Vec<f32>>,
    logits: Vec<Vec<f32>>,
}

fn reference() -> Reference {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/text_gcn.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn corpus(texts: &[String], min_count: usize) -> Corpus {
    let mut documents = Documents::default();
    for text in texts {
        documents.add(text, None, None);
    }
    Corpus::new(&documents, min_count).unwrap()
}

fn matrix(rows: &[Vec<f32>]) -> Tensor {
    Tensor::from_slice2(rows)
}

#[test]
fn the_adjacency_matrix_is_the_papers() {
    let reference = reference();
    let corpus = corpus(&reference.documents, 1);
    assert_eq!(corpus.vocabulary, reference.vocabulary);
    let graph = Graph::new(&corpus, reference.window).unwrap();
    let mut found = vec![vec![0.0; graph.nodes]; graph.nodes];
    let entries = graph.normalised();
    for ((&row, &column), &value) in entries.rows.iter().zip(&entries.columns).zip(&entries.values)
    {
        assert!(value > 0.0);
        found[row as usize][column as usize] = f64::from(value);
    }
    assert_eq!(found.len(), reference.adjacency.len());
    for (found, expected) in found.iter().flatten().zip(reference.adjacency.iter().flatten()) {
        // Half a unit in the last place of a float32 below 1.
        assert!((found - expected).abs() <= 6e-8, "{found} for {expected}");
    }
}

#[test]
fn the_forward_pass_with_given_weights_is_the_papers() {
    let reference = reference();
    let graph = Graph::new(&corpus(&reference.documents, 1), reference.window).unwrap();
    let gcn = Gcn::with_weights(&graph, matrix(&reference.first), matrix(&reference.second));
    let logits = Vec::<Vec<f32>>::try_from(gcn.unwrap().forward(0.0).unwrap()).unwrap();
    assert_eq!(logits.len(), reference.documents.len());
    for (found, expected) in logits.iter().flatten().zip(reference.logits.iter().flatten()) {
        // A few float32 roundings of values around 1.
        assert!((found - expected).abs() < 1e-5, "{found} for {expected}");
    }
}

#[test]
fn rare_words_have_no_node() {
    let texts = ["good film", "good cast", "film"].map(str::to_owned);
    let corpus = corpus(&texts, 2);
    assert_eq!(corpus.vocabulary, ["film", "good"]);
    assert_eq!(corpus.documents, [vec![1, 0], vec![1], vec![0]]);
    assert_eq!(corpus.longest(), 2);
}

#[test]
fn a_text_that_comes_again_keeps_its_place_and_its_first_label() {
    let mut documents = Documents::default();
    documents.add("a", None, None);
    documents.add("b", Some("c"), Some(1));
    documents.add("a", None, Some(0));
    documents.add("b", Some("c"), Some(0));
    assert_eq!(documents.labels(), [Some(0), Some(1)]);
    assert!(documents.has_label("b", Some("c")) && !documents.has_label("b", None));
}

#[test]
fn labels_spread_from_documents_that_have_them_to_those_that_have_not() {
    // Two words of one label in each; the last two pairs have no label but words that others share.
    let words = [["dull", "bad", "worst", "boring"], ["great", "good", "best", "fun"]];
    let pairs = [(0, 1), (0, 2), (1, 3), (2, 3), (0, 3), (1, 2)];
    let mut documents = Documents::default();
    for (i, (a, b)) in pairs.into_iter().enumerate() {
        for (label, words) in words.iter().enumerate() {
            documents.add(&format!("{} {}", words[a], words[b]), None, (i < 4).then_some(label));
        }
    }
    let corpus = Corpus::new(&documents, 1).unwrap();
    let graph = Graph::new(&corpus, 20).unwrap();
    tch::manual_seed(1);
    let gcn = Gcn::new(&graph, 16, 2, Device::Cpu).unwrap();
    let config = TrainingConfig {
        hidden: 16,
        dropout: 0.0,
        lr: 0.02,
        epochs: 200,
        patience: 50,
        validation: 0.3,
        seed: 1,
    };
    let trained = train(&gcn, documents.labels(), &config).unwrap();
    for (i, row) in trained.logits.chunks(2).enumerate() {
        assert_eq!(row[1] > row[0], i % 2 == 1, "document {i}: {row:?}");
    }
}

#[test]
fn too_few_labelled_documents_are_said_before_training() {
    let mut documents = Documents::default();
    documents.add("one", None, Some(0));
    documents.add("two", None, None);
    let corpus = Corpus::new(&documents, 1).unwrap();
    let gcn = Gcn::new(&Graph::new(&corpus, 20).unwrap(), 2, 2, Device::Cpu).unwrap();
    let config = TrainingConfig {
        hidden: 2,
        dropout: 0.0,
        lr: 0.1,
        epochs: 1,
        patience: 1,
        validation: 0.1,
        seed: 1,
    };
    let message = train(&gcn, documents.labels(), &config).unwrap_err().to_string();
    assert!(message.starts_with("1 labelled documents, of which 1 would be held out"), "{message}");
}
