//! Models against `transformers` and PyTorch, by topic, and what the topics share.

mod bert;
mod families;
mod folders;
mod language_models;
mod relative;
mod serving;
mod student_families;
mod students;

use std::{fs, path::PathBuf};

use serde::Deserialize;
use tch::{Kind, Tensor};

use super::{Arithmetic, TokenBatch};
use crate::{
    testing::{device, tensor_of},
    text::Tokens,
};

/// Largest difference that float32 sums in another order are allowed.
const TOLERANCE: f64 = 1e-4;

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

#[derive(Deserialize)]
struct Expected {
    batches: Vec<ExpectedBatch>,
}

#[derive(Deserialize)]
struct ExpectedBatch {
    name: String,
    #[serde(default)]
    texts: Vec<String>,
    text_pairs: Option<Vec<String>>,
    max_length: Option<usize>,
    input_ids: Vec<Vec<i64>>,
    token_type_ids: Vec<Vec<i64>>,
    attention_mask: Vec<Vec<i64>>,
    logits: Option<Vec<Vec<f64>>>,
    last_hidden_state: Option<Vec<Vec<Vec<f64>>>>,
    mean_pooled: Option<Vec<Vec<f64>>>,
}

impl ExpectedBatch {
    /// What the tokenizer of `transformers` gave, without its padding.
    fn tokens(&self) -> Vec<Tokens> {
        (self.input_ids.iter().zip(&self.token_type_ids).zip(&self.attention_mask))
            .map(|((ids, types), mask)| {
                let length = mask.iter().sum::<i64>() as usize;
                let (ids, type_ids) = (ids[..length].to_vec(), types[..length].to_vec());
                Tokens { ids, type_ids, truncated: false }
            })
            .collect()
    }

    fn width(&self) -> usize {
        self.input_ids[0].len()
    }

    /// As `transformers` padded it.
    fn padded(&self) -> TokenBatch {
        let tokens = self.tokens();
        TokenBatch::padded(&tokens.iter().collect::<Vec<_>>(), self.width()).unwrap()
    }

    /// Compares with the states of tokens; those of padding have no meaning.
    fn assert_hidden(&self, what: &str, found: &Tensor) {
        for (i, expected) in self.last_hidden_state.as_ref().unwrap().iter().enumerate() {
            let length = self.attention_mask[i].iter().sum::<i64>();
            let found = found.get(i as i64).narrow(0, 0, length);
            assert_close(what, &found, &expected[..length as usize]);
        }
    }
}

fn expected(case: &str) -> Vec<ExpectedBatch> {
    let text =
        fs::read_to_string(fixtures().join("bert").join(case).join("expected.json")).unwrap();
    serde_json::from_str::<Expected>(&text).unwrap().batches
}

fn assert_close(what: &str, found: &Tensor, expected: &[Vec<f64>]) {
    let flat: Vec<f64> = expected.concat();
    let expected = tensor_of(&flat).view(found.size().as_slice());
    let difference = (found.to_kind(Kind::Double) - expected).abs().max().double_value(&[]);
    assert!(difference < TOLERANCE, "{what}: differs by {difference}");
}

/// What a teacher can be served with there.
fn arithmetics() -> [Arithmetic; 3] {
    let smallest = if device().is_cuda() { Arithmetic::Float16 } else { Arithmetic::Int8 };
    [Arithmetic::Float32, Arithmetic::BFloat16, smallest]
}

/// Largest difference of a served teacher's logits, of fixtures whose logits have standard deviations of 0.5 and 1.
/// bfloat16 keeps 8 binary digits of a number, int8 7 of the largest of its row, of a weight 6 where the processor
/// adds products in 16 bits, and sums average most of it out.
const fn served_bound(arithmetic: Arithmetic) -> f64 {
    match arithmetic {
        Arithmetic::Float32 => TOLERANCE,
        Arithmetic::Int8 => 0.1,
        _ => 0.05,
    }
}

/// Compares a served teacher's rows with a batch's logits.
fn assert_rows(what: &str, rows: &[Vec<f32>], batch: &ExpectedBatch, bound: f64) {
    for (row, expected) in rows.iter().zip(batch.logits.as_ref().unwrap()) {
        for (found, expected) in row.iter().zip(expected) {
            let difference = (f64::from(*found) - expected).abs();
            assert!(difference < bound, "{what}, {}: off by {difference}", batch.name);
        }
    }
}
