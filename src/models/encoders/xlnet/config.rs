//! What `config.json` says of an XLNet.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::{
    super::{
        Activation, Builder, ModelError,
        head::{FamilyHead, Pool},
    },
    Architecture, Checked, Encoder, Facts, TwoStreams, all_positive, as_json, divides,
    initializer_range, layer_norm_eps,
};
use super::XlNet;

/// The part of `config.json` that decides the shape of the computation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in super::super) struct XlNetConfig {
    pub(super) d_model: i64,
    pub(super) n_layer: usize,
    pub(super) n_head: i64,
    pub(super) d_inner: i64,
    d_head: Option<i64>,
    pub(super) vocab_size: i64,
    #[serde(default)]
    pub(super) ff_activation: Activation,
    #[serde(default = "layer_norm_eps")]
    pub(super) layer_norm_eps: f64,
    /// Distances are cut off here; not at all if it is not positive.
    #[serde(default = "unset")]
    pub(super) clamp_len: i64,
    #[serde(default)]
    attn_type: Direction,
    #[serde(default)]
    bi_data: bool,
    #[serde(default)]
    summary_type: Summary,
    #[serde(default = "tanh")]
    summary_activation: Activation,
    #[serde(default = "yes")]
    summary_use_proj: bool,
    #[serde(default = "initializer_range", skip_serializing)]
    initializer_range: f64,
}

/// `uni` is Transformer-XL; the field is there to refuse it by name.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Direction {
    #[default]
    Bi,
}

/// Which token's state stands for a text.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Summary {
    First,
    #[default]
    Last,
}

const fn unset() -> i64 {
    -1
}

const fn tanh() -> Activation {
    Activation::Tanh
}

const fn yes() -> bool {
    true
}

impl Checked for XlNetConfig {
    fn check(&self) -> Result<(), String> {
        all_positive([
            ("d_model", self.d_model),
            ("n_layer", self.n_layer as i64),
            ("n_head", self.n_head),
            ("d_inner", self.d_inner),
            ("vocab_size", self.vocab_size),
        ])?;
        divides(self.n_head, ("d_model", self.d_model))?;
        let width = self.d_model / self.n_head;
        if self.d_model % 2 != 0 {
            return Err(format!("`d_model` {} is odd: positions are pairs of sines", self.d_model));
        }
        if let Some(given) = self.d_head.filter(|given| *given != width) {
            return Err(format!("`d_head` is {given}, must be `d_model` / `n_head`, {width}"));
        }
        if self.bi_data {
            return Err("`bi_data` true is not supported: it halves batches by direction".into());
        }
        if !self.summary_use_proj {
            return Err("`summary_use_proj` false is not supported".to_owned());
        }
        Ok(())
    }
}

impl Architecture for XlNetConfig {
    fn facts(&self) -> Facts {
        Facts {
            prefix: "transformer.",
            layers: "transformer.layer.",
            depth: self.n_layer,
            width: self.d_model,
            vocabulary: self.vocab_size,
            longest_input: None,
            initializer_range: self.initializer_range,
            classifier_class: "XLNetForSequenceClassification",
            encoder_class: "XLNetModel",
        }
    }

    fn head(&self) -> FamilyHead {
        FamilyHead {
            pool: match self.summary_type {
                Summary::First => Pool::First,
                Summary::Last => Pool::Last,
            },
            dense: "sequence_summary.summary",
            dense_bias: true,
            activation: self.summary_activation,
            norm: None,
            dropout_before: false,
            output: "logits_proj",
        }
    }

    fn build(&self, builder: &Builder) -> Result<Box<dyn Encoder>, ModelError> {
        Ok(Box::new(XlNet::new(builder, self)?))
    }

    fn build_two_streams(
        &self,
        builder: &Builder,
    ) -> Result<Option<Box<dyn TwoStreams>>, ModelError> {
        Ok(Some(Box::new(XlNet::new(builder, self)?)))
    }

    fn computation(&self) -> Value {
        as_json(self)
    }

    fn word_table(&self) -> String {
        "transformer.word_embedding.weight".to_owned()
    }
}
