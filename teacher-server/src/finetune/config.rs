//! What a fine-tuning depends on, checked, and which of it a resumed one must share with the one before.

use std::{path::PathBuf, str::FromStr};

use lectern::{
    commands::BestBy,
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
