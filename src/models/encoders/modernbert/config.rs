//! What `config.json` says of a ModernBERT: as `transformers` 4 wrote it (`global_attn_every_n_layers`,
//! `global_rope_theta`, `local_rope_theta`) or as its version 5 does (`layer_types`, `rope_parameters`).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::{
    super::{
        Activation, Builder, Init, ModelError, Pooling,
        head::{FamilyHead, HeadNorm, Pool},
        masked_lm::MaskedHead,
    },
    Architecture, Checked, Encoder, Facts, all_positive, as_json, divides, initial,
    initializer_range,
};
use super::ModernBert;

/// Which tokens a layer's attention reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Reach {
    #[serde(rename = "full_attention")]
    Global,
    #[serde(rename = "sliding_attention")]
    Local,
}

/// The part of `config.json` that decides the shape of the computation.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "Written")]
pub(in super::super) struct ModernBertConfig {
    pub(super) hidden_size: i64,
    pub(super) intermediate_size: i64,
    pub(super) num_attention_heads: i64,
    pub(super) vocab_size: i64,
    max_position_embeddings: i64,
    pub(super) norm_eps: f64,
    pub(super) biases: Biases,
    pub(super) hidden_activation: Activation,
    classifier_activation: Activation,
    classifier_pooling: Pooling,
    /// Tokens that a local layer sees, half of them on each side.
    pub(super) local_attention: i64,
    /// Of each layer.
    pub(super) layer_types: Vec<Reach>,
    global_theta: f64,
    local_theta: f64,
    #[serde(skip_serializing)]
    initializer_range: f64,
    #[serde(skip_serializing)]
    initializer_cutoff_factor: f64,
}

/// Which parts have one.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "four switches of config.json")]
pub(super) struct Biases {
    #[serde(default, rename = "attention_bias")]
    pub(super) attention: bool,
    #[serde(default, rename = "classifier_bias")]
    pub(super) classifier: bool,
    #[serde(default, rename = "mlp_bias")]
    pub(super) mlp: bool,
    #[serde(default, rename = "norm_bias")]
    pub(super) norm: bool,
}

/// The fields as files have them.
#[derive(Deserialize)]
struct Written {
    hidden_size: i64,
    intermediate_size: i64,
    num_hidden_layers: usize,
    num_attention_heads: i64,
    vocab_size: i64,
    max_position_embeddings: i64,
    #[serde(default = "norm_eps")]
    norm_eps: f64,
    #[serde(flatten)]
    biases: Biases,
    #[serde(default)]
    hidden_activation: Activation,
    #[serde(default)]
    classifier_activation: Activation,
    #[serde(default = "cls")]
    classifier_pooling: Pooling,
    #[serde(default = "local_attention")]
    local_attention: i64,
    #[serde(default = "initializer_range")]
    initializer_range: f64,
    #[serde(default = "initializer_cutoff_factor")]
    initializer_cutoff_factor: f64,
    layer_types: Option<Vec<Reach>>,
    #[serde(default = "every_third")]
    global_attn_every_n_layers: usize,
    rope_parameters: Option<Ropes>,
    rope_scaling: Option<Value>,
    #[serde(default = "global_theta")]
    global_rope_theta: f64,
    #[serde(default = "local_theta")]
    local_rope_theta: f64,
}

/// Rotation of the layers of each reach.
#[derive(Default, Deserialize)]
struct Ropes {
    full_attention: Option<Rope>,
    sliding_attention: Option<Rope>,
}

/// Rotation of the layers of one reach.
#[derive(Deserialize)]
struct Rope {
    #[serde(default)]
    rope_type: RopeType,
    rope_theta: Option<f64>,
}

/// Only plain rotation is ModernBERT; the field is there to refuse the rest by name.
#[derive(Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RopeType {
    #[default]
    Default,
}

const fn norm_eps() -> f64 {
    1e-5
}

const fn cls() -> Pooling {
    Pooling::Cls
}

const fn local_attention() -> i64 {
    128
}

const fn initializer_cutoff_factor() -> f64 {
    2.0
}

const fn every_third() -> usize {
    3
}

const fn global_theta() -> f64 {
    160_000.0
}

const fn local_theta() -> f64 {
    10_000.0
}

impl TryFrom<Written> for ModernBertConfig {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        if written.rope_scaling.is_some_and(|scaling| !scaling.is_null()) {
            return Err("`rope_scaling` is not supported".to_owned());
        }
        let (depth, every) = (written.num_hidden_layers, written.global_attn_every_n_layers);
        let layer_types = match written.layer_types {
            Some(types) if types.len() == depth => types,
            Some(types) => {
                let n = types.len();
                return Err(format!("`layer_types` has {n} entries for {depth} layers"));
            }
            None if every == 0 => {
                return Err("`global_attn_every_n_layers` is 0, must be positive".to_owned());
            }
            None => {
                let reach = |i| if i % every == 0 { Reach::Global } else { Reach::Local };
                (0..depth).map(reach).collect()
            }
        };
        let rope = written.rope_parameters.unwrap_or_default();
        let theta = |rope: Option<Rope>, older| match rope {
            Some(Rope { rope_type: RopeType::Default, rope_theta: Some(theta) }) => theta,
            _ => older,
        };
        Ok(Self {
            hidden_size: written.hidden_size,
            intermediate_size: written.intermediate_size,
            num_attention_heads: written.num_attention_heads,
            vocab_size: written.vocab_size,
            max_position_embeddings: written.max_position_embeddings,
            norm_eps: written.norm_eps,
            biases: written.biases,
            hidden_activation: written.hidden_activation,
            classifier_activation: written.classifier_activation,
            classifier_pooling: written.classifier_pooling,
            local_attention: written.local_attention,
            layer_types,
            global_theta: theta(rope.full_attention, written.global_rope_theta),
            local_theta: theta(rope.sliding_attention, written.local_rope_theta),
            initializer_range: written.initializer_range,
            initializer_cutoff_factor: written.initializer_cutoff_factor,
        })
    }
}

impl ModernBertConfig {
    /// `θ` of the layers of a reach.
    pub(super) const fn theta(&self, reach: Reach) -> f64 {
        match reach {
            Reach::Global => self.global_theta,
            Reach::Local => self.local_theta,
        }
    }
}

impl Checked for ModernBertConfig {
    fn check(&self) -> Result<(), String> {
        all_positive([
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.layer_types.len() as i64),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("vocab_size", self.vocab_size),
            ("max_position_embeddings", self.max_position_embeddings),
            ("local_attention", self.local_attention),
        ])?;
        divides(self.num_attention_heads, ("hidden_size", self.hidden_size))?;
        match self.hidden_size / self.num_attention_heads {
            width if width % 2 == 0 => Ok(()),
            width => Err(format!("a head has {width} units, an odd number: RoPE turns pairs")),
        }
    }
}

impl Architecture for ModernBertConfig {
    fn facts(&self) -> Facts {
        Facts {
            prefix: "model.",
            layers: "model.layers.",
            depth: self.layer_types.len(),
            width: self.hidden_size,
            vocabulary: self.vocab_size,
            longest_input: Some(self.max_position_embeddings as usize),
            initializer_range: self.initializer_range,
            classifier_class: "ModernBertForSequenceClassification",
            encoder_class: "ModernBertModel",
        }
    }

    fn head(&self) -> FamilyHead {
        FamilyHead {
            pool: match self.classifier_pooling {
                Pooling::Cls => Pool::First,
                Pooling::Mean => Pool::Mean,
            },
            dense: "head.dense",
            dense_bias: self.biases.classifier,
            activation: self.classifier_activation,
            norm: Some(HeadNorm {
                name: "head.norm",
                epsilon: self.norm_eps,
                bias: self.biases.norm,
            }),
            dropout_before: false,
            output: "classifier",
        }
    }

    fn masked_head(&self) -> Option<MaskedHead> {
        Some(MaskedHead {
            class: "ModernBertForMaskedLM",
            dense: "head.dense",
            dense_bias: self.biases.classifier,
            activation: self.classifier_activation,
            norm: HeadNorm { name: "head.norm", epsilon: self.norm_eps, bias: self.biases.norm },
            width: self.hidden_size,
            bias: "decoder.bias",
        })
    }

    fn build(&self, builder: &Builder) -> Result<Box<dyn Encoder>, ModelError> {
        Ok(Box::new(ModernBert::new(builder, self)?))
    }

    /// Matrices whose products are added to the residual stream are smaller the more of them there are.
    fn initial(&self, name: &str, shape: &[i64]) -> Init {
        let cutoff = self.initializer_cutoff_factor;
        match initial(name, shape, self.initializer_range) {
            Init::Normal(std) if name.ends_with(".Wo.weight") => {
                let added = 2.0 * self.layer_types.len() as f64;
                Init::TruncatedNormal { std: std / added.sqrt(), cutoff }
            }
            Init::Normal(std) => Init::TruncatedNormal { std, cutoff },
            other => other,
        }
    }

    fn computation(&self) -> Value {
        as_json(self)
    }

    fn word_table(&self) -> String {
        "model.embeddings.tok_embeddings.weight".to_owned()
    }

    fn layer_of(&self, name: &str) -> Option<usize> {
        // The last layer's output is normalised; with that layer the norm is trained or frozen.
        if name.starts_with("model.final_norm.") {
            return self.facts().depth.checked_sub(1);
        }
        name.strip_prefix(self.facts().layers)?.split('.').next()?.parse().ok()
    }
}
