//! A student: a small model with its tokenizer and labels, complete in one run folder.

use std::path::Path;

use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};

use super::{
    Builder, Classifier, Family, Initial, ModelError, Parameters, TokenBatch,
    classifier::GPU_BATCH_TOKENS,
    folder::{malformed, read_json, write_text},
    students::StudentModel,
    weights::{read_weights, write_weights},
};
use crate::threads::FewerThreads;
use crate::{
    data::{LabelSet, Task},
    text::{Segmentation, TextError, Tokenizer, Tokens},
    traced::Traced,
};

/// What a student is built from; with its task `model.json` of a run folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StudentConfig {
    /// Longest input in tokens.
    pub max_length: usize,
    /// What cuts texts into words before the tokenizer sees them.
    #[serde(default, skip_serializing_if = "Segmentation::is_none")]
    pub segmentation: Segmentation,
    /// Family and sizes.
    #[serde(flatten)]
    pub family: Family,
}

/// `model.json`; without a task it was written when there was one alone.
#[derive(Serialize, Deserialize)]
struct Description {
    #[serde(default)]
    task: Task,
    #[serde(flatten)]
    config: StudentConfig,
}

/// File names of a student in its run folder.
pub(super) const CONFIG: &str = "model.json";
const LABELS: &str = "labels.json";
const TOKENIZER: &str = "tokenizer.json";
/// The weights that scored best on dev.
pub const BEST_WEIGHTS: &str = "best.safetensors";
/// The weights after the last step.
pub const LAST_WEIGHTS: &str = "last.safetensors";

/// A student model, ready to train or to label.
#[derive(Debug)]
pub struct Student {
    config: StudentConfig,
    model: Box<dyn StudentModel>,
    labels: LabelSet,
    tokenizer: Tokenizer,
    parameters: Parameters,
    device: Device,
}

impl Student {
    /// A student with fresh weights from libtorch's random state.
    pub fn fresh(
        config: StudentConfig,
        labels: LabelSet,
        tokenizer: Tokenizer,
        device: Device,
    ) -> Result<Self, ModelError> {
        Self::initialised(config, labels, tokenizer, Initial::default(), device)
    }

    /// A student that starts from the tensors of `initial`, what these lack from libtorch's random state.
    pub fn initialised(
        config: StudentConfig,
        labels: LabelSet,
        tokenizer: Tokenizer,
        initial: Initial,
        device: Device,
    ) -> Result<Self, ModelError> {
        let source = Path::new("what the student starts from");
        let builder = config.family.starting(Builder::from_weights(initial.0, source, device))?;
        Self::build(config, labels, tokenizer, builder, device, true)
    }

    /// Reads the best weights of a run folder, and nothing outside it, for inference: what can be computed
    /// before any text is seen has been. Such a student is not trained.
    pub fn load(run: &Path, device: Device) -> Result<Self, ModelError> {
        let Description { task, config } = read_json(&run.join(CONFIG))?;
        let path = run.join(LABELS);
        let labels = LabelSet::of_task(task, read_json(&path)?)
            .map_err(|cause| malformed(&path, cause.to_string()))?;
        let tokenizer = Tokenizer::from_file(&run.join(TOKENIZER), config.max_length)?
            .with_segmentation(config.segmentation);
        let path = run.join(BEST_WEIGHTS);
        let builder = Builder::from_weights(read_weights(&path)?, &path, device);
        let student = Self::build(config, labels, tokenizer, builder, device, false)?;
        Ok(Self { model: student.model.prepared(device)?, ..student })
    }

    /// The task of a finished student, before anything else of it is read.
    pub fn task(run: &Path) -> Result<Task, ModelError> {
        read_json(&run.join(CONFIG)).map(|description: Description| description.task)
    }

    fn build(
        config: StudentConfig,
        labels: LabelSet,
        tokenizer: Tokenizer,
        builder: Builder,
        device: Device,
        fresh: bool,
    ) -> Result<Self, ModelError> {
        let model = config.family.build(&builder, labels.len(), fresh)?;
        let parameters = builder.finish()?;
        Ok(Self { config, model, labels, tokenizer, parameters, device })
    }

    /// `[B, C]` raw logits that gradients flow through.
    pub fn forward(&self, batch: &TokenBatch) -> Result<Traced, ModelError> {
        self.model.traced(batch)
    }

    /// To be held during a training step: what surrounds the model computes on one thread where the model has its own.
    pub fn step_threads(&self) -> FewerThreads {
        FewerThreads::one_if(self.model.has_threads())
    }

    /// What it is built from.
    pub const fn config(&self) -> &StudentConfig {
        &self.config
    }

    /// Operations of the matrix products of a forward pass over `batch`, padding included.
    pub fn flops(&self, batch: &TokenBatch) -> f64 {
        let width = batch.lengths.iter().max().copied().unwrap_or(0);
        self.model.flops(batch.lengths.len(), width)
    }

    /// The tokenizer the model was trained with.
    pub const fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// All trained values.
    pub const fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Writes everything but the weights.
    pub fn save_description(&self, run: &Path) -> Result<(), ModelError> {
        let description = Description { task: self.labels.task(), config: self.config.clone() };
        write_text(run, CONFIG, &format!("{:#}\n", serde_json::json!(description)))?;
        write_text(run, LABELS, &format!("{:#}\n", serde_json::json!(self.labels.names())))?;
        write_text(run, TOKENIZER, self.tokenizer.json())
    }

    /// Writes the weights as they are now under `name`.
    pub fn save_weights(&self, run: &Path, name: &str) -> Result<(), ModelError> {
        write_weights(&run.join(name), self.parameters.iter())
    }
}

impl Classifier for Student {
    fn labels(&self) -> &LabelSet {
        &self.labels
    }

    fn encode(&self, text: &str, text_pair: Option<&str>) -> Result<Tokens, TextError> {
        self.tokenizer.encode(text, text_pair)
    }

    fn parameter_count(&self) -> usize {
        self.parameters.count()
    }

    fn device(&self) -> Device {
        self.device
    }

    /// Each step of a recurrence has work for one token of each example only; there must be many of them.
    fn batch_tokens(&self) -> usize {
        match self.config.family {
            _ if self.device().is_cuda() => GPU_BATCH_TOKENS,
            Family::Transformer(_) => 512,
            _ => 4096,
        }
    }

    fn logits(&self, batch: &TokenBatch) -> Result<Tensor, ModelError> {
        self.model.logits(batch, false)
    }
}
