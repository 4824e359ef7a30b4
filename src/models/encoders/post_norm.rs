//! The layer of the original Transformer (Vaswani et al. 2017, arXiv 1706.03762, section 3.1), normalised after each
//! residual: what BERT and its nearest relatives are made of. The families differ in names, in what enters the
//! first layer, and in what is added to attention's scores.
//!
//! `B` examples, `T` tokens, `H` hidden size, `R >= B T` rows.

use tch::Tensor;

use super::{
    super::{
        Activation, Builder, Init, ModelError,
        dropout::dropout,
        layers::{LayerNorm, by_rows, padded_to},
        linear::{Kernels, Linear},
    },
    attention::{Shape, attend},
};

/// What a family calls the parts of a layer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names {
    pub(super) query: &'static str,
    pub(super) key: &'static str,
    pub(super) value: &'static str,
    pub(super) attention_output: &'static str,
    pub(super) attention_norm: &'static str,
    pub(super) intermediate: &'static str,
    pub(super) output: &'static str,
    pub(super) output_norm: &'static str,
}

impl Names {
    /// BERT's.
    pub(super) const BERT: Self = Self {
        query: "attention.self.query",
        key: "attention.self.key",
        value: "attention.self.value",
        attention_output: "attention.output.dense",
        attention_norm: "attention.output.LayerNorm",
        intermediate: "intermediate.dense",
        output: "output.dense",
        output_norm: "output.LayerNorm",
    };
}

/// Numbers of a layer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// `H`.
    pub(super) hidden: i64,
    /// Width of the feed-forward layer.
    pub(super) inner: i64,
    /// `A`.
    pub(super) heads: i64,
    /// Added to the variance in layer normalisation.
    pub(super) epsilon: f64,
    /// Of the feed-forward layer.
    pub(super) activation: Activation,
}

impl Sizes {
    /// Operations of the matrix products of `depth` layers over `[B, T]` tokens: in each layer 2 for every token and
    /// weight, `4 H² + 2 H I` of them with `I` the inner width, and `4 B T² H` for attention's two products.
    pub(super) fn flops(&self, depth: usize, examples: usize, tokens: usize) -> f64 {
        let (b, t, hidden) = (examples as f64, tokens as f64, self.hidden as f64);
        let weights = 4.0 * hidden * hidden + 2.0 * hidden * self.inner as f64;
        depth as f64 * (2.0 * b * t * weights + 4.0 * b * t * t * hidden)
    }
}

/// Self-attention and feed-forward layer.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    projections: Projections,
    attention_output: Linear,
    attention_norm: LayerNorm,
    intermediate: Linear,
    output: Linear,
    output_norm: LayerNorm,
    sizes: Sizes,
}

/// Query, key and value of self-attention.
#[derive(Debug, Clone)]
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
            Self::Apart(parts) => kernels.joined(&parts)?,
            Self::Joined(all) => all,
        }))
    }
}

impl Layer {
    /// Takes the parameters of the layers `prefix0` to `prefixN` from `builder`.
    pub(super) fn many(
        builder: &Builder,
        prefix: &str,
        number: usize,
        names: &Names,
        sizes: Sizes,
    ) -> Result<Vec<Self>, ModelError> {
        (0..number).map(|i| Self::new(builder, &format!("{prefix}{i}"), names, sizes)).collect()
    }

    /// Takes the parameters of the layer `name` from `builder`.
    pub(super) fn new(
        builder: &Builder,
        name: &str,
        names: &Names,
        sizes: Sizes,
    ) -> Result<Self, ModelError> {
        let Sizes { hidden, inner, epsilon, .. } = sizes;
        let linear = |part: &str, input, output| {
            let name = format!("{name}.{part}");
            Linear::new(builder, &name, input, output, Init::Required, Init::Required)
        };
        let norm = |part: &str| LayerNorm::new(builder, &format!("{name}.{part}"), hidden, epsilon);
        Ok(Self {
            projections: Projections::Apart([
                linear(names.query, hidden, hidden)?,
                linear(names.key, hidden, hidden)?,
                linear(names.value, hidden, hidden)?,
            ]),
            attention_output: linear(names.attention_output, hidden, hidden)?,
            attention_norm: norm(names.attention_norm)?,
            intermediate: linear(names.intermediate, hidden, inner)?,
            output: linear(names.output, inner, hidden)?,
            output_norm: norm(names.output_norm)?,
            sizes,
        })
    }

    /// `A`.
    pub(super) const fn heads(&self) -> i64 {
        self.sizes.heads
    }

    /// Query and key of rows that are not the layer's input, `[W, H]` to two of `[W, H]`.
    pub(super) fn query_and_key(&self, x: &Tensor) -> Result<[Tensor; 2], ModelError> {
        let [query, key, _] = self.projections.forward(x)?;
        Ok([query, key])
    }

    pub(super) fn served(self, kernels: &Kernels) -> Result<Self, ModelError> {
        Ok(Self {
            projections: self.projections.served(kernels)?,
            attention_output: kernels.linear(&self.attention_output)?,
            attention_norm: self.attention_norm.served(kernels)?,
            intermediate: kernels.linear(&self.intermediate)?,
            output: kernels.linear(&self.output)?,
            output_norm: self.output_norm.served(kernels)?,
            sizes: self.sizes,
        })
    }

    /// `[R, H]` to `[R, H]`; the first `B T` rows are the examples'.
    pub(super) fn forward(
        &self,
        x: Tensor,
        shape: &Shape,
        drop: f64,
    ) -> Result<Tensor, ModelError> {
        self.forward_with(x, drop, |parts| attend(parts, self.sizes.heads, shape, drop))
    }

    /// [`forward`](Self::forward) with another attention: query, key and value of `[R, H]` to `[B T, H]`.
    pub(super) fn forward_with(
        &self,
        x: Tensor,
        drop: f64,
        attend: impl FnOnce([Tensor; 3]) -> Result<Tensor, ModelError>,
    ) -> Result<Tensor, ModelError> {
        let x = self.attention_norm.forward(&self.attended(x, drop, attend)?)?;
        let output =
            self.output.forward(&self.intermediate.forward_then(self.sizes.activation, &x)?)?;
        self.output_norm.forward(&dropout(output, drop)?.f_add_(&x)?)
    }

    /// What `x` attends to, added to it.
    #[expect(clippy::needless_pass_by_value, reason = "what comes after it needs its memory")]
    fn attended(
        &self,
        x: Tensor,
        drop: f64,
        attend: impl FnOnce([Tensor; 3]) -> Result<Tensor, ModelError>,
    ) -> Result<Tensor, ModelError> {
        let attended = padded_to(x.size()[0], attend(self.projections.forward(&x)?)?)?;
        let mut attended = dropout(self.attention_output.forward(&attended)?, drop)?;
        Ok(attended.f_add_(&x)?)
    }
}

/// `[B, T, H]` through `layers`, as float32.
pub(super) fn run<'a>(
    layers: impl IntoIterator<Item = &'a Layer>,
    kernels: Option<&Kernels>,
    hidden: &Tensor,
    shape: &Shape,
    drop: f64,
) -> Result<Tensor, ModelError> {
    by_rows(kernels, hidden, |mut rows| {
        for layer in layers {
            rows = layer.forward(rows, shape, drop)?;
        }
        Ok(rows)
    })
}
