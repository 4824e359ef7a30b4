//! The BiLSTM against PyTorch: the original's training step, and labelling with the paper's beside a BERT-large.
//!
//! `cargo xtask bench student` makes the Python environment and passes it in `LECTERN_BENCH_PYTHON`.

#![expect(clippy::print_stdout, reason = "a bench's output is its purpose")]
#[path = "../common/mod.rs"]
mod common;
#[path = "../common/lengths.rs"]
mod lengths;

mod inference;
mod peer;
mod step;

use std::env;

use anyhow::{Context as _, Result};

fn main() -> Result<()> {
    let python = env::var("LECTERN_BENCH_PYTHON")
        .context("set LECTERN_BENCH_PYTHON, or run `cargo xtask bench student`")?;
    let threads = common::cores();
    tch::set_num_threads(threads as i32);
    println!("{threads} threads, matrix-product peak {:.0} GFLOP/s", common::peak_flops() / 1e9);
    let mut measures = step::run(&python, threads)?;
    measures.extend(inference::run(&python, threads)?);
    common::write("student", &measures)
}
