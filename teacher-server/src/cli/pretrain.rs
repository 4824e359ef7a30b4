//! The command line of `pretrain`.

use std::path::PathBuf;

use clap::Args;
use lectern::{
    commands::{ComputeOptions, Usage},
    data::Columns,
};

use super::numbers::{positive, share};
use crate::pretrain::{HeldOut, PretrainConfig};

#[derive(Debug, Args)]
pub(super) struct PretrainArgs {
    /// Folder of an encoder as `finetune` takes it, or its name on the Hugging Face hub, ORG/NAME or ORG/NAME@REVISION. Of
    /// XLNet, permutation language modelling goes on, of every other family masked language modelling. Where the folder
    /// lacks the output layer, as sentence encoders do, that starts fresh
    #[arg(long, value_name = "DIR|NAME")]
    encoder: PathBuf,
    /// Text to learn from: .txt with a text in each line, blank ones left out; or the text column of .json, .jsonl, .csv,
    /// .tsv or .parquet, with its pair, if there is one, as another text
    #[arg(long, value_name = "FILE")]
    text: PathBuf,
    /// Text to judge by, and never to learn from; see --validation-share for the default
    #[arg(long, value_name = "FILE", conflicts_with = "validation_share")]
    validation: Option<PathBuf>,
    /// Share of the texts of --text that is drawn to judge by, at least one
    #[arg(long, default_value_t = 0.05, value_name = "SHARE")]
    validation_share: f64,
    /// New folder for the encoder
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// Go on from the checkpoint in --output, under the same settings, as if it had not been stopped; start where there
    /// is none yet. On the same machine with the same --threads the weights come out the same to the byte
    #[arg(long)]
    resume: bool,
    /// Column or key of the text [default: text]
    #[arg(long, value_name = "NAME")]
    text_column: Option<String>,
    /// Column or key of the second text of a pair [default: `text_pair`, which may be absent]
    #[arg(long, value_name = "NAME")]
    text_pair_column: Option<String>,
    /// Run all texts together and cut them into blocks of --max-length, instead of one text to an example
    #[arg(long)]
    blocks: bool,
    /// Longest example in tokens; without --blocks the rest of a text is cut off
    #[arg(long, default_value_t = 128, value_name = "TOKENS")]
    max_length: usize,
    #[command(flatten)]
    hiding: HidingArgs,
    #[command(flatten)]
    recipe: RecipeArgs,
    #[command(flatten)]
    compute: ComputeOptions,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "What is predicted")]
struct HidingArgs {
    /// Share of the tokens that are predicted, of other families than XLNet: 80 % of them hidden, 10 % replaced by any
    /// token, 10 % left. Drawn anew in every epoch
    #[arg(long, default_value_t = 0.15, value_name = "SHARE")]
    mask_probability: f64,
    /// Draw pieces of words each for itself. By default words are masked whole: what stands between spaces and
    /// punctuation, of Chinese each character, or each piece of a SentencePiece or byte-level tokenizer
    #[arg(long)]
    mask_pieces: bool,
    /// Share of the tokens that are predicted, of XLNet: each span has a context of its length over this share
    #[arg(long, default_value_t = 1.0 / 6.0, value_name = "SHARE")]
    plm_probability: f64,
    /// Longest span of tokens that XLNet predicts
    #[arg(long, default_value_t = 5, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(1..))]
    max_span_length: u32,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "How it is trained")]
struct RecipeArgs {
    /// Keep the word table, which is the output layer too, as it is. Trained, its gradient is dense, and of a large
    /// vocabulary it can cost more than the encoder
    #[arg(long)]
    freeze_embeddings: bool,
    /// Passes over the text
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    epochs: u32,
    /// Examples that are computed together
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..))]
    batch_size: u32,
    /// Batches in one step: the step of a batch that is so many times as large, in the memory of one
    #[arg(long, default_value_t = 1, value_name = "BATCHES", value_parser = clap::value_parser!(u32).range(1..))]
    accumulate: u32,
    /// Peak learning rate, which falls to 0 in a straight line
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
    /// Steps between checkpoints; one is also written after each epoch. It holds the trained weights and twice as much for
    /// the optimizer, and is removed at the end [default: epochs only]
    #[arg(long, value_name = "STEPS", value_parser = clap::value_parser!(u32).range(1..))]
    checkpoint_every: Option<u32>,
    /// Decides what is held out and what is hidden, fresh weights, dropout and the order of examples
    #[arg(long, default_value_t = 1)]
    seed: i64,
}

impl PretrainArgs {
    /// The configuration that the flags mean.
    pub(super) fn into_config(self) -> Result<PretrainConfig, Usage> {
        let Self { hiding, recipe, .. } = self;
        let some = |name, value| share(name, positive(name, value)?, 1.0);
        Ok(PretrainConfig {
            held_out: match self.validation {
                Some(file) => HeldOut::File(file),
                None => HeldOut::Share(share(
                    "validation-share",
                    positive("validation-share", self.validation_share)?,
                    0.5,
                )?),
            },
            mask_probability: some("mask-probability", hiding.mask_probability)?,
            mask_pieces: hiding.mask_pieces,
            plm_probability: some("plm-probability", hiding.plm_probability)?,
            max_span_length: hiding.max_span_length as usize,
            freeze_embeddings: recipe.freeze_embeddings,
            epochs: recipe.epochs as usize,
            batch_size: recipe.batch_size as usize,
            accumulate: recipe.accumulate as usize,
            lr: positive("lr", recipe.lr)?,
            warmup: share("warmup", recipe.warmup, 1.0)?,
            weight_decay: share("weight-decay", recipe.weight_decay, 1.0)?,
            clip_norm: positive("clip-norm", recipe.clip_norm)?,
            dropout: share("dropout", recipe.dropout, 0.99)?,
            checkpoint_every: recipe.checkpoint_every.map(|steps| steps as usize),
            seed: recipe.seed,
            encoder: self.encoder,
            text: self.text,
            output: self.output,
            resume: self.resume,
            columns: Columns {
                text: self.text_column,
                text_pair: self.text_pair_column,
                label: None,
            },
            blocks: self.blocks,
            max_length: self.max_length,
            threads: self.compute.threads(),
            device: self.compute.device,
        })
    }
}
