//! What a fine-tuning depends on, checked, and which of it a resumed one must share with the one before.

use std::{path::PathBuf, str::FromStr};

use lectern::{
    commands::Evaluation,
    data::{Columns, Task},
    models::HeadKind,
    training::{ClassWeights, Decay, Settings},
};
use serde::Serialize;
use serde_json::Value;
use tch::Device;

/// Which of the encoder's weights move; the head's always do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Trainable {
    /// All of them.
    All,
    /// Those of the last so many layers.
    Layers(usize),
    /// The last so many tensors in the order of the model, as the repository HoyTta0/KnowledgeDistillation has it
    /// (`parameters()[:-4]` frozen). BERT's pooler is of the head here, so its 4 are 2 and the pooler.
    Tensors(usize),
}

impl FromStr for Trainable {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Self::All),
            "head" => Ok(Self::Layers(0)),
            number => {
                let layers = number.parse().map(Self::Layers);
                layers.map_err(|_| "expected `all`, `head` or a number".to_owned())
            }
        }
    }
}

/// The number on dev that chooses what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum BestBy {
    /// The task's first: accuracy, micro-averaged F1, or Pearson's correlation
    Score,
    /// Share of texts with the right label
    Accuracy,
    /// F1 averaged over labels, each the same
    #[value(name = "macro-f1")]
    MacroF1,
    /// Mean loss on dev, without class weights and smoothing; less is better
    Loss,
}

impl BestBy {
    /// Whether models of `task` have it.
    pub(crate) const fn fits(self, task: Task) -> bool {
        match self {
            Self::Score | Self::Loss => true,
            Self::Accuracy => matches!(task, Task::SingleLabel),
            Self::MacroF1 => !matches!(task, Task::Regression),
        }
    }

    /// The number, turned so that more is better.
    pub(super) fn of(self, dev: &Evaluation) -> f64 {
        let named = |name| {
            let scores = dev.report.scores();
            scores
                .into_iter()
                .find(|(score, _)| *score == name)
                .map_or(f64::NAN, |(_, value)| value)
        };
        match self {
            Self::Score => dev.report.score(),
            Self::Accuracy => named("accuracy"),
            Self::MacroF1 => named("macro_f1"),
            Self::Loss => -dev.loss,
        }
    }
}

/// Everything a fine-tuning depends on.
///
/// Serialised, it is what a resumed one must share: files are left out because their contents are compared, and so is
/// what changes no weight, or only its last bits.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
#[expect(
    missing_docs,
    reason = "each field is the flag of the same name, documented in the help text"
)]
pub struct FinetuneConfig {
    #[serde(skip)]
    pub encoder: PathBuf,
    #[serde(skip)]
    pub train: PathBuf,
    #[serde(skip)]
    pub dev: PathBuf,
    #[serde(skip)]
    pub test: Option<PathBuf>,
    #[serde(skip)]
    pub output: PathBuf,
    #[serde(skip)]
    pub resume: bool,
    pub task: Task,
    #[serde(skip)]
    pub label_names: Option<PathBuf>,
    #[serde(skip)]
    pub columns: Columns,
    pub head: HeadKind,
    pub max_length: usize,
    #[serde(rename = "trainable-layers")]
    pub trainable: Trainable,
    pub freeze_embeddings: bool,
    /// Bytes.
    #[serde(skip)]
    pub prefix_cache: usize,
    pub epochs: usize,
    pub batch_size: usize,
    pub accumulate: usize,
    pub lr: f64,
    pub schedule: Decay,
    pub warmup: f64,
    pub layer_decay: f64,
    pub weight_decay: f64,
    pub clip_norm: f64,
    pub dropout: f64,
    pub class_weights: Option<ClassWeights>,
    pub label_smoothing: f64,
    pub best_by: BestBy,
    pub patience: usize,
    pub evaluate_every: Option<usize>,
    #[serde(skip)]
    pub checkpoint_every: Option<usize>,
    pub seed: i64,
    #[serde(skip)]
    pub threads: usize,
    #[serde(skip)]
    pub device: Device,
}

impl FinetuneConfig {
    /// What a resumed fine-tuning must share, by flag, with the `contents` of files by theirs.
    pub(super) fn settings<const N: usize>(
        &self,
        contents: [(&str, String); N],
    ) -> anyhow::Result<Settings> {
        let mut settings = match serde_json::to_value(self)? {
            Value::Object(settings) => settings,
            _ => Settings::new(),
        };
        settings.extend(contents.map(|(flag, hash)| (flag.to_owned(), hash.into())));
        Ok(settings)
    }
}
