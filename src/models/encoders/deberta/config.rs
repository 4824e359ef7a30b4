//! What `config.json` says of a DeBERTa, and what of its second version's choices the third leaves: everything
//! else is refused by name.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::{
    super::{
        Activation, Builder, ModelError,
        head::{FamilyHead, HeadNorm, Pool},
        masked_lm::MaskedHead,
    },
    Architecture, Checked, Encoder, Facts, all_positive, as_json, divides, initializer_range,
    post_norm::Sizes,
};
use super::Deberta;

/// The part of `config.json` that decides the shape of the computation.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "four switches of config.json")]
pub(in super::super) struct DebertaConfig {
    hidden_size: i64,
    num_hidden_layers: usize,
    num_attention_heads: i64,
    intermediate_size: i64,
    pub(super) vocab_size: i64,
    max_position_embeddings: i64,
    #[serde(default)]
    type_vocab_size: i64,
    #[serde(default = "layer_norm_eps")]
    layer_norm_eps: f64,
    #[serde(default)]
    hidden_act: Activation,
    #[serde(default)]
    pooler_hidden_act: Activation,
    #[serde(default, skip_serializing)]
    pooler_dropout: f64,
    #[serde(default = "initializer_range", skip_serializing)]
    initializer_range: f64,
    #[serde(default = "unset")]
    max_relative_positions: i64,
    #[serde(default = "unset")]
    position_buckets: i64,
    pub(super) pos_att_type: Terms,
    #[serde(default)]
    norm_rel_ebd: String,
    #[serde(default)]
    relative_attention: bool,
    #[serde(default)]
    share_att_key: bool,
    #[serde(default = "yes")]
    position_biased_input: bool,
    #[serde(default)]
    conv_kernel_size: i64,
    /// Which of two names the head of its language model has.
    #[serde(default = "yes", skip_serializing)]
    legacy: bool,
    embedding_size: Option<i64>,
    pooler_hidden_size: Option<i64>,
}

/// Which terms with positions the scores have.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "WrittenTerms")]
pub(super) struct Terms {
    /// Content to position.
    pub(super) c2p: bool,
    /// Position to content.
    pub(super) p2c: bool,
}

impl Terms {
    /// How many.
    pub(super) const fn count(self) -> u8 {
        self.c2p as u8 + self.p2c as u8
    }
}

/// `"p2c|c2p"` or `["p2c", "c2p"]`.
#[derive(Deserialize)]
#[serde(untagged)]
enum WrittenTerms {
    Joined(String),
    Apart(Vec<String>),
}

impl TryFrom<WrittenTerms> for Terms {
    type Error = String;

    fn try_from(written: WrittenTerms) -> Result<Self, String> {
        let names = match written {
            WrittenTerms::Joined(names) => names.split('|').map(str::to_owned).collect(),
            WrittenTerms::Apart(names) => names,
        };
        let mut terms = Self { c2p: false, p2c: false };
        for name in names {
            match name.trim().to_lowercase().as_str() {
                "c2p" => terms.c2p = true,
                "p2c" => terms.p2c = true,
                other => return Err(format!("{other:?} is neither c2p nor p2c")),
            }
        }
        Ok(terms)
    }
}

const fn layer_norm_eps() -> f64 {
    1e-7
}

const fn unset() -> i64 {
    -1
}

const fn yes() -> bool {
    true
}

impl DebertaConfig {
    pub(super) const fn sizes(&self) -> Sizes {
        Sizes {
            hidden: self.hidden_size,
            inner: self.intermediate_size,
            heads: self.num_attention_heads,
            epsilon: self.layer_norm_eps,
            activation: self.hidden_act,
        }
    }

    /// Distances up to this are told apart, if only by their bucket.
    pub(super) const fn farthest(&self) -> i64 {
        if self.max_relative_positions < 1 {
            self.max_position_embeddings
        } else {
            self.max_relative_positions
        }
    }

    /// Number of buckets; `None` where each distance has its own.
    pub(super) fn buckets(&self) -> Option<i64> {
        (self.position_buckets > 0).then_some(self.position_buckets)
    }
}

impl Checked for DebertaConfig {
    fn check(&self) -> Result<(), String> {
        all_positive([
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers as i64),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("vocab_size", self.vocab_size),
            ("max_position_embeddings", self.max_position_embeddings),
        ])?;
        divides(self.num_attention_heads, ("hidden_size", self.hidden_size))?;
        let width = |size: Option<i64>| size.is_none_or(|size| size == self.hidden_size);
        let supported = [
            ("conv_kernel_size", "0", self.conv_kernel_size == 0),
            ("embedding_size", "that of hidden_size", width(self.embedding_size)),
            ("norm_rel_ebd", "layer_norm", self.norm_rel_ebd == "layer_norm"),
            ("pooler_hidden_size", "that of hidden_size", width(self.pooler_hidden_size)),
            ("position_biased_input", "false", !self.position_biased_input),
            ("relative_attention", "true", self.relative_attention),
            ("share_att_key", "true", self.share_att_key),
            ("type_vocab_size", "0", self.type_vocab_size == 0),
        ];
        if let Some((name, value, _)) = supported.iter().find(|(_, _, holds)| !holds) {
            return Err(format!("`{name}` must be {value}, as in every DeBERTa-v3"));
        }
        match self.buckets() {
            Some(buckets) if buckets < 2 || buckets / 2 + 1 >= self.farthest() => Err(format!(
                "`position_buckets` {buckets} must lie between 2 and twice the farthest distance, {}",
                self.farthest()
            )),
            _ => Ok(()),
        }
    }
}

impl Architecture for DebertaConfig {
    fn facts(&self) -> Facts {
        Facts {
            prefix: "deberta.",
            layers: "deberta.encoder.layer.",
            depth: self.num_hidden_layers,
            width: self.hidden_size,
            vocabulary: self.vocab_size,
            longest_input: None,
            initializer_range: self.initializer_range,
            classifier_class: "DebertaV2ForSequenceClassification",
            encoder_class: "DebertaV2Model",
        }
    }

    fn head(&self) -> FamilyHead {
        FamilyHead {
            pool: Pool::First,
            dense: "pooler.dense",
            dense_bias: true,
            activation: self.pooler_hidden_act,
            norm: None,
            dropout_before: self.pooler_dropout > 0.0,
            output: "classifier",
        }
    }

    fn masked_head(&self) -> Option<MaskedHead> {
        let [dense, norm, bias] = if self.legacy {
            [
                "cls.predictions.transform.dense",
                "cls.predictions.transform.LayerNorm",
                "cls.predictions.bias",
            ]
        } else {
            [
                "lm_predictions.lm_head.dense",
                "lm_predictions.lm_head.LayerNorm",
                "lm_predictions.lm_head.bias",
            ]
        };
        Some(MaskedHead {
            class: "DebertaV2ForMaskedLM",
            dense,
            dense_bias: true,
            activation: self.hidden_act,
            norm: HeadNorm { name: norm, epsilon: self.layer_norm_eps, bias: true },
            width: self.hidden_size,
            bias,
        })
    }

    fn build(&self, builder: &Builder) -> Result<Box<dyn Encoder>, ModelError> {
        Ok(Box::new(Deberta::new(builder, self)?))
    }

    fn computation(&self) -> Value {
        as_json(self)
    }
}
