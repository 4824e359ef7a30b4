//! The teacher's forward pass in process: every arithmetic against the pass that training uses, which
//! is PyTorch's own; what a batch of one costs, and what it changes.

#![expect(clippy::print_stdout, reason = "a bench's output is its purpose")]
mod common;
#[expect(dead_code, reason = "the bench `serving` uses the rest")]
#[path = "serving/headlines.rs"]
mod headlines;
#[path = "serving/machine.rs"]
mod machine;
#[expect(dead_code, reason = "the bench `serving` uses the rest")]
#[path = "serving/models.rs"]
mod models;

use std::time::Instant;

use anyhow::Result;
use common::{cores, measure, median, peak_flops, write};
use lectern::{
    models::{Arithmetic, Classifier as _, Teacher, TokenBatch},
    text::Tokens,
};
use tch::Device;

use crate::{headlines::Headlines, models::BERT_BASE};

/// Headlines in one turn, and turns of each arm, taken alternately after one to warm up.
const HEADLINES: usize = 96;
const TURNS: usize = 5;
/// Examples in a batch; the first is the pass of pinned rows.
const BATCHES: [usize; 4] = [1, 4, 16, 64];

/// A teacher and its examples a second, by batch size and turn.
struct Arm {
    name: &'static str,
    teacher: Teacher,
    rates: [Vec<f64>; BATCHES.len()],
}

fn main() -> Result<()> {
    let threads = cores();
    tch::set_num_threads(threads as i32);
    let peak = peak_flops();
    machine::print(threads, peak);
    let folder = BERT_BASE.folder()?;
    let served = |name, arithmetic| {
        let teacher = Teacher::load_for_serving(&folder, Device::Cpu, arithmetic)?;
        anyhow::Ok(Arm { name, teacher, rates: Default::default() })
    };
    let trained = Teacher::load(&folder, Device::Cpu)?;
    let mut arms = [
        Arm { name: "trained", teacher: trained, rates: Default::default() },
        served("float32", Arithmetic::Float32)?,
        served("bfloat16", Arithmetic::BFloat16)?,
        served("int8", Arithmetic::Int8)?,
    ];

    let tokens = sorted(&arms[0].teacher)?;
    for turn in 0..=TURNS {
        for (place, size) in BATCHES.into_iter().enumerate() {
            for arm in &mut arms {
                let start = Instant::now();
                rows(&arm.teacher, &tokens, size)?;
                if turn > 0 {
                    arm.rates[place].push(tokens.len() as f64 / start.elapsed().as_secs_f64());
                }
            }
        }
    }

    let mut measures = Vec::new();
    let mut say = |metric: String, value: f64, unit: &str| {
        measures.push(measure(&metric, value, unit, None));
    };
    let fastest = |arm: &Arm| arm.rates.iter().map(|r| median(r)).fold(0.0, f64::max);
    let yardstick = fastest(&arms[0]);
    for arm in &arms {
        let name = arm.name;
        for (size, rates) in BATCHES.into_iter().zip(&arm.rates) {
            say(format!("{name}_batch_{size}"), median(rates), "examples/s");
        }
        say(format!("{name}_vs_trained"), fastest(arm) / yardstick, "ratio");
        say(format!("{name}_pinned_cost"), median(&arm.rates[0]) / fastest(arm), "ratio");
        let alone = rows(&arm.teacher, &tokens, 1)?;
        let change = |size| anyhow::Ok(largest(&alone, &rows(&arm.teacher, &tokens, size)?));
        say(format!("{name}_alone_vs_batches_of_16"), change(16)?, "logit");
        say(format!("{name}_alone_vs_batches_of_64"), change(64)?, "logit");
        say(format!("{name}_twice_alone"), change(1)?, "logit");
        let equal = largest(&alone, &rows_of_equal_length(&arm.teacher, &tokens)?);
        say(format!("{name}_alone_vs_equal_lengths"), equal, "logit");
    }
    let batch = TokenBatch::new(&tokens.iter().collect::<Vec<_>>(), Device::Cpu)?;
    let width = batch.lengths.iter().max().copied().unwrap_or(1);
    let per_token = arms[0].teacher.flops(&batch) / (width * tokens.len()) as f64;
    let mean = tokens.iter().map(Tokens::len).sum::<usize>() as f64 / tokens.len() as f64;
    say("float32_share_of_peak".to_owned(), fastest(&arms[1]) * mean * per_token / peak, "ratio");
    write("forward", &measures)
}

/// Headlines as tokens, the shortest first.
fn sorted(teacher: &Teacher) -> Result<Vec<Tokens>> {
    let texts = Headlines::seeded(1).take(HEADLINES);
    let mut tokens = texts
        .iter()
        .map(|text| teacher.tokenizer().encode(text, None))
        .collect::<Result<Vec<_>, _>>()?;
    tokens.sort_by_key(Tokens::len);
    Ok(tokens)
}

fn rows(teacher: &Teacher, tokens: &[Tokens], size: usize) -> Result<Vec<Vec<f32>>> {
    let mut rows = Vec::new();
    for batch in tokens.chunks(size) {
        rows.extend(teacher.predict(&batch.iter().collect::<Vec<_>>())?);
    }
    Ok(rows)
}

/// Nothing is padded, so nothing but the number of examples differs from a pass of one.
fn rows_of_equal_length(teacher: &Teacher, tokens: &[Tokens]) -> Result<Vec<Vec<f32>>> {
    let mut rows = Vec::new();
    for batch in tokens.chunk_by(|a, b| a.len() == b.len()) {
        rows.extend(teacher.predict(&batch.iter().collect::<Vec<_>>())?);
    }
    Ok(rows)
}

/// Largest difference of a logit.
fn largest(a: &[Vec<f32>], b: &[Vec<f32>]) -> f64 {
    let pairs = a.iter().flatten().zip(b.iter().flatten());
    pairs.map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max)
}
