//! BERT (Devlin et al. 2019, arXiv 1810.04805), as `transformers` names and computes it.
//!
//! `B` examples, `T` tokens, `H` hidden size, `A` heads, `D = H / A`, `R >= B T` rows.

use serde::Deserialize;
use tch::{Kind, Tensor};

use super::{
    Builder, Init, ModelError, TokenBatch,
    layers::{LayerNorm, dropout, padded_to},
    linear::{Kernels, Linear},
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
    pub(super) fn apply(self, x: &Tensor) -> Result<Tensor, ModelError> {
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
    inner: i64,
    kernels: Option<Kernels>,
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
            inner: config.intermediate_size,
            kernels: None,
        })
    }

    /// The encoder, laid out to be served; takes the trained one apart layer by layer, so that no more
    /// than one layer exists twice.
    pub(super) fn served(self, kernels: Kernels) -> Result<Self, ModelError> {
        let layers = self.layers.into_iter().map(|layer| layer.served(&kernels));
        Ok(Self {
            layers: layers.collect::<Result<_, _>>()?,
            words: kernels.tensor(&self.words)?,
            positions: kernels.tensor(&self.positions)?,
            types: kernels.tensor(&self.types)?,
            norm: self.norm.served(&kernels)?,
            inner: self.inner,
            kernels: Some(kernels),
        })
    }

    /// Number of layers.
    pub fn depth(&self) -> usize {
        self.layers.len()
    }

    /// Operations of the matrix products of one forward pass over `[B, T]` tokens, padding included: in
    /// each layer 2 for every token and weight, `4 H² + 2 H I` of them with `I` the inner width, and
    /// `4 B T² H` for attention's two products.
    pub fn flops(&self, examples: usize, tokens: usize) -> f64 {
        let (b, t, hidden) = (examples as f64, tokens as f64, self.words.size()[1] as f64);
        let weights = 4.0 * hidden * hidden + 2.0 * hidden * self.inner as f64;
        self.depth() as f64 * (2.0 * b * t * weights + 4.0 * b * t * t * hidden)
    }

    /// Hidden states `[B, T, H]`, float32. Rows of padding hold values without meaning.
    ///
    /// `dropout` is the probability on embeddings, attention and both residual branches; 0 outside
    /// training. The word table's gradient is sparse: it holds the rows of this batch alone.
    pub fn forward(&self, batch: &TokenBatch, dropout_p: f64) -> Result<Tensor, ModelError> {
        let (b, t) = batch.ids.size2()?;
        let words = Tensor::f_embedding(&self.words, &batch.ids, -1, false, true)?;
        let types = Tensor::f_embedding(&self.types, &batch.type_ids, -1, false, false)?;
        let positions = self.positions.f_narrow(0, 0, t)?;
        let sum = words.f_add(&types)?.f_add(&positions)?;
        let hidden = dropout(self.norm.forward(&sum)?, dropout_p)?.f_flatten(0, 1)?;

        let rows = self.kernels.as_ref().map_or(b * t, |kernels| kernels.rows(b * t));
        let mut hidden = padded_to(rows, hidden)?;
        let shape = Shape { examples: b, tokens: t, mask: attention_mask(batch, hidden.kind())? };
        for layer in &self.layers {
            hidden = layer.forward(&hidden, &shape, dropout_p)?;
        }
        let hidden = hidden.f_narrow(0, 0, b * t)?.f_view([b, t, -1])?;
        Ok(hidden.f_to_kind(Kind::Float)?)
    }
}

/// What attention must know of the examples that lie in `R` rows.
struct Shape {
    examples: i64,
    tokens: i64,
    mask: Option<Tensor>,
}

/// `[B, 1, 1, T]`, added to the scores of every head and query: 0 at tokens, -∞ at padding.
fn attention_mask(batch: &TokenBatch, kind: Kind) -> Result<Option<Tensor>, ModelError> {
    let Some(mask) = &batch.mask else { return Ok(None) };
    let zeros = Tensor::f_zeros(mask.size(), (kind, mask.device()))?;
    let mask = zeros.f_masked_fill(&mask.f_logical_not()?, f64::NEG_INFINITY)?;
    Ok(Some(mask.f_unsqueeze(1)?.f_unsqueeze(1)?))
}

#[derive(Debug)]
struct Layer {
    projections: Projections,
    attention_output: Linear,
    attention_norm: LayerNorm,
    intermediate: Linear,
    output: Linear,
    output_norm: LayerNorm,
    activation: Activation,
    heads: i64,
}

/// Query, key and value of self-attention.
#[derive(Debug)]
enum Projections {
    /// As trained, each with parameters of its own.
    Apart([Linear; 3]),
    /// One product instead of three.
    Joined(Linear),
}

impl Projections {
    /// `[R, H]` to three of `[R, H]`.
    fn forward(&self, x: &Tensor) -> Result<[Tensor; 3], ModelError> {
        match self {
            Self::Apart([query, key, value]) => {
                Ok([query.forward(x)?, key.forward(x)?, value.forward(x)?])
            }
            Self::Joined(all) => {
                let (all, hidden) = (all.forward(x)?, x.size()[1]);
                let part = |i| all.f_narrow(1, i * hidden, hidden);
                Ok([part(0)?, part(1)?, part(2)?])
            }
        }
    }

    fn served(self, kernels: &Kernels) -> Result<Self, ModelError> {
        Ok(Self::Joined(match self {
            Self::Apart(parts) => kernels.linear(&Linear::joined(&parts)?)?,
            Self::Joined(all) => all,
        }))
    }
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
            projections: Projections::Apart([
                linear("attention.self.query", hidden, hidden)?,
                linear("attention.self.key", hidden, hidden)?,
                linear("attention.self.value", hidden, hidden)?,
            ]),
            attention_output: linear("attention.output.dense", hidden, hidden)?,
            attention_norm: norm("attention.output.LayerNorm")?,
            intermediate: linear("intermediate.dense", hidden, inner)?,
            output: linear("output.dense", inner, hidden)?,
            output_norm: norm("output.LayerNorm")?,
            activation: config.hidden_act,
            heads: config.num_attention_heads,
        })
    }

    fn served(self, kernels: &Kernels) -> Result<Self, ModelError> {
        Ok(Self {
            projections: self.projections.served(kernels)?,
            attention_output: kernels.linear(&self.attention_output)?,
            attention_norm: self.attention_norm.served(kernels)?,
            intermediate: kernels.linear(&self.intermediate)?,
            output: kernels.linear(&self.output)?,
            output_norm: self.output_norm.served(kernels)?,
            activation: self.activation,
            heads: self.heads,
        })
    }

    /// `[R, H]` to `[R, H]`; the first `B T` rows are the examples'.
    fn forward(&self, x: &Tensor, shape: &Shape, drop: f64) -> Result<Tensor, ModelError> {
        let attended = padded_to(x.size()[0], self.attend(x, shape, drop)?)?;
        let attended = dropout(self.attention_output.forward(&attended)?, drop)?;
        let x = self.attention_norm.forward(&attended.f_add(x)?)?;
        let inner = self.intermediate.forward_then(self.activation, &x)?;
        let output = dropout(self.output.forward(&inner)?, drop)?;
        self.output_norm.forward(&output.f_add(&x)?)
    }

    /// `[R, H]` to `[B T, H]`.
    fn attend(&self, x: &Tensor, shape: &Shape, drop: f64) -> Result<Tensor, ModelError> {
        let (b, t, hidden) = (shape.examples, shape.tokens, x.size()[1]);
        // [R, H] -> [B, A, T, D]
        let split = |rows: Tensor| {
            let heads = [b, t, self.heads, hidden / self.heads];
            rows.f_narrow(0, 0, b * t)?.f_view(heads)?.f_transpose(1, 2)
        };
        let [query, key, value] = self.projections.forward(x)?;
        let attended = Tensor::f_scaled_dot_product_attention(
            &split(query)?,
            &split(key)?,
            &split(value)?,
            shape.mask.as_ref(),
            drop,
            false,
            None,
            false,
        )?;
        Ok(attended.f_transpose(1, 2)?.f_reshape([b * t, hidden])?)
    }
}
