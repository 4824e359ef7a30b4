//! ELECTRA (Clark et al. 2020, arXiv 2003.10555): BERT's encoder, trained to find the tokens that a small generator
//! replaced.
//!
//! What differs is the width of embeddings, which in the small models is less than that of the layers; a linear layer
//! comes between (section 3.2, appendix A). Generators are encoders too and are read alike; the paper fine-tunes
//! the discriminator.

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
pub(super) struct ElectraConfig {
    embedding_size: i64,
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

impl ElectraConfig {
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

impl Checked for ElectraConfig {
    fn check(&self) -> Result<(), String> {
        all_positive([
            ("embedding_size", self.embedding_size),
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

impl Architecture for ElectraConfig {
    fn facts(&self) -> Facts {
        Facts {
            prefix: "electra.",
            layers: "electra.encoder.layer.",
            depth: self.num_hidden_layers,
            width: self.hidden_size,
            vocabulary: self.vocab_size,
            longest_input: Some(self.max_position_embeddings as usize),
            initializer_range: self.initializer_range,
            classifier_class: "ElectraForSequenceClassification",
            encoder_class: "ElectraModel",
        }
    }

    /// The activation is GELU whatever `hidden_act` says.
    fn head(&self) -> FamilyHead {
        FamilyHead {
            pool: Pool::First,
            dense: "classifier.dense",
            activation: Activation::Gelu,
            dropout_before: true,
            dense_bias: true,
            norm: None,
            output: "classifier.out_proj",
        }
    }

    /// The generator's. The activation is GELU whatever `hidden_act` says.
    fn masked_head(&self) -> Option<MaskedHead> {
        Some(MaskedHead {
            class: "ElectraForMaskedLM",
            dense: "generator_predictions.dense",
            dense_bias: true,
            activation: Activation::Gelu,
            norm: HeadNorm {
                name: "generator_predictions.LayerNorm",
                epsilon: self.layer_norm_eps,
                bias: true,
            },
            width: self.embedding_size,
            bias: "generator_lm_head.bias",
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
        let mut embeddings = Embeddings::new(builder, "electra.embeddings", tables)?;
        if self.embedding_size != self.hidden_size {
            let name = "electra.embeddings_project";
            embeddings = embeddings.projected(builder, name, self.hidden_size)?;
        }
        let Facts { layers, depth, .. } = self.facts();
        let layers = Layer::many(builder, layers, depth, &Names::BERT, sizes)?;
        Ok(Box::new(Stack::new(embeddings, layers, sizes)))
    }

    fn computation(&self) -> Value {
        as_json(self)
    }
}
