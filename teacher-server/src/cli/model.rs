//! The flags that say which model answers: all that decides its fingerprint.

use std::path::PathBuf;

use clap::Args;
use lectern::{commands::Usage, hub::resolve, models::Arithmetic};
use tch::Device;

use crate::serve::ModelSource;

#[derive(Debug, Args)]
pub(super) struct ModelOptions {
    /// Teacher folder: what `finetune` wrote, or a `ForSequenceClassification` of transformers; or the name of one
    /// on the Hugging Face hub, ORG/NAME or ORG/NAME@REVISION.
    /// Given several times, an ensemble: rows are the weighted mean of the members' logits
    #[arg(long = "model", value_name = "DIR|NAME")]
    models: Vec<PathBuf>,
    /// Shares of the members of an ensemble in the mean, one for each --model [default: equal]
    #[arg(long, value_name = "W,W..", value_delimiter = ',')]
    weights: Vec<f64>,
    /// What to compute with: other numbers are other answers, so each type has its own fingerprint
    #[arg(long, value_enum, default_value_t, value_name = "TYPE")]
    pub(super) dtype: Arithmetic,
    /// Compute every example in a forward pass of its own, so that its row never depends, not even in
    /// its last bits, on which others were asked for at the time; costs speed, on a GPU most of it
    #[arg(long)]
    pub(super) pinned: bool,
}

impl ModelOptions {
    /// Whether no model is named, which is for [`sources`](Self::sources) a mistake.
    pub(super) fn is_empty(&self) -> bool {
        self.models.is_empty()
    }

    /// How far a row computed again, among other examples, may be from the one that was stored.
    pub(super) fn tolerance(&self, devices: &[Device]) -> f32 {
        let exact = devices.iter().all(|&device| self.dtype.on(device) == Arithmetic::Float32);
        if exact { 0.001 } else { 0.1 }
    }

    /// The models' folders; fetches those that are named by their hub names.
    pub(super) fn sources(&self) -> anyhow::Result<Vec<ModelSource>> {
        let (models, weights) = (&self.models, &self.weights);
        if models.is_empty() {
            return Err(Usage("which teacher? give its folder with --model DIR".to_owned()).into());
        }
        if !weights.is_empty() && weights.len() != models.len() {
            return Err(Usage(format!(
                "--weights has {} numbers for {} models; give one for each --model",
                weights.len(),
                models.len()
            ))
            .into());
        }
        if let Some(wrong) = weights.iter().find(|w| !(**w > 0.0 && w.is_finite())) {
            return Err(Usage(format!("--weights {wrong}: must be positive")).into());
        }
        let weight = |i: usize| weights.get(i).copied().unwrap_or(1.0);
        let source = |(i, model): (usize, &PathBuf)| {
            Ok(ModelSource { folder: resolve(model)?, weight: weight(i) })
        };
        models.iter().enumerate().map(source).collect()
    }
}
