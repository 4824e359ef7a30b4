//! DistilBERT (Sanh et al. 2019, arXiv 1910.01108): every other layer of BERT, taught by BERT.
//!
//! BERT's encoder under names of its own, without pooler and without segments (section 3). Positions may have been
//! sinusoids when training began; checkpoints hold them like any other table.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    super::{
        Activation, Builder, ModelError,
        head::{FamilyHead, HeadNorm, Pool},
        masked_lm::MaskedHead,
    },
    Architecture, Checked, Encoder, Facts, all_positive, as_json, divides,
    embeddings::{Embeddings, Numbering, Segments, Tables},
    initializer_range, layer_norm_eps,
    post_norm::{Layer, Names, Sizes},
    stack::Stack,
};

/// The part of `config.json` that decides the shape of the computation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct DistilBertConfig {
    dim: i64,
    n_layers: usize,
    n_heads: i64,
    hidden_dim: i64,
    vocab_size: i64,
    max_position_embeddings: i64,
    #[serde(default)]
    activation: Activation,
    #[serde(default = "initializer_range", skip_serializing)]
    initializer_range: f64,
}

const NAMES: Names = Names {
    query: "attention.q_lin",
    key: "attention.k_lin",
    value: "attention.v_lin",
    attention_output: "attention.out_lin",
    attention_norm: "sa_layer_norm",
    intermediate: "ffn.lin1",
    output: "ffn.lin2",
    output_norm: "output_layer_norm",
};

impl DistilBertConfig {
    const fn sizes(&self) -> Sizes {
        Sizes {
            hidden: self.dim,
            inner: self.hidden_dim,
            heads: self.n_heads,
            // Not in the configuration.
            epsilon: layer_norm_eps(),
            activation: self.activation,
        }
    }
}

impl Checked for DistilBertConfig {
    fn check(&self) -> Result<(), String> {
        all_positive([
            ("dim", self.dim),
            ("n_layers", self.n_layers as i64),
            ("n_heads", self.n_heads),
            ("hidden_dim", self.hidden_dim),
            ("vocab_size", self.vocab_size),
            ("max_position_embeddings", self.max_position_embeddings),
        ])?;
        divides(self.n_heads, ("dim", self.dim))
    }
}

impl Architecture for DistilBertConfig {
    fn facts(&self) -> Facts {
        Facts {
            prefix: "distilbert.",
            layers: "distilbert.transformer.layer.",
            depth: self.n_layers,
            width: self.dim,
            vocabulary: self.vocab_size,
            longest_input: Some(self.max_position_embeddings as usize),
            initializer_range: self.initializer_range,
            classifier_class: "DistilBertForSequenceClassification",
            encoder_class: "DistilBertModel",
        }
    }

    fn head(&self) -> FamilyHead {
        FamilyHead {
            pool: Pool::First,
            dense: "pre_classifier",
            activation: Activation::Relu,
            dropout_before: false,
            dense_bias: true,
            norm: None,
            output: "classifier",
        }
    }

    fn masked_head(&self) -> Option<MaskedHead> {
        Some(MaskedHead {
            class: "DistilBertForMaskedLM",
            dense: "vocab_transform",
            dense_bias: true,
            activation: self.activation,
            norm: HeadNorm { name: "vocab_layer_norm", epsilon: layer_norm_eps(), bias: true },
            width: self.dim,
            bias: "vocab_projector.bias",
        })
    }

    fn build(&self, builder: &Builder) -> Result<Box<dyn Encoder>, ModelError> {
        let sizes = self.sizes();
        let tables = Tables {
            words: self.vocab_size,
            positions: self.max_position_embeddings,
            numbering: Numbering::FromZero,
            segments: Segments::Unmarked,
            width: self.dim,
            epsilon: sizes.epsilon,
        };
        let embeddings = Embeddings::new(builder, "distilbert.embeddings", tables)?;
        let Facts { layers, depth, .. } = self.facts();
        let layers = Layer::many(builder, layers, depth, &NAMES, sizes)?;
        Ok(Box::new(Stack::new(embeddings, layers, sizes)))
    }

    fn computation(&self) -> Value {
        as_json(self)
    }
}
