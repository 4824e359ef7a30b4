//! BERT (Devlin et al. 2019, arXiv 1810.04805), as `transformers` names and computes it.

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
pub(super) struct BertConfig {
    hidden_size: i64,
    num_hidden_layers: usize,
    num_attention_heads: i64,
    intermediate_size: i64,
    vocab_size: i64,
    max_position_embeddings: i64,
    type_vocab_size: i64,
    #[serde(default = "layer_norm_eps")]
    layer_norm_eps: f64,
    #[serde(default)]
    hidden_act: Activation,
    #[serde(default = "initializer_range", skip_serializing)]
    initializer_range: f64,
    #[serde(default)]
    position_embedding_type: PositionEmbedding,
}

impl BertConfig {
    const fn sizes(&self) -> Sizes {
        Sizes {
            hidden: self.hidden_size,
            inner: self.intermediate_size,
            heads: self.num_attention_heads,
            epsilon: self.layer_norm_eps,
            activation: self.hidden_act,
        }
    }
}

impl Checked for BertConfig {
    fn check(&self) -> Result<(), String> {
        all_positive([
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers as i64),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("vocab_size", self.vocab_size),
            ("max_position_embeddings", self.max_position_embeddings),
            ("type_vocab_size", self.type_vocab_size),
        ])?;
        divides(self.num_attention_heads, ("hidden_size", self.hidden_size))
    }
}

impl Architecture for BertConfig {
    fn facts(&self) -> Facts {
        Facts {
            prefix: "bert.",
            layers: "bert.encoder.layer.",
            depth: self.num_hidden_layers,
            width: self.hidden_size,
            vocabulary: self.vocab_size,
            longest_input: Some(self.max_position_embeddings as usize),
            initializer_range: self.initializer_range,
            classifier_class: "BertForSequenceClassification",
            encoder_class: "BertModel",
        }
    }

    fn head(&self) -> FamilyHead {
        FamilyHead {
            pool: Pool::First,
            dense: "bert.pooler.dense",
            dense_bias: true,
            activation: Activation::Tanh,
            norm: None,
            dropout_before: false,
            output: "classifier",
        }
    }

    fn masked_head(&self) -> Option<MaskedHead> {
        Some(MaskedHead {
            class: "BertForMaskedLM",
            dense: "cls.predictions.transform.dense",
            dense_bias: true,
            activation: self.hidden_act,
            norm: HeadNorm {
                name: "cls.predictions.transform.LayerNorm",
                epsilon: self.layer_norm_eps,
                bias: true,
            },
            width: self.hidden_size,
            bias: "cls.predictions.bias",
        })
    }

    fn build(&self, builder: &Builder) -> Result<Box<dyn Encoder>, ModelError> {
        let sizes = self.sizes();
        let tables = Tables {
            words: self.vocab_size,
            positions: self.max_position_embeddings,
            numbering: Numbering::FromZero,
            segments: Segments::Typed(self.type_vocab_size),
            width: self.hidden_size,
            epsilon: self.layer_norm_eps,
        };
        let embeddings = Embeddings::new(builder, "bert.embeddings", tables)?;
        let Facts { layers, depth, .. } = self.facts();
        let layers = Layer::many(builder, layers, depth, &Names::BERT, sizes)?;
        Ok(Box::new(Stack::new(embeddings, layers, sizes)))
    }

    fn computation(&self) -> Value {
        as_json(self)
    }
}
