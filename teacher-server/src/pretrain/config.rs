//! What a pre-training depends on, checked, and which of it a resumed one must share with the one before.

use std::path::PathBuf;

use lectern::{data::Columns, training::Settings};
use serde::Serialize;
use serde_json::Value;
use tch::Device;

/// Which text is held out to judge by.
#[derive(Debug, Clone)]
pub enum HeldOut {
    /// A file of its own.
    File(PathBuf),
    /// So much of the text, drawn at random.
    Share(f64),
}

/// Everything a pre-training depends on.
///
/// Serialised, it is what a resumed one must share: files are left out because their contents are compared, and so is what
/// changes no weight, or only its last bits.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
#[expect(
    missing_docs,
    reason = "each field is the flag of the same name, documented in the help text"
)]
#[expect(clippy::struct_excessive_bools, reason = "four switches of the command line")]
pub struct PretrainConfig {
    #[serde(skip)]
    pub encoder: PathBuf,
    #[serde(skip)]
    pub text: PathBuf,
    #[serde(skip)]
    pub held_out: HeldOut,
    #[serde(skip)]
    pub output: PathBuf,
    #[serde(skip)]
    pub resume: bool,
    #[serde(skip)]
    pub columns: Columns,
    pub blocks: bool,
    pub max_length: usize,
    pub mask_probability: f64,
    pub mask_pieces: bool,
    pub plm_probability: f64,
    pub max_span_length: usize,
    pub freeze_embeddings: bool,
    pub epochs: usize,
    pub batch_size: usize,
    pub accumulate: usize,
    pub lr: f64,
    pub warmup: f64,
    pub weight_decay: f64,
    pub clip_norm: f64,
    pub dropout: f64,
    #[serde(skip)]
    pub checkpoint_every: Option<usize>,
    pub seed: i64,
    #[serde(skip)]
    pub threads: usize,
    #[serde(skip)]
    pub device: Device,
}

impl PretrainConfig {
    /// What a resumed pre-training must share, by flag, with the `contents` of files by theirs.
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
