//! RoBERTa (Liu et al. 2019, arXiv 1907.11692) and XLM-RoBERTa (Conneau et al. 2020, arXiv 1911.02116), which is
//! the same network on another vocabulary.
//!
//! BERT's encoder, trained without next-sentence prediction (section 4.2). So there is no pooler, and nothing marks
//! the two texts of a pair but separators. Positions count from one after the padding token's id, as fairseq does
//! it: a table of 514 rows holds inputs of 512 tokens.

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
pub(super) struct RobertaConfig {
    #[serde(skip_serializing)]
    model_type: Variant,
    hidden_size: i64,
    num_hidden_layers: usize,
    num_attention_heads: i64,
    intermediate_size: i64,
    vocab_size: i64,
    max_position_embeddings: i64,
    type_vocab_size: i64,
    #[serde(default = "pad_token_id")]
    pad_token_id: i64,
    #[serde(default = "layer_norm_eps")]
    layer_norm_eps: f64,
    #[serde(default)]
    hidden_act: Activation,
    #[serde(default = "initializer_range", skip_serializing)]
    initializer_range: f64,
    #[serde(default)]
    position_embedding_type: PositionEmbedding,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Variant {
    Roberta,
    XlmRoberta,
}

const fn pad_token_id() -> i64 {
    1
}

impl RobertaConfig {
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

impl Checked for RobertaConfig {
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
        divides(self.num_attention_heads, ("hidden_size", self.hidden_size))?;
        positions_after_padding(self.pad_token_id, self.max_position_embeddings)
    }
}

/// Whether a table of positions has a row for a token when they count from after the padding token's id.
pub(super) fn positions_after_padding(padding: i64, positions: i64) -> Result<(), String> {
    if (0..positions - 1).contains(&padding) {
        Ok(())
    } else {
        Err(format!(
            "`max_position_embeddings` {positions} leaves no position after `pad_token_id` {padding}"
        ))
    }
}

/// The head of RoBERTa's, XLM-RoBERTa's and MPNet's `ForSequenceClassification`.
pub(super) const HEAD: FamilyHead = FamilyHead {
    pool: Pool::First,
    dense: "classifier.dense",
    activation: Activation::Tanh,
    dropout_before: true,
    dense_bias: true,
    norm: None,
    output: "classifier.out_proj",
};

impl Architecture for RobertaConfig {
    fn facts(&self) -> Facts {
        Facts {
            prefix: "roberta.",
            layers: "roberta.encoder.layer.",
            depth: self.num_hidden_layers,
            width: self.hidden_size,
            vocabulary: self.vocab_size,
            longest_input: Some((self.max_position_embeddings - self.pad_token_id - 1) as usize),
            initializer_range: self.initializer_range,
            classifier_class: match self.model_type {
                Variant::Roberta => "RobertaForSequenceClassification",
                Variant::XlmRoberta => "XLMRobertaForSequenceClassification",
            },
            encoder_class: match self.model_type {
                Variant::Roberta => "RobertaModel",
                Variant::XlmRoberta => "XLMRobertaModel",
            },
        }
    }

    fn head(&self) -> FamilyHead {
        HEAD
    }

    /// The activation is GELU whatever `hidden_act` says.
    fn masked_head(&self) -> Option<MaskedHead> {
        Some(MaskedHead {
            class: match self.model_type {
                Variant::Roberta => "RobertaForMaskedLM",
                Variant::XlmRoberta => "XLMRobertaForMaskedLM",
            },
            dense: "lm_head.dense",
            dense_bias: true,
            activation: Activation::Gelu,
            norm: HeadNorm { name: "lm_head.layer_norm", epsilon: self.layer_norm_eps, bias: true },
            width: self.hidden_size,
            bias: "lm_head.bias",
        })
    }

    fn build(&self, builder: &Builder) -> Result<Box<dyn Encoder>, ModelError> {
        let sizes = self.sizes();
        let tables = Tables {
            words: self.vocab_size,
            positions: self.max_position_embeddings,
            numbering: Numbering::AfterPadding(self.pad_token_id),
            segments: Segments::First(self.type_vocab_size),
            width: self.hidden_size,
            epsilon: self.layer_norm_eps,
        };
        let embeddings = Embeddings::new(builder, "roberta.embeddings", tables)?;
        let Facts { layers, depth, .. } = self.facts();
        let layers = Layer::many(builder, layers, depth, &Names::BERT, sizes)?;
        Ok(Box::new(Stack::new(embeddings, layers, sizes)))
    }

    fn padding(&self) -> Option<i64> {
        Some(self.pad_token_id)
    }

    fn computation(&self) -> Value {
        as_json(self)
    }
}
