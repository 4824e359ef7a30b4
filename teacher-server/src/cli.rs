//! The command line: flags become configurations here and nowhere deeper.

mod finetune;
mod model;
mod serve;
mod store;

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use anyhow::Context as _;

use clap::{Args, Parser, Subcommand};
use lectern::{
    commands::{EvaluateOptions, PredictOptions, evaluate_model, predict_with},
    data::Columns,
    hub::resolve,
    models::{Arithmetic, Teacher, weight_bytes},
};

use self::{
    finetune::FinetuneArgs,
    serve::{ServeArgs, serve},
    store::{StoreArgs, store},
};
use crate::{agreement::Agreement, finetune::finetune};

/// Fine-tunes a teacher, judges it, and serves its logits to many students.
#[derive(Debug, Parser)]
#[command(name = "teacher-server", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a teacher folder from an encoder and labelled examples
    Finetune(Box<FinetuneArgs>),
    /// Print the classification report of a teacher on labelled examples
    Evaluate(EvaluateArgs),
    /// Label JSON Lines or plain lines of text
    Predict(PredictArgs),
    /// Serve a teacher's logits over gRPC until SIGTERM or Ctrl-C
    Serve(Box<ServeArgs>),
    /// Look after stored rows: count, ship, check and remove them
    Store(StoreArgs),
}

impl Cli {
    /// Does what the command line asks.
    pub fn execute(self) -> anyhow::Result<()> {
        match self.command {
            Command::Finetune(args) => finetune(&args.into_config()?),
            Command::Evaluate(args) => evaluate(&args),
            Command::Predict(PredictArgs { model, dtype, options }) => {
                let model = resolve(&model)?;
                let device = options.compute.device;
                let load = || Teacher::load_for_serving(&model, device, dtype);
                Ok(predict_with(&options, load)?)
            }
            Command::Serve(args) => serve(*args),
            Command::Store(args) => store(args),
        }
    }
}

#[derive(Debug, Args)]
struct EvaluateArgs {
    /// Teacher folder, or the name of one on the Hugging Face hub: ORG/NAME or ORG/NAME@REVISION
    #[arg(long, value_name = "DIR|NAME")]
    model: PathBuf,
    /// What to compute with
    #[arg(long, value_enum, default_value_t, value_name = "TYPE")]
    dtype: Arithmetic,
    /// Compute with this arithmetic too, and say how far labels and logits differ from it
    #[arg(long, value_enum, value_name = "TYPE")]
    against: Option<Arithmetic>,
    #[command(flatten)]
    options: EvaluateOptions,
}

fn evaluate(args: &EvaluateArgs) -> anyhow::Result<()> {
    let EvaluateArgs { model, dtype, against, options } = args;
    let model = &resolve(model)?;
    let device = options.compute.device;
    let load = || Teacher::load_for_serving(model, device, *dtype);
    let task = Teacher::task(model)?;
    // A folder without weights is for `load` to refuse.
    evaluate_model(options, weight_bytes(model).unwrap_or(0), task, load)?;
    if let Some(against) = against {
        let columns = Columns::from(options.columns.clone());
        let agreement =
            Agreement::on_file(model, device, [*dtype, *against], &options.data, &columns)?;
        writeln!(io::stdout(), "\n{dtype} against {against}: {agreement}")
            .context("cannot write to standard output")?;
    }
    Ok(())
}

#[derive(Debug, Args)]
struct PredictArgs {
    /// Teacher folder, or the name of one on the Hugging Face hub: ORG/NAME or ORG/NAME@REVISION
    #[arg(long, value_name = "DIR|NAME")]
    model: PathBuf,
    /// What to compute with
    #[arg(long, value_enum, default_value_t, value_name = "TYPE")]
    dtype: Arithmetic,
    #[command(flatten)]
    options: PredictOptions,
}
