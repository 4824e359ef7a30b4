//! The flags of `textgcn`.

use std::path::PathBuf;

use clap::Args;
use lectern::commands::{ColumnOptions, ComputeOptions, Usage};

use crate::textgcn::{TextGcnConfig, TrainingConfig};

/// A textGCN (Yao et al. 2019) answers for the texts it was built on and refuses all others: name every file
/// that students will train on. Memory: 16 to 32 bytes for each different pair of words that share a window,
/// at most 67 million pairs; about 100 bytes an edge; about 4 KB a document or word at 200 units.
#[derive(Debug, Args)]
pub(super) struct TextGcnArgs {
    /// Labelled texts to train on: .json, .jsonl, .csv, .tsv or .parquet
    #[arg(long, value_name = "FILE")]
    train: PathBuf,
    /// Texts without labels that the teacher shall answer for
    #[arg(long, value_name = "FILE", num_args = 1..)]
    unlabelled: Vec<PathBuf>,
    /// Labelled texts that are reported on; their labels are not used otherwise
    #[arg(long, value_name = "FILE")]
    dev: Option<PathBuf>,
    /// As --dev, for a second report
    #[arg(long, value_name = "FILE")]
    test: Option<PathBuf>,
    /// New folder for the teacher
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// Label names in order, one per line or a JSON array [default: those of the training file, sorted]
    #[arg(long, value_name = "FILE")]
    label_names: Option<PathBuf>,
    /// Leave out words that occur less often in all texts together
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    min_count: u32,
    /// Neighbouring words that occur together
    #[arg(long, default_value_t = 20, value_name = "WORDS", value_parser = clap::value_parser!(u32).range(2..=1000))]
    window: u32,
    /// Units of the hidden layer
    #[arg(long, default_value_t = 200, value_name = "UNITS", value_parser = clap::value_parser!(u32).range(1..=65536))]
    hidden: u32,
    /// Probability of dropout
    #[arg(long, default_value_t = 0.5)]
    dropout: f64,
    /// Learning rate of Adam
    #[arg(long, default_value_t = 0.02)]
    lr: f64,
    /// Steps at most, each on the whole graph
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    epochs: u32,
    /// Stop after this many epochs without a lower loss on the texts held out
    #[arg(long, default_value_t = 10, value_name = "EPOCHS", value_parser = clap::value_parser!(u32).range(1..))]
    patience: u32,
    /// Share of the training texts that is held out to choose the epoch
    #[arg(long, default_value_t = 0.1, value_name = "SHARE")]
    validation: f64,
    /// Decides weights, dropout and what is held out
    #[arg(long, default_value_t = 1)]
    seed: i64,
    #[command(flatten)]
    columns: ColumnOptions,
    #[command(flatten)]
    compute: ComputeOptions,
}

impl TextGcnArgs {
    pub(super) fn into_config(self) -> Result<TextGcnConfig, Usage> {
        let share = |name: &str, value: f64| {
            let wrong = || Usage(format!("--{name} {value}: must lie between 0 and 0.99"));
            if (0.0..=0.99).contains(&value) { Ok(value) } else { Err(wrong()) }
        };
        if !(self.lr > 0.0 && self.lr.is_finite()) {
            return Err(Usage(format!("--lr {}: must be positive", self.lr)));
        }
        Ok(TextGcnConfig {
            training: TrainingConfig {
                hidden: self.hidden.into(),
                dropout: share("dropout", self.dropout)?,
                lr: self.lr,
                epochs: self.epochs as usize,
                patience: self.patience as usize,
                validation: share("validation", self.validation)?,
                seed: self.seed,
            },
            train: self.train,
            unlabelled: self.unlabelled,
            dev: self.dev,
            test: self.test,
            output: self.output,
            label_names: self.label_names,
            columns: self.columns.into(),
            min_count: self.min_count as usize,
            window: self.window as usize,
            threads: self.compute.threads(),
            device: self.compute.device,
        })
    }
}
