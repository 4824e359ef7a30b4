//! A teacher: encoder, pooling and classification head from one Hugging Face folder, with the
//! fingerprint that names everything its answers depend on.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

use super::{
    Arithmetic, Builder, Classifier, Init, ModelError, Parameters, TokenBatch,
    bert::Bert,
    folder::{malformed, read_json, write_text},
    layers::dropout,
    linear::{Kernels, Linear},
    teacher_config::{bert_config, labels, settings},
    weights::{bytes, find_weights, write_weights},
};
use crate::{data::LabelSet, text::Tokenizer, wire::Fingerprint};

/// Changes when the same folder would be read, tokenised or computed differently.
const PREPROCESSING_VERSION: &str = "lectern teacher 1";

/// How `[B, T, H]` hidden states become the `[B, H]` that the head classifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// The mean over tokens, special ones included; what sentence encoders are trained with.
    #[default]
    Mean,
    /// The first token's hidden state.
    Cls,
    /// BERT's own: the first token's hidden state through a dense layer and tanh.
    Pooler,
}

impl Pooling {
    fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Cls => "cls",
            Self::Pooler => "pooler",
        }
    }
}

/// What Lectern adds to `config.json`, under the key `lectern`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TeacherSettings {
    /// Which pooling the head was trained with.
    pub pooling: Pooling,
    /// Longest input in tokens.
    pub max_length: usize,
}

/// A BERT classifier.
#[derive(Debug)]
pub struct Teacher {
    folder: PathBuf,
    config: Value,
    settings: TeacherSettings,
    bert: Bert,
    pooler: Option<Linear>,
    head: Linear,
    labels: LabelSet,
    tokenizer: Tokenizer,
    parameters: Parameters,
    device: Device,
    arithmetic: Arithmetic,
    /// Of a teacher whose parameters were released.
    fingerprint: Option<Fingerprint>,
}

impl Teacher {
    /// Reads a finished classifier: a folder that [`save`](Self::save) wrote, or a
    /// `BertForSequenceClassification` of `transformers`.
    pub fn load(folder: &Path, device: Device) -> Result<Self, ModelError> {
        let config: Value = read_json(&folder.join("config.json"))?;
        let settings = settings(folder, &config)?;
        let labels = labels(folder, &config)?;
        Self::build(folder, config, settings, labels, device, Init::Required)
    }

    /// Puts a new head for `labels` on an encoder. A pooler that the folder lacks starts fresh, from
    /// libtorch's random state, as the head does.
    pub fn from_encoder(
        folder: &Path,
        labels: LabelSet,
        settings: TeacherSettings,
        device: Device,
    ) -> Result<Self, ModelError> {
        let config: Value = read_json(&folder.join("config.json"))?;
        let std = bert_config(folder, &config)?.initializer_range;
        Self::build(folder, config, settings, labels, device, Init::Normal(std))
    }

    fn build(
        folder: &Path,
        config: Value,
        settings: TeacherSettings,
        labels: LabelSet,
        device: Device,
        head: Init,
    ) -> Result<Self, ModelError> {
        let shape = bert_config(folder, &config)?;
        if settings.max_length < 3 || settings.max_length as i64 > shape.max_position_embeddings {
            return Err(malformed(
                &folder.join("config.json"),
                format!(
                    "maximum length {} must lie between 3 and max_position_embeddings {}",
                    settings.max_length, shape.max_position_embeddings
                ),
            ));
        }
        let tokenizer = Tokenizer::from_folder(folder, settings.max_length)?;
        if tokenizer.vocabulary_size() as i64 > shape.vocab_size {
            return Err(malformed(
                folder,
                format!(
                    "tokenizer has {} ids, the word table only {} rows: they are not of one model",
                    tokenizer.vocabulary_size(),
                    shape.vocab_size
                ),
            ));
        }
        let (path, tensors) = find_weights(folder)?;
        let mut tensors = canonical_names(tensors);
        if !matches!(head, Init::Required) {
            // Another task's head must not be taken for this one's.
            tensors.retain(|name, _| !name.starts_with("classifier."));
        }
        let builder = Builder::from_weights(tensors, &path, device);
        let hidden = shape.hidden_size;
        let bias = if matches!(head, Init::Required) { head } else { Init::Zeros };
        let linear = |name: &str, output| Linear::new(&builder, name, hidden, output, head, bias);
        let bert = Bert::new(&builder, &shape)?;
        let pooler = match settings.pooling {
            Pooling::Pooler => Some(linear("bert.pooler.dense", hidden)?),
            Pooling::Mean | Pooling::Cls => None,
        };
        let head = linear("classifier", labels.len() as i64)?;
        let parameters = builder.finish()?;
        let folder = folder.to_owned();
        Ok(Self {
            folder,
            config,
            settings,
            bert,
            pooler,
            head,
            labels,
            tokenizer,
            parameters,
            device,
            arithmetic: Arithmetic::Float32,
            fingerprint: None,
        })
    }

    /// [`load`](Self::load) for inference alone: the weights are converted to `arithmetic` and laid out
    /// as the device multiplies them fastest. They can be neither trained nor saved.
    ///
    /// Pooler and head stay in float32, whatever the arithmetic: they cost nothing, and logits are what
    /// a teacher is for.
    pub fn load_for_serving(
        folder: &Path,
        device: Device,
        arithmetic: Arithmetic,
    ) -> Result<Self, ModelError> {
        let kernels = Kernels::new(device, arithmetic)?;
        let teacher = Self::load(folder, Device::Cpu)?;
        let arithmetic = kernels.arithmetic();
        let fingerprint = teacher.fingerprint_in(arithmetic)?;
        let mut parameters = teacher.parameters;
        parameters.release();
        Ok(Self {
            pooler: teacher.pooler.map(|pooler| pooler.to_device(device)).transpose()?,
            head: teacher.head.to_device(device)?,
            bert: teacher.bert.served(kernels)?,
            parameters,
            device,
            arithmetic,
            fingerprint: Some(fingerprint),
            ..teacher
        })
    }

    /// `[B, C]` raw logits, with dropout of probability `p` on the way, 0 outside training.
    pub fn forward(&self, batch: &TokenBatch, p: f64) -> Result<Tensor, ModelError> {
        let hidden = self.bert.forward(batch, p)?;
        self.head.forward(&dropout(self.pool(&hidden, batch)?, p)?)
    }

    /// `[B, T, H]` to `[B, H]`.
    fn pool(&self, hidden: &Tensor, batch: &TokenBatch) -> Result<Tensor, ModelError> {
        let first = || hidden.f_select(1, 0);
        match (&self.pooler, self.settings.pooling) {
            (Some(pooler), _) => Ok(pooler.forward(&first()?)?.f_tanh()?),
            (None, Pooling::Mean) => mean_over_tokens(hidden, batch.mask.as_ref()),
            (None, _) => Ok(first()?),
        }
    }

    #[cfg(test)]
    pub(super) fn hidden_and_pooled(
        &self,
        batch: &TokenBatch,
    ) -> Result<(Tensor, Tensor), ModelError> {
        let hidden = self.bert.forward(batch, 0.0)?;
        let pooled = self.pool(&hidden, batch)?;
        Ok((hidden, pooled))
    }

    /// What the folder's name, or the last part of its path, calls this teacher.
    pub fn name(&self) -> String {
        let whole = fs::canonicalize(&self.folder).unwrap_or_else(|_| self.folder.clone());
        whole.file_name().map_or_else(|| "teacher".to_owned(), |n| n.to_string_lossy().into_owned())
    }

    /// Family and size, for people.
    pub fn architecture(&self) -> String {
        let number = |key: &str| self.config.get(key).cloned().unwrap_or_default();
        format!(
            "bert, {} layers x {}, {} pooling",
            number("num_hidden_layers"),
            number("hidden_size"),
            self.settings.pooling.name()
        )
    }

    /// Pooling and maximum length.
    pub const fn settings(&self) -> TeacherSettings {
        self.settings
    }

    /// Number of encoder layers.
    pub fn layers(&self) -> usize {
        self.bert.depth()
    }

    /// What the encoder computes with.
    pub const fn arithmetic(&self) -> Arithmetic {
        self.arithmetic
    }

    /// Operations of the matrix products of a forward pass over `batch`, padding included; pooler and
    /// head, a thousandth of the whole, are left out. See [`Bert::flops`].
    pub fn flops(&self, batch: &TokenBatch) -> f64 {
        let width = batch.lengths.iter().max().copied().unwrap_or(0);
        self.bert.flops(batch.lengths.len(), width)
    }

    /// Hash of everything that can change an answer: preprocessing version, arithmetic, settings, the
    /// shape of the computation, labels, tokenizer, and every weight with its name.
    pub fn fingerprint(&self) -> Result<Fingerprint, ModelError> {
        self.fingerprint.clone().map_or_else(|| self.fingerprint_in(self.arithmetic), Ok)
    }

    fn fingerprint_in(&self, arithmetic: Arithmetic) -> Result<Fingerprint, ModelError> {
        let arithmetic = arithmetic.to_string();
        let mut hasher = blake3::Hasher::new();
        let mut part = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        let shape =
            ["num_attention_heads", "layer_norm_eps", "hidden_act", "position_embedding_type"]
                .map(|key| self.config.get(key));
        part(PREPROCESSING_VERSION.as_bytes());
        part(json!([self.settings, arithmetic, shape, self.labels]).to_string().as_bytes());
        part(self.tokenizer.json().as_bytes());
        for (name, tensor) in self.parameters.iter() {
            part(name.as_bytes());
            part(format!("{:?}", tensor.size()).as_bytes());
            part(&bytes(tensor)?);
        }
        Ok(Fingerprint::from_hash(&hasher.finalize()))
    }

    /// Writes the teacher as a folder in the Hugging Face format: weights last, each file whole.
    ///
    /// With pooler pooling `transformers` loads it as `BertForSequenceClassification`; with the others
    /// the folder says so under `lectern.pooling`, as `transformers` has no such class.
    pub fn save(&self, folder: &Path) -> Result<(), ModelError> {
        if self.fingerprint.is_some() {
            return Err(ModelError::Released);
        }
        fs::create_dir_all(folder)
            .map_err(|source| ModelError::Read { path: folder.to_owned(), source })?;
        for name in ["tokenizer_config.json", "special_tokens_map.json", "vocab.txt"] {
            if let Ok(text) = fs::read_to_string(self.folder.join(name)) {
                write_text(folder, name, &text)?;
            }
        }
        write_text(folder, "tokenizer.json", self.tokenizer.json())?;
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
        config["architectures"] = match self.settings.pooling {
            Pooling::Pooler => json!(["BertForSequenceClassification"]),
            Pooling::Mean | Pooling::Cls => json!(["BertModel"]),
        };
        config["problem_type"] = json!("single_label_classification");
        config["dtype"] = json!("float32");
        config["lectern"] = json!(self.settings);
        config
    }
}

impl Classifier for Teacher {
    fn labels(&self) -> &LabelSet {
        &self.labels
    }

    fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn device(&self) -> Device {
        self.device
    }

    fn logits(&self, batch: &TokenBatch) -> Result<Tensor, ModelError> {
        self.forward(batch, 0.0)
    }
}

/// `[B, T, H]` to `[B, H]`: the mean over each example's tokens, padding left out.
fn mean_over_tokens(hidden: &Tensor, mask: Option<&Tensor>) -> Result<Tensor, ModelError> {
    let dim = [1i64].as_slice();
    let Some(mask) = mask else {
        return Ok(hidden.f_mean_dim(dim, false, None)?);
    };
    let mask = mask.f_unsqueeze(2)?.f_to_kind(Kind::Float)?;
    let sum = hidden.f_mul(&mask)?.f_sum_dim_intlist(dim, false, None)?;
    Ok(sum.f_div(&mask.f_sum_dim_intlist(dim, false, None)?)?)
}

/// Tensor names as `BertForSequenceClassification` has them, from any BERT checkpoint: a bare
/// `BertModel` gets its `bert.` prefix, and the original release's `gamma` and `beta` their new names.
fn canonical_names(tensors: HashMap<String, Tensor>) -> HashMap<String, Tensor> {
    let bare = ["embeddings.", "encoder.", "pooler."];
    tensors
        .into_iter()
        .map(|(name, tensor)| {
            let name = match name.strip_suffix(".gamma").or(name.strip_suffix(".beta")) {
                Some(norm) if name.ends_with("gamma") => format!("{norm}.weight"),
                Some(norm) => format!("{norm}.bias"),
                None => name,
            };
            let is_bare = bare.iter().any(|prefix| name.starts_with(prefix));
            (if is_bare { format!("bert.{name}") } else { name }, tensor)
        })
        .collect()
}
