//! The teacher's forward pass in process: every arithmetic against the pass that training uses, which
//! is PyTorch's own; what a batch of one costs, and what it changes.

#![expect(clippy::print_stdout, reason = "a bench's output is its purpose")]
mod common;
#[expect(dead_code, reason = "the bench `serving` uses the rest")]
#[path = "common/headlines.rs"]
mod headlines;
#[path = "common/lengths.rs"]
mod lengths;
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
/// How length-sorted examples are cut into batches.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Cut {
    Examples(usize),
    /// As the server does: as many examples as are no more tokens than this, padding included.
    Tokens(usize),
    /// Nothing is padded, so that nothing but the number of examples differs from a pass of one.
    EqualLengths,
}

/// The first is the pass of pinned rows, the next two are what a loop in PyTorch does.
const CUTS: [(&str, Cut); 8] = [
    ("1_example", Cut::Examples(1)),
    ("16_examples", Cut::Examples(16)),
    ("64_examples", Cut::Examples(64)),
    ("128_tokens", Cut::Tokens(128)),
    ("256_tokens", Cut::Tokens(256)),
    ("512_tokens", Cut::Tokens(512)),
    ("1024_tokens", Cut::Tokens(1024)),
    ("equal_lengths", Cut::EqualLengths),
];
const LOOPS: [usize; 2] = [1, 2];

/// A teacher and its examples a second, by cut and turn.
struct Arm {
    name: &'static str,
    teacher: Teacher,
    rates: [Vec<f64>; CUTS.len()],
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
        for (place, (_, cut)) in CUTS.into_iter().enumerate() {
            for arm in &mut arms {
                let start = Instant::now();
                rows(&arm.teacher, &tokens, cut)?;
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
    let fastest = |arm: &Arm| arm.rates.iter().map(|rates| median(rates)).fold(0.0, f64::max);
    let loops = LOOPS.map(|place| median(&arms[0].rates[place]));
    let yardstick = loops.into_iter().fold(0.0, f64::max);
    for arm in &arms {
        let name = arm.name;
        let alone = rows(&arm.teacher, &tokens, CUTS[0].1)?;
        for ((cut_name, cut), rates) in CUTS.into_iter().zip(&arm.rates) {
            say(format!("{name}_{cut_name}"), median(rates), "examples/s");
            let change = largest(&alone, &rows(&arm.teacher, &tokens, cut)?);
            say(format!("{name}_{cut_name}_vs_alone"), change, "logit");
        }
        say(format!("{name}_vs_trained"), fastest(arm) / yardstick, "ratio");
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

/// One row for each of `tokens`, which are sorted.
fn rows(teacher: &Teacher, tokens: &[Tokens], cut: Cut) -> Result<Vec<Vec<f32>>> {
    let mut rest = tokens;
    let mut rows = Vec::with_capacity(tokens.len());
    while !rest.is_empty() {
        let fits = |n: &usize| match cut {
            Cut::Examples(most) => *n <= most,
            Cut::Tokens(most) => n * rest[n - 1].len() <= most,
            Cut::EqualLengths => rest[n - 1].len() == rest[0].len(),
        };
        let size = (1..=rest.len()).take_while(fits).last().unwrap_or(1);
        let (batch, later) = rest.split_at(size);
        rows.extend(teacher.predict(&batch.iter().collect::<Vec<_>>())?);
        rest = later;
    }
    Ok(rows)
}

/// Largest difference of a logit.
fn largest(a: &[Vec<f32>], b: &[Vec<f32>]) -> f64 {
    let pairs = a.iter().flatten().zip(b.iter().flatten());
    pairs.map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max)
}
