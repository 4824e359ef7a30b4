//! Labelling with the BiLSTM of Tang et al. 2019 beside a BERT-large of PyTorch, both random, on the same lengths in
//! length-sorted batches. The paper's ratio is 434, on a V100.

use std::time::Instant;

use anyhow::Result;
use lectern::{
    models::{Classifier as _, Student},
    text::Tokens,
};
use serde_json::Value;
use tch::Device;

use crate::{
    common::{measure, median},
    lengths::{headline_lengths, scramble},
    peer::PyTorch,
    student::run_folder,
};

/// Words of the student: 0.96 million parameters are of the layers, the table comes on top.
const WORDS: u64 = 16_000;
/// Sentences of a turn of BERT-large, and how often the student labels as many in one of its own.
const SENTENCES: usize = 32;
const TIMES: usize = 500;
/// Of BERT-large; on a CPU 16 sorted sentences are as good as more.
const BATCH: usize = 16;
const TURNS: usize = 5;

pub(crate) fn run(python: &str, threads: usize, quick: bool) -> Result<Vec<Value>> {
    let turns = if quick { 1 } else { TURNS };
    // With the two special tokens that BERT adds.
    let lengths: Vec<usize> = headline_lengths(SENTENCES).iter().map(|n| n + 2).collect();
    let listed = lengths.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
    let arguments = [threads.to_string(), BATCH.to_string(), listed];
    let mut theirs = PyTorch::start(python, "bert_large.py", &arguments)?;
    let student = Student::load(run_folder(WORDS)?.path(), Device::Cpu)?;
    let sentences = sentences(&lengths);
    // Warm-up.
    theirs.turn()?;
    label(&student, &sentences)?;
    let (mut rates, mut peer_rates) = (Vec::new(), Vec::new());
    for _ in 0..turns {
        rates.push(sentences.len() as f64 / label(&student, &sentences)?);
        peer_rates.push(SENTENCES as f64 / theirs.turn()?);
    }
    let ratios: Vec<f64> = rates.iter().zip(&peer_rates).map(|(a, b)| a / b).collect();
    println!("sentences/s, the paper's BiLSTM {rates:.0?}, BERT-large {peer_rates:.2?}");
    Ok(vec![
        measure("bilstm_inference_vs_bert_large", median(&ratios), "ratio", Some(434.0)),
        measure("bilstm_sentences_per_second", median(&rates), "sentences/s", None),
        measure("bert_large_sentences_per_second", median(&peer_rates), "sentences/s", None),
    ])
}

/// Sentences of these lengths, many times over, each of other words, sorted by length.
fn sentences(lengths: &[usize]) -> Vec<Tokens> {
    let mut lengths = lengths.repeat(TIMES);
    lengths.sort_unstable();
    let id = |i: usize, t: usize| (scramble((i * 64 + t) as u64) % WORDS) as i64;
    let sentence = |(i, &length): (usize, &usize)| Tokens {
        ids: (0..length).map(|t| id(i, t)).collect(),
        type_ids: vec![0; length],
        truncated: false,
    };
    lengths.iter().enumerate().map(sentence).collect()
}

/// Seconds to label all of them, in batches as large as the student wants them.
fn label(student: &Student, sentences: &[Tokens]) -> Result<f64> {
    let start = Instant::now();
    let mut rest = sentences;
    while !rest.is_empty() {
        let fits = |n: &usize| n * rest[n - 1].len() <= student.batch_tokens();
        let size = (1..=rest.len()).take_while(fits).last().unwrap_or(1);
        let (batch, later) = rest.split_at(size);
        student.predict(&batch.iter().collect::<Vec<_>>())?;
        rest = later;
    }
    Ok(start.elapsed().as_secs_f64())
}
