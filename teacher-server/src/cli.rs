//! The command line: flags become configurations here and nowhere deeper.

mod finetune;
mod model;
mod numbers;
mod pretrain;
mod serve;
mod store;
mod textgcn;

use std::io::{self, Write as _};

use anyhow::Context as _;

use clap::{Args, Parser, Subcommand};
use lectern::{
    commands::{EvaluateOptions, PredictOptions, Workers, evaluate_model, predict_with},
    data::Columns,
    models::Arithmetic,
};

use self::{
    finetune::FinetuneArgs,
    model::OneModelOptions,
    pretrain::PretrainArgs,
    serve::{ServeArgs, serve},
    store::{StoreArgs, store},
    textgcn::TextGcnArgs,
};
use crate::{agreement::Agreement, finetune::finetune, pretrain::pretrain, textgcn::text_gcn};

/// Pre-trains and fine-tunes a teacher, judges it, and serves its logits to many students.
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
    /// Go on with an encoder's pre-training on plain text, before it is fine-tuned
    Pretrain(Box<PretrainArgs>),
    /// Make a teacher of a fixed set of texts: a graph of words and documents (textGCN)
    #[command(name = "textgcn")]
    TextGcn(TextGcnArgs),
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
            Command::Pretrain(args) => pretrain(&args.into_config()?),
            Command::TextGcn(args) => text_gcn(&args.into_config()?),
            Command::Evaluate(args) => evaluate(&args),
            Command::Predict(PredictArgs { model, options }) => {
                let (files, device) = (model.files()?, options.compute.device);
                let load = move || files.load(device, model.dtype);
                Ok(predict_with(&options, Workers::OneModel, load)?)
            }
            Command::Serve(args) => serve(*args),
            Command::Store(args) => store(args),
        }
    }
}

#[derive(Debug, Args)]
struct EvaluateArgs {
    #[command(flatten)]
    model: OneModelOptions,
    /// Compute with this arithmetic too, and say how far labels and logits differ from it
    #[arg(long, value_enum, value_name = "TYPE")]
    against: Option<Arithmetic>,
    #[command(flatten)]
    options: EvaluateOptions,
}

fn evaluate(args: &EvaluateArgs) -> anyhow::Result<()> {
    let EvaluateArgs { model, against, options } = args;
    let (files, dtype, device) = (model.files()?, model.dtype, options.compute.device);
    let load = || files.load(device, dtype);
    evaluate_model(options, files.weight_bytes(), files.task()?, load)?;
    if let Some(against) = against {
        let columns = Columns::from(options.columns.clone());
        let agreement =
            Agreement::on_file(&files, device, [dtype, *against], &options.data, &columns)?;
        writeln!(io::stdout(), "\n{dtype} against {against}: {agreement}")
            .context("cannot write to standard output")?;
    }
    Ok(())
}

#[derive(Debug, Args)]
struct PredictArgs {
    #[command(flatten)]
    model: OneModelOptions,
    #[command(flatten)]
    options: PredictOptions,
}
