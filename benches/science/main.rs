//! Whether distillation helps: students alone and distilled, under several seeds, on real data.
//!
//! `cargo xtask bench science -- --data DIR --teacher DIR`, both given once for each data set. Runs that are finished are
//! used again with `--resume`.

#![expect(clippy::print_stdout, reason = "a bench's output is its purpose")]
#[path = "../common/mod.rs"]
mod common;
#[path = "../common/roles.rs"]
mod roles;

mod data;
mod experiments;
mod results;
mod teacher;

use std::{env, path::PathBuf};

use anyhow::{Result, ensure};
use clap::Parser;

use data::DataSet;

/// Trains students alone and distilled; writes `target/bench/science.json`.
#[derive(Parser)]
struct Args {
    /// Folder of a data set: `train.json` and `test_unseen.json` of the TNEWS subset, or `train.tsv`, `dev.tsv` and
    /// `test.tsv` of SST-2 sentences; may be given several times
    #[arg(long, required = true, value_name = "DIR")]
    data: Vec<PathBuf>,
    /// The teacher of each, as `teacher-server finetune` leaves it
    #[arg(long, required = true, value_name = "DIR")]
    teacher: Vec<PathBuf>,
    /// Seeds of each experiment
    #[arg(long, value_delimiter = ',', default_value = "1,2,3,4,5", value_name = "SEEDS")]
    seeds: Vec<u32>,
    /// Experiments to run, by name [default: all]
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    only: Vec<String>,
    /// Use finished runs again
    #[arg(long)]
    resume: bool,
    /// A tenth of the data and two seeds: whether it works, not what comes out
    #[arg(long)]
    quick: bool,
    /// What `cargo bench` passes to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    if let Some(role) = env::args().nth(1).and_then(|word| roles::Role::of(&word)) {
        return role.play();
    }
    let args = Args::parse();
    ensure!(
        args.data.len() == args.teacher.len(),
        "{} data sets and {} teachers: give one --teacher for each --data",
        args.data.len(),
        args.teacher.len()
    );
    let seeds = if args.quick { &args.seeds[..args.seeds.len().min(2)] } else { &args.seeds };
    println!(
        "{} cores, each training one student at a time; matrix-product peak {:.0} GFLOP/s; seeds {seeds:?}",
        common::cores(),
        common::peak_flops() / 1e9
    );
    let mut measures = Vec::new();
    for (folder, teacher) in args.data.iter().zip(&args.teacher) {
        let data = DataSet::prepare(folder, args.quick)?;
        let wanted = |name: &str| args.only.is_empty() || args.only.iter().any(|n| n == name);
        let runs = experiments::run(&data, teacher, seeds, wanted, args.resume)?;
        measures.extend(results::report(&data, teacher, &runs)?);
    }
    common::write("science", &measures)
}
