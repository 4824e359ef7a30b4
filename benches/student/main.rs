//! Students: the BiLSTM's training step, and labelling with the paper's BiLSTM beside a BERT-large, both against PyTorch;
//! and `student-trainer predict` over many rows.
//!
//! `cargo xtask bench student` makes the Python environment and passes it in `LECTERN_BENCH_PYTHON`.

#![expect(clippy::print_stdout, reason = "a bench's output is its purpose")]
#[path = "../common/mod.rs"]
mod common;
#[expect(dead_code, reason = "the bench `serving` uses the rest")]
#[path = "../common/headlines.rs"]
mod headlines;
#[path = "../common/lengths.rs"]
mod lengths;
#[path = "../common/roles.rs"]
mod roles;
#[path = "../common/sections.rs"]
mod sections;
#[path = "../common/status.rs"]
mod status;

mod frequencies;
mod inference;
mod peer;
mod predict;
mod step;
mod student;

use std::env;

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum};
use serde_json::Value;

use sections::Sections;

/// Measures students; writes `target/bench/student.json`.
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    sections: Sections<Section>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Section {
    /// Training steps, ours and PyTorch's in turn
    Step,
    /// Labelling beside a BERT-large of PyTorch
    Inference,
    /// `student-trainer predict` with one thread and with all cores
    Predict,
}

fn main() -> Result<()> {
    if let Some(role) = env::args().nth(1).and_then(|word| roles::Role::of(&word)) {
        return role.play();
    }
    let args = Args::parse();
    let threads = common::cores();
    tch::set_num_threads(threads as i32);
    println!("{threads} threads, matrix-product peak {:.0} GFLOP/s", common::peak_flops() / 1e9);
    let quick = args.sections.quick;
    let measures = args.sections.run(|section| section.run(threads, quick))?;
    common::write("student", &measures)
}

impl Section {
    fn run(self, threads: usize, quick: bool) -> Result<Vec<Value>> {
        match self {
            Self::Step => step::run(&python()?, threads, quick),
            Self::Inference => inference::run(&python()?, threads, quick),
            Self::Predict => predict::run(threads, quick),
        }
    }
}

fn python() -> Result<String> {
    env::var("LECTERN_BENCH_PYTHON")
        .context("set LECTERN_BENCH_PYTHON, or run `cargo xtask bench student`")
}
