//! A teacher: encoder, pooling and classification head from one Hugging Face folder, with the
//! fingerprint that names everything its answers depend on.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::{Value, json};
use tch::{Device, Tensor};

use super::{
    Arithmetic, Builder, Classifier, HeadKind, Init, ModelError, Parameters, TokenBatch,
    encoder_folder::{canonical_names, is_left_over, tokenizer_of, write_tokenizer},
    encoders::{Architecture, Encoder, Facts, architecture},
    fingerprint::Parts,
    folder::{name, read_json, write_text},
    head::Head,
    linear::Kernels,
    served::{Reader, ServedModel},
    teacher_config::{TeacherSettings, labels, settings, task},
    weights::{Layout, bytes, find_weights_in, write_weights},
};
use crate::{
    data::{LabelSet, Task},
    text::{TextError, Tokenizer, Tokens},
    wire::Fingerprint,
};

/// Changes when the same folder would be read, tokenised or computed differently.
const PREPROCESSING_VERSION: &str = "lectern teacher 2";

/// Where a teacher's parameters begin.
#[derive(Debug, Clone, Copy)]
struct Start {
    device: Device,
    /// Of the weights as they are read.
    layout: Layout,
    /// What the head has beyond the file.
    head: Init,
}

/// An encoder with a classification head. A clone has the same weights in the same memory, for another thread.
#[derive(Debug, Clone)]
pub struct Teacher {
    folder: PathBuf,
    config: Value,
    settings: TeacherSettings,
    architecture: Box<dyn Architecture>,
    encoder: Box<dyn Encoder>,
    head: Head,
    labels: LabelSet,
    /// Shared with those who read text for it: a vocabulary takes megabytes.
    tokenizer: Arc<Tokenizer>,
    parameters: Parameters,
    device: Device,
    arithmetic: Arithmetic,
    /// Of a teacher whose parameters were released.
    fingerprint: Option<Fingerprint>,
}

impl Teacher {
    /// Reads a finished classifier: a folder that [`save`](Self::save) wrote, or a
    /// `ForSequenceClassification` of `transformers`.
    pub fn load(folder: &Path, device: Device) -> Result<Self, ModelError> {
        Self::load_in(folder, Start { device, layout: Layout::Apart, head: Init::Required })
    }

    fn load_in(folder: &Path, start: Start) -> Result<Self, ModelError> {
        let config: Value = read_json(&folder.join("config.json"))?;
        let architecture = architecture(folder, &config)?;
        let settings = settings(folder, &config, architecture.as_ref())?;
        let labels = labels(folder, &config)?;
        Self::build(folder, config, architecture, settings, labels, start)
    }

    /// The task of a finished classifier, before anything else of it is read.
    pub fn task(folder: &Path) -> Result<Task, ModelError> {
        task(folder, &read_json(&folder.join("config.json"))?)
    }

    /// Puts a new head for `labels` on an encoder. What the head has beyond the encoder's own tensors starts
    /// fresh, from libtorch's random state; so does a family's pooler where the folder lacks it.
    pub fn from_encoder(
        folder: &Path,
        labels: LabelSet,
        settings: TeacherSettings,
        device: Device,
    ) -> Result<Self, ModelError> {
        let config: Value = read_json(&folder.join("config.json"))?;
        let architecture = architecture(folder, &config)?;
        let head = Init::Normal(architecture.facts().initializer_range);
        let start = Start { device, layout: Layout::Apart, head };
        Self::build(folder, config, architecture, settings, labels, start)
    }

    fn build(
        folder: &Path,
        config: Value,
        architecture: Box<dyn Architecture>,
        settings: TeacherSettings,
        labels: LabelSet,
        Start { device, layout, head }: Start,
    ) -> Result<Self, ModelError> {
        let tokenizer = tokenizer_of(folder, architecture.as_ref(), settings.max_length)?;
        let (path, tensors) = find_weights_in(folder, layout)?;
        let prefix = architecture.facts().prefix;
        let mut tensors = canonical_names(tensors, prefix);
        if !matches!(head, Init::Required) {
            // Another task's head must not be taken for this one's.
            tensors.retain(|name, _| name.starts_with(prefix));
        }
        let builder = Builder::from_weights(tensors, &path, device)
            .with_left_over(move |name| name.strip_prefix(prefix).is_none_or(is_left_over));
        let encoder = architecture.build(&builder)?;
        let (hidden, classes) = (architecture.facts().width, labels.len() as i64);
        let head = Head::new(&builder, settings.head, architecture.head(), hidden, classes, head)?;
        let parameters = builder.finish()?;
        Ok(Self {
            folder: folder.to_owned(),
            config,
            settings,
            architecture,
            encoder,
            head,
            labels,
            tokenizer: Arc::new(tokenizer),
            parameters,
            device,
            arithmetic: Arithmetic::Float32,
            fingerprint: None,
        })
    }

    /// [`load`](Self::load) for inference alone: the weights are converted to `arithmetic` and laid out
    /// as the device multiplies them fastest. They can be neither trained nor saved.
    pub fn load_for_serving(
        folder: &Path,
        device: Device,
        arithmetic: Arithmetic,
    ) -> Result<Self, ModelError> {
        let kernels = Kernels::new(device, arithmetic)?;
        let start = Start { device: Device::Cpu, layout: Layout::Blocks, head: Init::Required };
        let teacher = Self::load_in(folder, start)?;
        let fingerprint = teacher.fingerprint_in(&kernels.name())?;
        let mut parameters = teacher.parameters;
        parameters.release();
        Ok(Self {
            head: teacher.head.to_device(device)?,
            encoder: teacher.encoder.served(&kernels)?,
            parameters,
            device,
            arithmetic: kernels.arithmetic(),
            fingerprint: Some(fingerprint),
            ..teacher
        })
    }

    /// `[B, C]` raw logits, with dropout of probability `p` on the way, 0 outside training.
    pub fn forward(&self, batch: &TokenBatch, p: f64) -> Result<Tensor, ModelError> {
        self.head.forward(&self.encoder.forward(batch, p)?, batch, p)
    }

    /// `[B, T, H]` hidden states after the first `layers` encoder layers, without dropout: what
    /// [`forward_from`](Self::forward_from) goes on with.
    pub fn hidden_after(&self, layers: usize, batch: &TokenBatch) -> Result<Tensor, ModelError> {
        self.encoder.layers(0..layers, self.encoder.embed(batch, 0.0)?, batch, 0.0)
    }

    /// [`forward`](Self::forward) from the `[B, T, H]` that enters layer `layer`, counted from 0. Rows of padding may
    /// hold anything finite.
    pub fn forward_from(
        &self,
        layer: usize,
        hidden: Tensor,
        batch: &TokenBatch,
        p: f64,
    ) -> Result<Tensor, ModelError> {
        let hidden = self.encoder.layers(layer..self.layers(), hidden, batch, p)?;
        self.head.forward(&hidden, batch, p)
    }

    #[cfg(test)]
    pub(super) fn hidden_and_pooled(
        &self,
        batch: &TokenBatch,
    ) -> Result<(Tensor, Tensor), ModelError> {
        let hidden = self.encoder.forward(batch, 0.0)?;
        let pooled = self.head.pool(&hidden, batch)?;
        Ok((hidden, pooled))
    }

    /// The tokenizer the model was trained with.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// All trained values.
    pub const fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// What people call it: the last part of the folder's path, or its name on the hub.
    pub fn name(&self) -> String {
        name(&self.folder).unwrap_or_else(|| "teacher".to_owned())
    }

    /// Family and size, for people.
    pub fn architecture(&self) -> String {
        let family = self.config.get("model_type").and_then(Value::as_str).unwrap_or_default();
        let Facts { depth, width, .. } = self.architecture.facts();
        format!("{family}, {depth} layers x {width}, {}", self.settings.head)
    }

    /// Head and maximum length.
    pub const fn settings(&self) -> TeacherSettings {
        self.settings
    }

    /// Number of encoder layers.
    pub fn layers(&self) -> usize {
        self.encoder.depth()
    }

    /// `H`, the size of a hidden state.
    pub fn width(&self) -> usize {
        self.architecture.facts().width as usize
    }

    /// Name of the encoder's table of word embeddings.
    pub fn word_table(&self) -> String {
        self.architecture.word_table()
    }

    /// The encoder layer that a parameter belongs to, the first if several share it; `None` for embeddings, what
    /// is added to every layer's attention, and the head.
    pub fn layer_of(&self, parameter: &str) -> Option<usize> {
        self.architecture.layer_of(parameter)
    }

    /// The layers below which the encoder can be frozen: 0, the depth, and those between that share no parameter
    /// with one below.
    pub fn cuts(&self) -> Vec<usize> {
        self.architecture.cuts()
    }

    /// Whether a parameter is of the encoder, and not of the head.
    pub fn is_of_encoder(&self, parameter: &str) -> bool {
        let head = matches!(self.settings.head, HeadKind::Family).then(|| self.architecture.head());
        parameter.starts_with(self.architecture.facts().prefix)
            && !head.is_some_and(|head| parameter.starts_with(head.dense))
    }

    /// What the encoder computes with.
    pub const fn arithmetic(&self) -> Arithmetic {
        self.arithmetic
    }

    /// Operations of the matrix products of a forward pass over `batch`, padding included; the
    /// head's, a thousandth of the whole, are left out.
    pub fn flops(&self, batch: &TokenBatch) -> f64 {
        let width = batch.lengths.iter().max().copied().unwrap_or(0);
        self.encoder.flops(batch.lengths.len(), width)
    }

    /// Hash of everything that can change an answer: preprocessing version, arithmetic, settings, the
    /// shape of the computation, task, labels, tokenizer, and every weight with its name.
    pub fn fingerprint(&self) -> Result<Fingerprint, ModelError> {
        let here = || self.fingerprint_in(&self.arithmetic.to_string());
        self.fingerprint.clone().map_or_else(here, Ok)
    }

    fn fingerprint_in(&self, arithmetic: &str) -> Result<Fingerprint, ModelError> {
        let mut parts = Parts::default();
        let (family, shape) =
            (self.architecture.facts().classifier_class, self.architecture.computation());
        let outputs = json!([self.labels.task(), self.labels.names()]);
        let settings = json!([self.settings, arithmetic, family, shape, outputs]);
        parts.add(PREPROCESSING_VERSION.as_bytes());
        parts.add(settings.to_string().as_bytes());
        parts.add(self.tokenizer.json().as_bytes());
        parts.add_parameters(&self.parameters)?;
        Ok(parts.finish())
    }

    /// Hash of the encoder's weights with their names, and of the tokenizer: what a fine-tuning starts from, whatever
    /// head it puts on it.
    pub fn encoder_hash(&self) -> Result<String, ModelError> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.tokenizer.json().as_bytes());
        for (name, tensor) in self.parameters.iter().filter(|(name, _)| self.is_of_encoder(name)) {
            hasher.update(name.as_bytes()).update(&bytes(tensor)?);
        }
        Ok(hasher.finalize().to_hex()[..16].to_owned())
    }

    /// Writes the teacher as a folder in the Hugging Face format: weights last, each file whole.
    ///
    /// With the family's head `transformers` loads it as the family's `ForSequenceClassification`; with the
    /// others the folder says so under `lectern`, as `transformers` has no such class.
    pub fn save(&self, folder: &Path) -> Result<(), ModelError> {
        if self.fingerprint.is_some() {
            return Err(ModelError::Released);
        }
        fs::create_dir_all(folder)
            .map_err(|source| ModelError::Read { path: folder.to_owned(), source })?;
        write_tokenizer(&self.folder, &self.tokenizer, folder)?;
        write_text(folder, "config.json", &format!("{:#}\n", self.config_to_save()))?;
        write_weights(&folder.join("model.safetensors"), self.parameters.iter())
    }

    fn config_to_save(&self) -> Value {
        let names = self.labels.names();
        let id2label: serde_json::Map<_, _> =
            names.iter().enumerate().map(|(id, name)| (id.to_string(), json!(name))).collect();
        let label2id: serde_json::Map<_, _> =
            names.iter().enumerate().map(|(id, name)| (name.clone(), json!(id))).collect();
        let mut config = self.config.clone();
        config["id2label"] = id2label.into();
        config["label2id"] = label2id.into();
        config["architectures"] = match self.settings.head {
            HeadKind::Family => json!([self.architecture.facts().classifier_class]),
            HeadKind::Linear { .. } | HeadKind::Mlp { .. } => {
                json!([self.architecture.facts().encoder_class])
            }
        };
        config["problem_type"] = json!(self.labels.task().problem_type());
        config["dtype"] = json!("float32");
        config["lectern"] = json!(self.settings);
        config
    }
}

impl Classifier for Teacher {
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

    fn logits(&self, batch: &TokenBatch) -> Result<Tensor, ModelError> {
        self.forward(batch, 0.0)
    }
}

impl ServedModel for Teacher {
    fn reader(&self) -> Arc<dyn Reader> {
        Arc::<Tokenizer>::clone(&self.tokenizer)
    }

    fn mask_token(&self) -> Option<&'static str> {
        self.tokenizer.mask_token()
    }

    fn name(&self) -> String {
        self.name()
    }

    fn architecture(&self) -> String {
        self.architecture()
    }

    fn max_length(&self) -> usize {
        self.settings.max_length
    }

    fn arithmetic(&self) -> Arithmetic {
        self.arithmetic
    }

    fn fingerprint(&self) -> Result<Fingerprint, ModelError> {
        self.fingerprint()
    }

    fn flops(&self, batch: &TokenBatch) -> f64 {
        self.flops(batch)
    }

    fn another(&self) -> Option<Box<dyn ServedModel>> {
        Some(Box::new(self.clone()))
    }
}
