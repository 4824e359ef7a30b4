//! ALBERT (Lan et al. 2020, arXiv 1909.11942): BERT with few parameters.
//!
//! Embeddings are narrower than the layers and times a matrix (section 3.1, "factorized embedding
//! parameterization"), and layers share their parameters ("cross-layer parameter sharing"): all of them in the
//! published models, or those of each of `num_hidden_groups` groups. A layer may itself be several,
//! `inner_group_num`, one after the other.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    super::{
        Activation, Builder, ModelError,
        head::{FamilyHead, HeadNorm, Pool},
        masked_lm::MaskedHead,
    },
    Architecture, Checked, Encoder, Facts, all_positive, as_json, divides,
    embeddings::{Embeddings, Numbering, PositionEmbedding, Segments, Tables},
    initializer_range, layer_norm_eps,
    post_norm::{Layer, Names, Sizes},
    stack::Stack,
};

/// The part of `config.json` that decides the shape of the computation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct AlbertConfig {
    embedding_size: i64,
    hidden_size: i64,
    num_hidden_layers: usize,
    #[serde(default = "one")]
    num_hidden_groups: usize,
    #[serde(default = "one")]
    inner_group_num: usize,
    num_attention_heads: i64,
    intermediate_size: i64,
    vocab_size: i64,
    max_position_embeddings: i64,
    type_vocab_size: i64,
    #[serde(default = "layer_norm_eps")]
    layer_norm_eps: f64,
    #[serde(default = "gelu_new")]
    hidden_act: Activation,
    #[serde(default = "initializer_range", skip_serializing)]
    initializer_range: f64,
    #[serde(default)]
    position_embedding_type: PositionEmbedding,
}

const fn one() -> usize {
    1
}

const fn gelu_new() -> Activation {
    Activation::GeluTanh
}

const NAMES: Names = Names {
    query: "attention.query",
    key: "attention.key",
    value: "attention.value",
    attention_output: "attention.dense",
    attention_norm: "attention.LayerNorm",
    intermediate: "ffn",
    output: "ffn_output",
    output_norm: "full_layer_layer_norm",
};

impl AlbertConfig {
    const fn sizes(&self) -> Sizes {
        Sizes {
            hidden: self.hidden_size,
            inner: self.intermediate_size,
            heads: self.num_attention_heads,
            epsilon: self.layer_norm_eps,
            activation: self.hidden_act,
        }
    }

    /// The group whose parameters a layer has, rounded as `transformers` rounds it.
    fn group(&self, layer: usize) -> usize {
        let layers_a_group = self.num_hidden_layers as f64 / self.num_hidden_groups as f64;
        (layer as f64 / layers_a_group) as usize
    }

    /// The first layer of a group.
    fn first_of(&self, group: usize) -> Option<usize> {
        (0..self.num_hidden_layers).find(|&layer| self.group(layer) == group)
    }
}

impl Checked for AlbertConfig {
    fn check(&self) -> Result<(), String> {
        all_positive([
            ("embedding_size", self.embedding_size),
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers as i64),
            ("num_hidden_groups", self.num_hidden_groups as i64),
            ("inner_group_num", self.inner_group_num as i64),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("vocab_size", self.vocab_size),
            ("max_position_embeddings", self.max_position_embeddings),
            ("type_vocab_size", self.type_vocab_size),
        ])?;
        if self.num_hidden_groups > self.num_hidden_layers {
            return Err(format!(
                "`num_hidden_groups` {} is more than `num_hidden_layers` {}",
                self.num_hidden_groups, self.num_hidden_layers
            ));
        }
        divides(self.num_attention_heads, ("hidden_size", self.hidden_size))
    }
}

impl Architecture for AlbertConfig {
    fn facts(&self) -> Facts {
        Facts {
            prefix: "albert.",
            // The number that follows is a group's.
            layers: "albert.encoder.albert_layer_groups.",
            depth: self.num_hidden_layers,
            width: self.hidden_size,
            vocabulary: self.vocab_size,
            longest_input: Some(self.max_position_embeddings as usize),
            initializer_range: self.initializer_range,
            classifier_class: "AlbertForSequenceClassification",
            encoder_class: "AlbertModel",
        }
    }

    fn head(&self) -> FamilyHead {
        FamilyHead {
            pool: Pool::First,
            dense: "albert.pooler",
            activation: Activation::Tanh,
            dropout_before: false,
            dense_bias: true,
            norm: None,
            output: "classifier",
        }
    }

    fn masked_head(&self) -> Option<MaskedHead> {
        Some(MaskedHead {
            class: "AlbertForMaskedLM",
            dense: "predictions.dense",
            dense_bias: true,
            activation: self.hidden_act,
            norm: HeadNorm {
                name: "predictions.LayerNorm",
                epsilon: self.layer_norm_eps,
                bias: true,
            },
            width: self.embedding_size,
            bias: "predictions.bias",
        })
    }

    fn build(&self, builder: &Builder) -> Result<Box<dyn Encoder>, ModelError> {
        let sizes = self.sizes();
        let tables = Tables {
            words: self.vocab_size,
            positions: self.max_position_embeddings,
            numbering: Numbering::FromZero,
            segments: Segments::Typed(self.type_vocab_size),
            width: self.embedding_size,
            epsilon: self.layer_norm_eps,
        };
        let mapping = "albert.encoder.embedding_hidden_mapping_in";
        let embeddings = Embeddings::new(builder, "albert.embeddings", tables)?.projected(
            builder,
            mapping,
            self.hidden_size,
        )?;
        let inner = self.inner_group_num;
        let mut layers = Vec::new();
        for group in 0..self.num_hidden_groups {
            let prefix = format!("{}{group}.albert_layers.", self.facts().layers);
            layers.extend(Layer::many(builder, &prefix, inner, &NAMES, sizes)?);
        }
        let of_group = |group: usize| -> Range<usize> { group * inner..(group + 1) * inner };
        let runs = (0..self.facts().depth).map(|layer| of_group(self.group(layer))).collect();
        Ok(Box::new(Stack::shared(embeddings, layers, runs, sizes)))
    }

    fn computation(&self) -> Value {
        as_json(self)
    }

    fn layer_of(&self, name: &str) -> Option<usize> {
        let group = name.strip_prefix(self.facts().layers)?.split('.').next()?.parse().ok()?;
        self.first_of(group)
    }

    /// Between groups.
    fn cuts(&self) -> Vec<usize> {
        let starts = (0..self.num_hidden_groups).filter_map(|group| self.first_of(group));
        starts.chain([self.num_hidden_layers]).collect()
    }
}
