//! The command line: flags become configurations here and nowhere deeper.

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use clap::{Args, Parser, Subcommand};
use lectern::{
    commands::{ComputeOptions, EvaluateOptions, PredictOptions, evaluate_model, predict_with},
    models::{BEST_WEIGHTS, Student},
};

use crate::{config::TrainOptions, train::train};

/// Trains students on hard labels and a teacher's logits, judges them, and labels text with them.
#[derive(Debug, Parser)]
#[command(name = "student-trainer", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train one student and leave a run folder
    Train(Box<TrainArgs>),
    /// Print the classification report of a trained student on labelled examples
    Evaluate(EvaluateArgs),
    /// Label JSON Lines or plain lines of text
    Predict(PredictArgs),
}

#[derive(Debug, Args)]
struct TrainArgs {
    /// Settings as TOML, with the names of the flags as keys; flags win
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    options: TrainOptions,
    #[command(flatten)]
    compute: ComputeOptions,
}

#[derive(Debug, Args)]
struct EvaluateArgs {
    /// Run folder
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    #[command(flatten)]
    options: EvaluateOptions,
}

#[derive(Debug, Args)]
struct PredictArgs {
    /// Run folder
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    #[command(flatten)]
    options: PredictOptions,
}

impl Cli {
    /// Does what the command line asks.
    pub fn execute(self) -> anyhow::Result<()> {
        match self.command {
            Command::Train(args) => {
                args.compute.set_threads();
                let config = args.options.over_file(args.config.as_deref())?.resolve()?;
                let summary = train(&config, args.compute.device)?;
                writeln!(io::stdout(), "{:#}", summary.0)?;
            }
            Command::Evaluate(args) => {
                let (run, device) = (args.run, args.options.compute.device);
                let weights = run.join(BEST_WEIGHTS);
                evaluate_model(&args.options, &weights, || Student::load(&run, device))?;
            }
            Command::Predict(args) => {
                let (run, device) = (args.run, args.options.compute.device);
                predict_with(&args.options, || Student::load(&run, device))?;
            }
        }
        Ok(())
    }
}
