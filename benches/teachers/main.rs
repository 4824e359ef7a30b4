//! Fine-tuning against PyTorch: the speed of a training step, and what the teachers come to.
//!
//! `cargo xtask bench teachers -- --tnews DIR --encoder DIR` makes the Python environment of the peer and passes its
//! interpreter in `LECTERN_BENCH_PYTHON`. Nothing is downloaded here: data and encoders are given.

#![expect(clippy::print_stdout, reason = "a bench's output is its purpose")]
#[path = "../common/mod.rs"]
mod common;
#[path = "../common/sections.rs"]
mod sections;

mod accuracy;
mod pytorch;
mod speed;
mod tnews;

use std::{env, path::PathBuf};

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum};

use sections::Sections;
use tnews::Tnews;

/// Measures fine-tuning; writes `target/bench/teachers.json`.
#[derive(Parser)]
struct Args {
    /// Folder with `train.json` and `test_unseen.json` of the TNEWS subset: arrays of {"text", "label"}
    #[arg(long, value_name = "DIR")]
    tnews: PathBuf,
    /// Hugging Face folder of the encoder for it
    #[arg(long, value_name = "DIR")]
    encoder: PathBuf,
    /// Folder with `train.tsv` and `dev.tsv` of SST-2 sentences
    #[arg(long, value_name = "DIR", requires = "english_encoder")]
    sst2: Option<PathBuf>,
    /// Encoder for SST-2 and how many of its layers are trained, as DIR or DIR=LAYERS; may be given several times
    #[arg(long, value_name = "DIR[=LAYERS]")]
    english_encoder: Vec<String>,
    #[command(flatten)]
    sections: Sections<Section>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Section {
    /// Training steps, ours and PyTorch's in turn
    Speed,
    /// The whole recipe on TNEWS, ours and PyTorch's
    Tnews,
    /// The teachers of SST-2
    Sst2,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let python = env::var("LECTERN_BENCH_PYTHON")
        .context("set LECTERN_BENCH_PYTHON, or run `cargo xtask bench teachers`")?;
    let threads = common::cores();
    tch::set_num_threads(threads as i32);
    println!("{threads} threads, matrix-product peak {:.0} GFLOP/s", common::peak_flops() / 1e9);
    let tnews = Tnews::prepare(&args.tnews, args.sections.quick)?;
    let quick = args.sections.quick;
    let measures = args.sections.run(|section| match section {
        Section::Speed => speed::run(&args.encoder, &tnews, &python, threads, quick),
        Section::Tnews => accuracy::tnews(&args.encoder, &tnews, &python, threads),
        Section::Sst2 => match &args.sst2 {
            None => Ok(Vec::new()),
            Some(data) => accuracy::sst2(data, &args.english_encoder, threads),
        },
    })?;
    common::write("teachers", &measures)
}
