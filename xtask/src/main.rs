//! `cargo xtask`: the project's own errands, from an empty clone to a finished table. Only reads
//! the command line; each errand is a module.
#![expect(clippy::print_stdout, reason = "what an errand says is its interface")]

mod assets;
mod bench;
mod check;
mod demo;
mod folder;
mod job;
mod libtorch;
mod manifests;
mod packages;
mod python;
mod reviews;
mod table;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Set-up, demo, tests and benches of Lectern")]
struct Args {
    #[command(subcommand)]
    errand: Errand,
}

#[derive(Subcommand)]
enum Errand {
    /// Put libtorch into .libtorch, where plain `cargo build` finds it
    Libtorch {
        /// The CUDA build (2.5 GB to download) in place of the CPU one
        #[arg(long)]
        cuda: bool,
        /// Compare every file's SHA-256, not only its size
        #[arg(long)]
        verify: bool,
    },
    /// Fetch the demo's encoder and sentences into .cache
    Assets,
    /// Fine-tune a teacher, serve it, and train three students from it at the same time
    Demo {
        /// A part of the data and fewer epochs: minutes, not a quarter of an hour
        #[arg(long)]
        quick: bool,
        /// Where the teacher is fine-tuned, served and scored: `cpu`, or `cuda:N` after `xtask libtorch --cuda`
        #[arg(long, default_value = "cpu")]
        device: String,
    },
    /// Everything that needs no download but cargo's and libtorch's: format, lints, docs, tests
    Test,
    /// Check deploy/ against the Kubernetes schemas and the programs' own flags
    Manifests,
    /// Run one benchmark and print what it wrote to target/bench/NAME.json
    Bench {
        /// `serving`, `student`, `teachers` or `forward`
        name: String,
        /// Passed on to the benchmark
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
}

#[expect(clippy::print_stderr, reason = "the cause of a failure, without anyhow's backtrace")]
fn main() -> ExitCode {
    match run(Args::parse().errand) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(errand: Errand) -> Result<()> {
    match errand {
        Errand::Libtorch { cuda: false, verify } => {
            libtorch::install(libtorch::Flavour::Cpu, verify)
        }
        Errand::Libtorch { cuda: true, verify } => {
            libtorch::install(libtorch::Flavour::Cuda, verify)
        }
        Errand::Assets => assets::fetch().map(drop),
        Errand::Demo { quick, device } => demo::run(quick, device),
        Errand::Test => check::run(),
        Errand::Manifests => manifests::run(),
        Errand::Bench { name, args } => bench::run(&name, &args),
    }
}
