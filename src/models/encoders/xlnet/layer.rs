//! A layer of XLNet: attention with relative positions and segments (Dai et al. 2019, arXiv 1901.02860, section 3.3;
//! Yang et al. 2019, arXiv 1906.08237, section 2.5), then a feed-forward layer, each normalised after its residual.
//!
//! `B` examples, `T` tokens, `S` queries, `H` hidden size, `A` heads, `D = H / A`, `W = 2 T - 1` relative positions,
//! `R >= B T` rows.

use tch::Tensor;

use super::{
    super::{
        super::{
            Activation, Builder, Init, ModelError,
            dropout::dropout,
            layers::{LayerNorm, padded_to},
            linear::{Kernels, Linear},
        },
        attention::{Shape, attend_heads, of_pairs},
    },
    XlNetConfig,
};
use crate::shared::Shared;

/// Relative attention and feed-forward layer.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    projections: Projections,
    /// `W_k,R`, `[H, A, D]`: keys of positions.
    position_key: Shared,
    /// `u`, `v` and `b`, `[A, D]` each, added to queries when they meet content, positions and segments.
    content_bias: Shared,
    position_bias: Shared,
    segment_bias: Shared,
    /// `s+` and `s-`, `[2, A, D]`: the same segment, another.
    segments: Shared,
    attention_norm: LayerNorm,
    inner: Linear,
    output: Linear,
    output_norm: LayerNorm,
    activation: Activation,
    heads: i64,
}

/// Content's matrices.
#[derive(Debug, Clone)]
enum Projections {
    /// As trained: query, key, value and output, `[H, A, D]` each.
    Trained { parts: [Shared; 3], output: Shared },
    /// Query, key and value as one product.
    Served { parts: Linear, output: Linear },
}

/// `[H, A, D]` as `[H, A D]`.
fn flat(weight: &Tensor) -> Result<Tensor, ModelError> {
    Ok(weight.f_flatten(1, 2)?)
}

impl Projections {
    /// `[R, H]` to query, key and value, `[R, A D]` each.
    fn forward(&self, x: &Tensor) -> Result<[Tensor; 3], ModelError> {
        match self {
            Self::Trained { parts: [query, key, value], .. } => {
                let product = |weight| Ok::<_, ModelError>(x.f_matmul(&flat(weight)?)?);
                Ok([product(query)?, product(key)?, product(value)?])
            }
            Self::Served { parts, .. } => {
                let all = parts.forward(x)?;
                let width = all.size()[1] / 3;
                let part = |i| all.f_narrow(1, i * width, width);
                Ok([part(0)?, part(1)?, part(2)?])
            }
        }
    }

    /// `[R, A D]` to `[R, H]`.
    fn output(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        match self {
            Self::Trained { output, .. } => Ok(x.f_linear::<Tensor>(&flat(output)?, None)?),
            Self::Served { output, .. } => output.forward(x),
        }
    }

    fn served(self, kernels: &Kernels) -> Result<Self, ModelError> {
        let Self::Trained { parts, output } = self else { return Ok(self) };
        let joined = Tensor::f_cat(&[flat(&parts[0])?, flat(&parts[1])?, flat(&parts[2])?], 1)?;
        let linear = |weight: Tensor| kernels.linear(&Linear::of_weight(weight)?);
        Ok(Self::Served {
            parts: linear(joined.f_transpose(0, 1)?.f_contiguous()?)?,
            output: linear(flat(&output)?)?,
        })
    }
}

/// Who asks, and how its queries stand to the keys.
#[derive(Debug)]
pub(super) struct View {
    /// `B` and `S`; its bias, which `[B, A, S, T]` scores are added to, hides keys.
    pub(super) shape: Shape,
    /// `[1, 1, S, T]` or `[B, 1, S, T]` int64: which relative position query and key have.
    pub(super) positions: Tensor,
    /// `[B, 1, S, T]`: 1 where query and key are of different segments, otherwise 0.
    pub(super) differs: Tensor,
}

/// What queries meet.
#[derive(Debug)]
pub(super) struct Memory {
    /// `[B, A, T, D]` each.
    key: Tensor,
    value: Tensor,
    /// `[1, A, W, D]`.
    position_key: Tensor,
}

impl Layer {
    pub(super) fn new(
        builder: &Builder,
        config: &XlNetConfig,
        i: usize,
    ) -> Result<Self, ModelError> {
        let (hidden, heads) = (config.d_model, config.n_head);
        let width = hidden / heads;
        let name = |part: &str| format!("transformer.layer.{i}.{part}");
        let attention = |part: &str, shape: &[i64]| {
            builder.get(&name(&format!("rel_attn.{part}")), shape, Init::Required).map(Shared::from)
        };
        let matrix = |part: &str| attention(part, &[hidden, heads, width]);
        let bias = |part: &str| attention(part, &[heads, width]);
        let norm = |part: &str| LayerNorm::new(builder, &name(part), hidden, config.layer_norm_eps);
        let linear = |part: &str, input, output| {
            Linear::new(builder, &name(part), input, output, Init::Required, Init::Required)
        };
        Ok(Self {
            projections: Projections::Trained {
                parts: [matrix("q")?, matrix("k")?, matrix("v")?],
                output: matrix("o")?,
            },
            position_key: matrix("r")?,
            position_bias: bias("r_r_bias")?,
            segment_bias: bias("r_s_bias")?,
            content_bias: bias("r_w_bias")?,
            segments: attention("seg_embed", &[2, heads, width])?,
            attention_norm: norm("rel_attn.layer_norm")?,
            output_norm: norm("ff.layer_norm")?,
            inner: linear("ff.layer_1", hidden, config.d_inner)?,
            output: linear("ff.layer_2", config.d_inner, hidden)?,
            activation: config.ff_activation,
            heads,
        })
    }

    pub(super) fn served(self, kernels: &Kernels) -> Result<Self, ModelError> {
        Ok(Self {
            projections: self.projections.served(kernels)?,
            position_key: kernels.tensor(&self.position_key)?,
            content_bias: kernels.tensor(&self.content_bias)?,
            position_bias: kernels.tensor(&self.position_bias)?,
            segment_bias: kernels.tensor(&self.segment_bias)?,
            segments: kernels.tensor(&self.segments)?,
            attention_norm: self.attention_norm.served(kernels)?,
            inner: kernels.linear(&self.inner)?,
            output: kernels.linear(&self.output)?,
            output_norm: self.output_norm.served(kernels)?,
            ..self
        })
    }

    /// The content stream: `[R, H]` to `[R, H]`. `positions` are the `[W, H]` of [`super::sinusoids`].
    pub(super) fn forward(
        &self,
        h: &Tensor,
        positions: &Tensor,
        view: &View,
        drop: f64,
    ) -> Result<Tensor, ModelError> {
        let (query, memory) = self.query_and_memory(h, positions, &view.shape)?;
        self.update(h, &query, &memory, view, drop)
    }

    /// The query stream beside the content stream (arXiv 1906.08237, eq. 1 and 2): both meet the same keys and values, the
    /// query stream knows where it is and not what stands there. `[R, H]` and `[B S, H]` to the same.
    pub(super) fn forward_both(
        &self,
        [h, g]: [&Tensor; 2],
        positions: &Tensor,
        [content, queries]: [&View; 2],
        drop: f64,
    ) -> Result<[Tensor; 2], ModelError> {
        let (query, memory) = self.query_and_memory(h, positions, &content.shape)?;
        let [asked, ..] = self.projections.forward(g)?;
        let asked = queries.shape.split(&asked, self.heads)?;
        Ok([
            self.update(h, &query, &memory, content, drop)?,
            self.update(g, &asked, &memory, queries, drop)?,
        ])
    }

    fn query_and_memory(
        &self,
        h: &Tensor,
        positions: &Tensor,
        shape: &Shape,
    ) -> Result<(Tensor, Memory), ModelError> {
        let [query, key, value] =
            self.projections.forward(h)?.map(|rows| shape.split(&rows, self.heads));
        let distances = Shape { examples: 1, tokens: positions.size()[0], bias: None };
        let position_key = positions.f_matmul(&flat(&self.position_key)?)?;
        let position_key = distances.split(&position_key, self.heads)?;
        Ok((query?, Memory { key: key?, value: value?, position_key }))
    }

    /// What a stream's rows `x` become once their queries, `[B, A, S, D]`, have met `memory`.
    fn update(
        &self,
        x: &Tensor,
        query: &Tensor,
        memory: &Memory,
        view: &View,
        drop: f64,
    ) -> Result<Tensor, ModelError> {
        let attended = padded_to(x.size()[0], self.attend(query, memory, view, drop)?)?;
        let attended = dropout(self.projections.output(&attended)?, drop)?.f_add_(x)?;
        let x = self.attention_norm.forward(&attended)?;
        let inner = self.inner.forward_then(self.activation, &x)?;
        let output = dropout(self.output.forward(&dropout(inner, drop)?)?, drop)?.f_add_(&x)?;
        self.output_norm.forward(&output)
    }

    /// Scores `((q_i + u) k_j + (q_i + v) r_(i-j) + (q_i + b) s_ij) / √D` (arXiv 1901.02860, eq. for `A^rel`; arXiv 1906.08237,
    /// section 2.5), `[B, A, S, D]` to `[B S, A D]`.
    fn attend(
        &self,
        query: &Tensor,
        memory: &Memory,
        view: &View,
        drop: f64,
    ) -> Result<Tensor, ModelError> {
        let plus = |bias: &Tensor| query.f_add(&bias.f_unsqueeze(1)?);
        let positions =
            plus(&self.position_bias)?.f_matmul(&memory.position_key.f_transpose(2, 3)?)?;
        let positions = of_pairs(&positions, &view.positions)?;

        // [2, A, D] -> [1, A, D, 2] -> [B, A, S, 2]
        let segments = self.segments.f_permute([1, 2, 0])?.f_unsqueeze(0)?;
        let segments = plus(&self.segment_bias)?.f_matmul(&segments)?;
        let (same, other) = (segments.f_narrow(3, 0, 1)?, segments.f_narrow(3, 1, 1)?);
        let segments = other.f_sub(&same)?.f_mul(&view.differs)?.f_add(&same)?;

        let width = query.size()[3] as f64;
        let mut bias = positions.f_add(&segments)?.f_mul_scalar(width.powf(-0.5))?;
        if let Some(mask) = &view.shape.bias {
            bias = bias.f_add(mask)?;
        }
        let query = plus(&self.content_bias)?;
        attend_heads([&query, &memory.key, &memory.value], Some(&bias), None, drop)
    }
}
