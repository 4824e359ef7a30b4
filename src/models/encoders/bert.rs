//! BERT (Devlin et al. 2019, arXiv 1810.04805), as `transformers` names and computes it.
//!
//! `B` examples, `T` tokens, `H` hidden size.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tch::Tensor;

use super::{
    super::{
        Activation, Builder, Init, ModelError, TokenBatch,
        head::{FamilyHead, Pool},
        layers::{LayerNorm, dropout},
        linear::Kernels,
    },
    Architecture, Checked, Encoder, all_positive, as_json,
    attention::Shape,
    divides, initializer_range, layer_norm_eps,
    post_norm::{Layer, Names, Sizes, run},
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

/// Only learned absolute positions are BERT; the field is there to refuse the rest by name.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum PositionEmbedding {
    #[default]
    Absolute,
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
    fn prefix(&self) -> &'static str {
        "bert."
    }

    fn layers(&self) -> &'static str {
        "bert.encoder.layer."
    }

    fn depth(&self) -> usize {
        self.num_hidden_layers
    }

    fn width(&self) -> i64 {
        self.hidden_size
    }

    fn vocabulary(&self) -> i64 {
        self.vocab_size
    }

    fn longest_input(&self) -> Option<usize> {
        Some(self.max_position_embeddings as usize)
    }

    fn initializer_range(&self) -> f64 {
        self.initializer_range
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

    fn classifier_class(&self) -> &'static str {
        "BertForSequenceClassification"
    }

    fn encoder_class(&self) -> &'static str {
        "BertModel"
    }

    fn build(&self, builder: &Builder) -> Result<Box<dyn Encoder>, ModelError> {
        Ok(Box::new(Bert::new(builder, self)?))
    }

    fn computation(&self) -> Value {
        as_json(self)
    }
}

/// Words, positions and segments added up, then layers.
#[derive(Debug)]
struct Bert {
    words: Tensor,
    positions: Tensor,
    types: Tensor,
    norm: LayerNorm,
    layers: Vec<Layer>,
    sizes: Sizes,
    kernels: Option<Kernels>,
}

impl Bert {
    fn new(builder: &Builder, config: &BertConfig) -> Result<Self, ModelError> {
        let sizes = config.sizes();
        let table = |name: &str, rows| {
            let name = format!("bert.embeddings.{name}.weight");
            builder.get(&name, &[rows, sizes.hidden], Init::Required)
        };
        let layer =
            |i| Layer::new(builder, &format!("bert.encoder.layer.{i}"), &Names::BERT, sizes);
        let norm = "bert.embeddings.LayerNorm";
        Ok(Self {
            words: table("word_embeddings", config.vocab_size)?,
            positions: table("position_embeddings", config.max_position_embeddings)?,
            types: table("token_type_embeddings", config.type_vocab_size)?,
            norm: LayerNorm::new(builder, norm, sizes.hidden, sizes.epsilon)?,
            layers: (0..config.num_hidden_layers).map(layer).collect::<Result<_, _>>()?,
            sizes,
            kernels: None,
        })
    }
}

impl Encoder for Bert {
    fn embed(&self, batch: &TokenBatch, drop: f64) -> Result<Tensor, ModelError> {
        let words = Tensor::f_embedding(&self.words, &batch.ids, -1, false, true)?;
        let types = Tensor::f_embedding(&self.types, &batch.type_ids, -1, false, false)?;
        let positions = self.positions.f_narrow(0, 0, batch.ids.size()[1])?;
        let sum = words.f_add(&types)?.f_add(&positions)?;
        dropout(self.norm.forward(&sum)?, drop)
    }

    fn layers(
        &self,
        range: Range<usize>,
        hidden: Tensor,
        batch: &TokenBatch,
        drop: f64,
    ) -> Result<Tensor, ModelError> {
        let shape = Shape::masked(batch, hidden.kind())?;
        run(&self.layers[range], self.kernels.as_ref(), &hidden, &shape, drop)
    }

    fn depth(&self) -> usize {
        self.layers.len()
    }

    fn flops(&self, examples: usize, tokens: usize) -> f64 {
        self.sizes.flops(self.depth(), examples, tokens)
    }

    fn served(self: Box<Self>, kernels: &Kernels) -> Result<Box<dyn Encoder>, ModelError> {
        let layers = self.layers.into_iter().map(|layer| layer.served(kernels));
        Ok(Box::new(Self {
            layers: layers.collect::<Result<_, _>>()?,
            words: kernels.tensor(&self.words)?,
            positions: kernels.tensor(&self.positions)?,
            types: kernels.tensor(&self.types)?,
            norm: self.norm.served(kernels)?,
            sizes: self.sizes,
            kernels: Some(kernels.clone()),
        }))
    }
}
