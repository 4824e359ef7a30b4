//! BERT (Devlin et al. 2019, arXiv 1810.04805), as `transformers` names and computes it.
//!
//! `B` examples, `T` tokens, `H` hidden size, `A` heads, `D = H / A`.

use serde::Deserialize;
use tch::Tensor;

use super::{
    Builder, Init, ModelError, TokenBatch,
    layers::{LayerNorm, Linear, dropout},
};

/// The part of `config.json` that decides the shape of the computation.
#[derive(Debug, Clone, Deserialize)]
pub struct BertConfig {
    /// `H`.
    pub hidden_size: i64,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// `A`.
    pub num_attention_heads: i64,
    /// Width of the feed-forward layer.
    pub intermediate_size: i64,
    /// Rows of the word table.
    pub vocab_size: i64,
    /// Longest input.
    pub max_position_embeddings: i64,
    /// Segments.
    pub type_vocab_size: i64,
    /// Added to the variance in layer normalisation.
    #[serde(default = "layer_norm_eps")]
    pub layer_norm_eps: f64,
    /// Activation of the feed-forward layer.
    #[serde(default)]
    pub hidden_act: Activation,
    /// Standard deviation of new weights.
    #[serde(default = "initializer_range")]
    pub initializer_range: f64,
    #[serde(default)]
    position_embedding_type: PositionEmbedding,
}

const fn layer_norm_eps() -> f64 {
    1e-12
}

const fn initializer_range() -> f64 {
    0.02
}

/// The activations that BERT checkpoints use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum Activation {
    /// Exact GELU, with the error function.
    #[default]
    #[serde(rename = "gelu")]
    Gelu,
    /// GELU by tanh.
    #[serde(rename = "gelu_new", alias = "gelu_pytorch_tanh")]
    GeluTanh,
    /// ReLU.
    #[serde(rename = "relu")]
    Relu,
}

impl Activation {
    fn apply(self, x: &Tensor) -> Result<Tensor, ModelError> {
        Ok(match self {
            Self::Gelu => x.f_gelu("none")?,
            Self::GeluTanh => x.f_gelu("tanh")?,
            Self::Relu => x.f_relu()?,
        })
    }
}

/// Only learned absolute positions are BERT; the field is there to refuse the rest by name.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum PositionEmbedding {
    #[default]
    Absolute,
}

impl BertConfig {
    /// What is wrong with these numbers, if anything.
    pub fn check(&self) -> Result<(), String> {
        let positive = [
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers as i64),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("vocab_size", self.vocab_size),
            ("max_position_embeddings", self.max_position_embeddings),
            ("type_vocab_size", self.type_vocab_size),
        ];
        if let Some((name, value)) = positive.iter().find(|(_, value)| *value <= 0) {
            return Err(format!("`{name}` is {value}, must be positive"));
        }
        let (hidden, heads) = (self.hidden_size, self.num_attention_heads);
        if hidden % heads != 0 {
            return Err(format!("`hidden_size` {hidden} is no multiple of {heads} heads"));
        }
        let PositionEmbedding::Absolute = self.position_embedding_type;
        Ok(())
    }
}

/// The encoder: `[B, T]` tokens to `[B, T, H]` hidden states.
#[derive(Debug)]
pub struct Bert {
    words: Tensor,
    positions: Tensor,
    types: Tensor,
    norm: LayerNorm,
    layers: Vec<Layer>,
}

impl Bert {
    /// Takes the encoder's parameters, all named `bert.…`, from `builder`.
    pub fn new(builder: &Builder, config: &BertConfig) -> Result<Self, ModelError> {
        let hidden = config.hidden_size;
        let table = |name: &str, rows| {
            builder.get(&format!("bert.embeddings.{name}.weight"), &[rows, hidden], Init::Required)
        };
        Ok(Self {
            words: table("word_embeddings", config.vocab_size)?,
            positions: table("position_embeddings", config.max_position_embeddings)?,
            types: table("token_type_embeddings", config.type_vocab_size)?,
            norm: LayerNorm::new(
                builder,
                "bert.embeddings.LayerNorm",
                hidden,
                config.layer_norm_eps,
            )?,
            layers: (0..config.num_hidden_layers)
                .map(|i| Layer::new(builder, &format!("bert.encoder.layer.{i}"), config))
                .collect::<Result<_, _>>()?,
        })
    }

    /// Number of layers.
    pub fn depth(&self) -> usize {
        self.layers.len()
    }

    /// Hidden states `[B, T, H]`. Rows of padding hold values without meaning.
    ///
    /// `dropout` is the probability on embeddings, attention and both residual branches; 0 outside
    /// training. The word table's gradient is sparse: it holds the rows of this batch alone.
    pub fn forward(&self, batch: &TokenBatch, dropout_p: f64) -> Result<Tensor, ModelError> {
        let tokens = batch.ids.size()[1];
        let words = Tensor::f_embedding(&self.words, &batch.ids, -1, false, true)?;
        let types = Tensor::f_embedding(&self.types, &batch.type_ids, -1, false, false)?;
        let positions = self.positions.f_narrow(0, 0, tokens)?;
        let sum = words.f_add(&types)?.f_add(&positions)?;
        let mut hidden = dropout(self.norm.forward(&sum)?, dropout_p)?;
        // [B, 1, 1, T]: every head and every query sees the tokens and not the padding.
        let mask = batch.mask.as_ref().map(|m| m.f_unsqueeze(1)?.f_unsqueeze(1)).transpose()?;
        for layer in &self.layers {
            hidden = layer.forward(&hidden, mask.as_ref(), dropout_p)?;
        }
        Ok(hidden)
    }
}

#[derive(Debug)]
struct Layer {
    query: Linear,
    key: Linear,
    value: Linear,
    attention_output: Linear,
    attention_norm: LayerNorm,
    intermediate: Linear,
    output: Linear,
    output_norm: LayerNorm,
    activation: Activation,
    heads: i64,
}

impl Layer {
    fn new(builder: &Builder, name: &str, config: &BertConfig) -> Result<Self, ModelError> {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let linear = |part: &str, input, output| {
            let name = format!("{name}.{part}");
            Linear::new(builder, &name, input, output, Init::Required, Init::Required)
        };
        let norm = |part: &str| {
            LayerNorm::new(builder, &format!("{name}.{part}"), hidden, config.layer_norm_eps)
        };
        Ok(Self {
            query: linear("attention.self.query", hidden, hidden)?,
            key: linear("attention.self.key", hidden, hidden)?,
            value: linear("attention.self.value", hidden, hidden)?,
            attention_output: linear("attention.output.dense", hidden, hidden)?,
            attention_norm: norm("attention.output.LayerNorm")?,
            intermediate: linear("intermediate.dense", hidden, inner)?,
            output: linear("output.dense", inner, hidden)?,
            output_norm: norm("output.LayerNorm")?,
            activation: config.hidden_act,
            heads: config.num_attention_heads,
        })
    }

    fn forward(&self, x: &Tensor, mask: Option<&Tensor>, drop: f64) -> Result<Tensor, ModelError> {
        let (b, t, h) = x.size3()?;
        // [B, T, H] -> [B, A, T, D]
        let split = |projection: &Linear| -> Result<Tensor, ModelError> {
            let shape = [b, t, self.heads, h / self.heads];
            Ok(projection.forward(x)?.f_view(shape)?.f_transpose(1, 2)?)
        };
        let (query, key, value) = (split(&self.query)?, split(&self.key)?, split(&self.value)?);
        let attended = Tensor::f_scaled_dot_product_attention(
            &query, &key, &value, mask, drop, false, None, false,
        )?;
        let attended = attended.f_transpose(1, 2)?.f_reshape([b, t, h])?;
        let attended = dropout(self.attention_output.forward(&attended)?, drop)?;
        let x = self.attention_norm.forward(&attended.f_add(x)?)?;
        let inner = self.activation.apply(&self.intermediate.forward(&x)?)?;
        let output = dropout(self.output.forward(&inner)?, drop)?;
        self.output_norm.forward(&output.f_add(&x)?)
    }
}
