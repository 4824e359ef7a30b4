//! The command line: flags become configurations here and nowhere deeper.

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
    commands::{
        ColumnOptions, ComputeOptions, EvaluateOptions, PredictOptions, Usage, evaluate_model,
        predict_with,
    },
    data::{Columns, Task},
    hub::resolve,
    models::{Arithmetic, HeadKind, Pooling, Teacher, weight_bytes},
};

use self::{
    serve::{ServeArgs, serve},
    store::{StoreArgs, store},
};
use crate::{
    agreement::Agreement,
    finetune::{FinetuneConfig, TrainableLayers, finetune},
};

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
    Finetune(FinetuneArgs),
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
struct FinetuneArgs {
    /// Folder of an encoder: config.json, model.safetensors or `pytorch_model.bin`, tokenizer.json or a
    /// vocabulary; or its name on the Hugging Face hub, ORG/NAME or ORG/NAME@REVISION. The hub obeys
    /// `HF_HOME`, `HF_TOKEN`, `HF_ENDPOINT` and `HF_HUB_OFFLINE`
    #[arg(long, value_name = "DIR|NAME")]
    encoder: PathBuf,
    /// Labelled examples to train on: .json, .jsonl, .csv, .tsv or .parquet
    #[arg(long, value_name = "FILE")]
    train: PathBuf,
    /// Labelled examples that choose the best epoch: by accuracy, micro-averaged F1 or Pearson's correlation
    #[arg(long, value_name = "FILE")]
    dev: PathBuf,
    /// Labelled examples for a last report; never used to choose anything
    #[arg(long, value_name = "FILE")]
    test: Option<PathBuf>,
    /// New folder for the teacher
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// What the label column says of a text, and so which loss and which report it has
    #[arg(long, value_enum, default_value_t)]
    task: Task,
    /// Label names in order, one per line or a JSON array [default: those of the training file, sorted]
    #[arg(long, value_name = "FILE")]
    label_names: Option<PathBuf>,
    /// What turns token states into logits: one linear layer, linear-ReLU-linear (`mlp`), or that of the encoder's
    /// family, which loads in transformers as it is
    #[arg(long, value_enum, default_value_t = HeadArg::Linear)]
    head: HeadArg,
    /// How token states become one for `linear` and `mlp`: mean suits sentence encoders
    #[arg(long, value_enum, default_value_t = PoolingArg::Mean)]
    pooling: PoolingArg,
    /// Units between the two layers of `mlp`
    #[arg(long, default_value_t = 192, value_name = "UNITS", value_parser = clap::value_parser!(u32).range(1..))]
    head_units: u32,
    /// `all`, or N: the last N encoder layers and the head; the rest keeps its weights
    #[arg(long, default_value = "all", value_name = "all|N")]
    trainable_layers: TrainableLayers,
    /// Passes over the training examples
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    epochs: u32,
    /// Examples in one step
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..))]
    batch_size: u32,
    /// Peak learning rate
    #[arg(long, default_value_t = 5e-5)]
    lr: f64,
    /// Share of the steps over which the learning rate rises to its peak
    #[arg(long, default_value_t = 0.1, value_name = "SHARE")]
    warmup: f64,
    /// AdamW's weight decay of matrices
    #[arg(long, default_value_t = 0.01)]
    weight_decay: f64,
    /// Joint norm that gradients are scaled down to
    #[arg(long, default_value_t = 1.0, value_name = "NORM")]
    clip_norm: f64,
    /// Probability of dropout
    #[arg(long, default_value_t = 0.1)]
    dropout: f64,
    /// Longest input in tokens; the rest of a text is cut off
    #[arg(long, default_value_t = 128, value_name = "TOKENS")]
    max_length: usize,
    /// Stop after this many epochs without a better score on dev: accuracy, micro F1 or Pearson's correlation
    #[arg(long, default_value_t = 2, value_name = "EPOCHS", value_parser = clap::value_parser!(u32).range(1..))]
    patience: u32,
    /// Decides the new head, dropout and the order of examples
    #[arg(long, default_value_t = 1)]
    seed: i64,
    #[command(flatten)]
    columns: ColumnOptions,
    #[command(flatten)]
    compute: ComputeOptions,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum PoolingArg {
    Mean,
    Cls,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum HeadArg {
    Linear,
    Mlp,
    Family,
}

impl FinetuneArgs {
    fn into_config(self) -> Result<FinetuneConfig, Usage> {
        let share = |name: &str, value: f64, top: f64| {
            if (0.0..=top).contains(&value) {
                Ok(value)
            } else {
                Err(Usage(format!("--{name} {value}: must lie between 0 and {top}")))
            }
        };
        let positive = |name: &str, value: f64| {
            if value > 0.0 && value.is_finite() {
                Ok(value)
            } else {
                Err(Usage(format!("--{name} {value}: must be positive")))
            }
        };
        let pooling = match self.pooling {
            PoolingArg::Mean => Pooling::Mean,
            PoolingArg::Cls => Pooling::Cls,
        };
        Ok(FinetuneConfig {
            head: match self.head {
                HeadArg::Linear => HeadKind::Linear { pooling },
                HeadArg::Mlp => HeadKind::Mlp { pooling, units: self.head_units as usize },
                HeadArg::Family => HeadKind::Family,
            },
            lr: positive("lr", self.lr)?,
            warm_up: share("warmup", self.warmup, 1.0)?,
            weight_decay: share("weight-decay", self.weight_decay, 1.0)?,
            clip_norm: positive("clip-norm", self.clip_norm)?,
            dropout: share("dropout", self.dropout, 0.99)?,
            encoder: self.encoder,
            train: self.train,
            dev: self.dev,
            test: self.test,
            output: self.output,
            task: self.task,
            label_names: self.label_names,
            trainable_layers: self.trainable_layers,
            epochs: self.epochs as usize,
            batch_size: self.batch_size as usize,
            max_length: self.max_length,
            patience: self.patience as usize,
            seed: self.seed,
            columns: self.columns.into(),
            threads: self.compute.threads(),
            device: self.compute.device,
        })
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
    // A folder without weights is for `load` to refuse.
    evaluate_model(options, weight_bytes(model).unwrap_or(0), Teacher::task(model)?, load)?;
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
