//! The command line of `finetune`.

use std::path::PathBuf;

use clap::Args;
use lectern::{
    commands::{BestBy, ColumnOptions, ComputeOptions, Usage},
    data::Task,
    models::{HeadKind, Pooling},
    training::{ClassWeights, Decay},
};

use super::numbers::{positive, share};
use crate::finetune::{FinetuneConfig, Trainable};

#[derive(Debug, Args)]
pub(super) struct FinetuneArgs {
    /// Folder of an encoder: config.json, model.safetensors or `pytorch_model.bin`, tokenizer.json or a
    /// vocabulary; or its name on the Hugging Face hub, ORG/NAME or ORG/NAME@REVISION. The hub obeys
    /// `HF_HOME`, `HF_TOKEN`, `HF_ENDPOINT` and `HF_HUB_OFFLINE`
    #[arg(long, value_name = "DIR|NAME")]
    encoder: PathBuf,
    /// Labelled examples to train on: .json, .jsonl, .csv, .tsv or .parquet
    #[arg(long, value_name = "FILE")]
    train: PathBuf,
    /// Labelled examples that choose the weights that are kept
    #[arg(long, value_name = "FILE")]
    dev: PathBuf,
    /// Labelled examples for a last report; never used to choose anything
    #[arg(long, value_name = "FILE")]
    test: Option<PathBuf>,
    /// New folder for the teacher
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// Go on from the checkpoint in --output, under the same settings, as if it had not been stopped; start where there
    /// is none yet. On the same machine with the same --threads the weights come out the same to the byte
    #[arg(long)]
    resume: bool,
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
    /// Longest input in tokens; the rest of a text is cut off
    #[arg(long, default_value_t = 128, value_name = "TOKENS")]
    max_length: usize,
    #[command(flatten)]
    freezing: FreezingArgs,
    #[command(flatten)]
    recipe: RecipeArgs,
    #[command(flatten)]
    keeping: KeepingArgs,
    #[command(flatten)]
    columns: ColumnOptions,
    #[command(flatten)]
    compute: ComputeOptions,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "What is trained")]
struct FreezingArgs {
    /// `all`, `head`, or N: the last N encoder layers and the head. Layers before the first that is trained run without
    /// dropout, once for each example
    #[arg(long, default_value = "all", value_name = "all|head|N")]
    trainable_layers: Trainable,
    /// The encoder's last N tensors, in the order of the model, and the head; the head includes BERT's pooler
    #[arg(long, value_name = "N", conflicts_with = "trainable_layers")]
    trainable_tensors: Option<usize>,
    /// Keep the word table as it is. By default it is trained, which costs little, as a step touches only the rows of
    /// its batch; a frozen one saves two copies of it in memory and in checkpoints
    #[arg(long)]
    freeze_embeddings: bool,
    /// Memory for what frozen layers make of the examples, in MiB; examples beyond it pass through the frozen layers in
    /// every epoch
    #[arg(long, default_value_t = 2048, value_name = "MIB")]
    prefix_cache_mib: usize,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "How it is trained")]
struct RecipeArgs {
    /// Passes over the training examples
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    epochs: u32,
    /// Examples that are computed together
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..))]
    batch_size: u32,
    /// Batches in one step: the step of a batch that is so many times as large, in the memory of one
    #[arg(long, default_value_t = 1, value_name = "BATCHES", value_parser = clap::value_parser!(u32).range(1..))]
    accumulate: u32,
    /// Peak learning rate
    #[arg(long, default_value_t = 5e-5)]
    lr: f64,
    /// What the learning rate does after its warm-up
    #[arg(long, value_enum, default_value_t = Decay::Linear)]
    schedule: Decay,
    /// Share of the steps over which the learning rate rises to its peak
    #[arg(long, default_value_t = 0.1, value_name = "SHARE")]
    warmup: f64,
    /// Learning rate of an encoder layer as a share of that above it; the head has the whole, embeddings the least
    #[arg(long, default_value_t = 1.0, value_name = "SHARE")]
    layer_decay: f64,
    /// AdamW's weight decay of matrices
    #[arg(long, default_value_t = 0.01)]
    weight_decay: f64,
    /// Joint norm that gradients are scaled down to
    #[arg(long, default_value_t = 1.0, value_name = "NORM")]
    clip_norm: f64,
    /// Probability of dropout
    #[arg(long, default_value_t = 0.1)]
    dropout: f64,
    /// What an example counts in the training loss by its label: `balanced`, all labels the same together, or a number
    /// for each label in order
    #[arg(long, value_name = "balanced|W,W,..")]
    class_weights: Option<ClassWeights>,
    /// Share of the training target that is spread over all labels
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    label_smoothing: f64,
    /// Decides the new head, dropout and the order of examples
    #[arg(long, default_value_t = 1)]
    seed: i64,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "What is kept, and when to stop")]
struct KeepingArgs {
    /// The number on dev by which the best weights are chosen
    #[arg(long, value_enum, default_value_t = BestBy::Score)]
    best_by: BestBy,
    /// Stop after so many evaluations without a better one
    #[arg(long, default_value_t = 2, value_name = "EVALUATIONS", value_parser = clap::value_parser!(u32).range(1..))]
    patience: u32,
    /// Steps between evaluations on dev [default: those of an epoch]
    #[arg(long, value_name = "STEPS", value_parser = clap::value_parser!(u32).range(1..))]
    evaluate_every: Option<u32>,
    /// Steps between checkpoints; one is also written at each evaluation. It holds the trained weights and twice as much
    /// for the optimizer, and is removed at the end [default: evaluations only]
    #[arg(long, value_name = "STEPS", value_parser = clap::value_parser!(u32).range(1..))]
    checkpoint_every: Option<u32>,
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
    /// The configuration that the flags mean.
    pub(super) fn into_config(self) -> Result<FinetuneConfig, Usage> {
        let Self { freezing, recipe, keeping, task, .. } = self;
        let pooling = match self.pooling {
            PoolingArg::Mean => Pooling::Mean,
            PoolingArg::Cls => Pooling::Cls,
        };
        if task != Task::SingleLabel {
            let smoothing = recipe.label_smoothing > 0.0;
            let flags =
                [("class-weights", recipe.class_weights.is_some()), ("label-smoothing", smoothing)];
            if let Some((flag, _)) = flags.into_iter().find(|(_, given)| *given) {
                return Err(Usage(format!("--{flag} is of --task single-label alone")));
            }
        }
        if !keeping.best_by.fits(task) {
            return Err(Usage(format!(
                "--best-by: --task {task} has no such number; choose score or loss"
            )));
        }
        Ok(FinetuneConfig {
            head: match self.head {
                HeadArg::Linear => HeadKind::Linear { pooling },
                HeadArg::Mlp => HeadKind::Mlp { pooling, units: self.head_units as usize },
                HeadArg::Family => HeadKind::Family,
            },
            lr: positive("lr", recipe.lr)?,
            warmup: share("warmup", recipe.warmup, 1.0)?,
            layer_decay: share("layer-decay", positive("layer-decay", recipe.layer_decay)?, 1.0)?,
            weight_decay: share("weight-decay", recipe.weight_decay, 1.0)?,
            clip_norm: positive("clip-norm", recipe.clip_norm)?,
            dropout: share("dropout", recipe.dropout, 0.99)?,
            label_smoothing: share("label-smoothing", recipe.label_smoothing, 0.99)?,
            class_weights: recipe.class_weights,
            schedule: recipe.schedule,
            epochs: recipe.epochs as usize,
            batch_size: recipe.batch_size as usize,
            accumulate: recipe.accumulate as usize,
            seed: recipe.seed,
            trainable: freezing
                .trainable_tensors
                .map_or(freezing.trainable_layers, Trainable::Tensors),
            freeze_embeddings: freezing.freeze_embeddings,
            prefix_cache: freezing.prefix_cache_mib.saturating_mul(1 << 20),
            best_by: keeping.best_by,
            patience: keeping.patience as usize,
            evaluate_every: keeping.evaluate_every.map(|steps| steps as usize),
            checkpoint_every: keeping.checkpoint_every.map(|steps| steps as usize),
            encoder: self.encoder,
            train: self.train,
            dev: self.dev,
            test: self.test,
            output: self.output,
            resume: self.resume,
            task,
            label_names: self.label_names,
            max_length: self.max_length,
            columns: self.columns.into(),
            threads: self.compute.threads(),
            device: self.compute.device,
        })
    }
}
