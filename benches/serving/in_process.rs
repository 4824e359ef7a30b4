//! What gRPC, batching and tokenising cost: unsorted headlines over gRPC with nothing stored, against
//! the same teacher called in a loop over length-sorted batches that were tokenised beforehand.

use std::time::Instant;

use anyhow::Result;
use lectern::{
    models::{Arithmetic, Classifier as _, Teacher},
    text::Tokens,
};
use serde_json::Value;

use crate::{
    Bench,
    common::{median, peak_flops},
    headlines::Headlines,
    machine::flops_per_headline,
    measures::{at_least, at_most, median_ratio, plain},
    models::MINI,
    server::{Server, Task},
    students::{deal, label},
};

const BATCH: usize = 64;
/// In one turn.
const HEADLINES: usize = 1152;

pub(crate) fn run(bench: &Bench) -> Result<Vec<Value>> {
    let n = bench.few(HEADLINES);
    let model = MINI.folder()?;
    let arithmetic = Arithmetic::Float32;
    let teacher = Teacher::load_for_serving(&model, tch::Device::Cpu, arithmetic)?;
    let server = Server::start(&Task::cold(model, bench.threads))?;
    let mut headlines = Headlines::fresh();
    let (mut alone, mut one, mut three, mut peaks) = (vec![], vec![], vec![], vec![]);
    for turn in 0..=bench.turns {
        let mut over_grpc = |students: usize| -> Result<f64> {
            let texts = deal(&headlines.take(n), students);
            let taken = label(server.url(), server.fingerprint(), texts)?;
            Ok(n as f64 / taken.as_secs_f64())
        };
        let rates = (over_grpc(1)?, over_grpc(3)?, in_process(&teacher, &headlines.take(n))?);
        // The first turn warms up.
        if turn > 0 {
            one.push(rates.0);
            three.push(rates.1);
            alone.push(rates.2);
            peaks.push(peak_flops() / flops_per_headline(MINI));
        }
    }
    println!("{MINI}, {n} headlines a turn");
    println!("examples/s: in process {alone:.0?}, 1 student {one:.0?}, 3 students {three:.0?}");
    let padding = server.stop()?.padding_share;
    let (one, three) = (median_ratio(&one, &alone), median_ratio(&three, &alone));
    let share = median_ratio(&alone, &peaks);
    Ok(vec![
        at_least("grpc_vs_in_process", one.min(three), "ratio", 0.95),
        at_least("grpc_vs_in_process_1_student", one, "ratio", 0.95),
        at_least("grpc_vs_in_process_3_students", three, "ratio", 0.95),
        plain("in_process_examples_per_second", median(&alone), "examples/s"),
        plain("in_process_share_of_peak", share, "ratio"),
        at_most("padding_share", padding, "ratio", 0.05),
    ])
}

/// Examples a second of the loop that the server is compared with; tokenising is not counted.
fn in_process(teacher: &Teacher, texts: &[String]) -> Result<f64> {
    let encode = |text: &String| teacher.tokenizer().encode(text, None);
    let mut tokens: Vec<Tokens> = texts.iter().map(encode).collect::<Result<_, _>>()?;
    tokens.sort_by_key(Tokens::len);
    let start = Instant::now();
    for batch in tokens.chunks(BATCH) {
        teacher.predict(&batch.iter().collect::<Vec<_>>())?;
    }
    Ok(texts.len() as f64 / start.elapsed().as_secs_f64())
}
