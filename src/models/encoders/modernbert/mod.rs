//! ModernBERT (Warner et al. 2024, arXiv 2412.13663), as `transformers` names and computes it: norms before each
//! sublayer, rotary positions, attention that is global in some layers and local in the rest, gated GELU.
//!
//! `B` examples, `T` tokens, `H` hidden size, `A` heads, `D = H / A`, `I` inner size, `R >= B T` rows.

mod config;

use std::ops::Range;

use tch::{Device, Kind, Tensor};

pub(super) use config::ModernBertConfig;
use config::Reach;

use super::{
    super::{
        Activation, Builder, Init, ModelError, TokenBatch,
        dropout::dropout,
        layers::{LayerNorm, by_rows, padded_to},
        linear::{Kernels, Linear},
    },
    Architecture as _, Encoder,
    attention::{Shape, attend_heads},
};
use crate::shared::Shared;

/// Words, then layers, then a norm.
#[derive(Debug, Clone)]
pub(super) struct ModernBert {
    words: Shared,
    norm: LayerNorm,
    layers: Vec<Layer>,
    final_norm: LayerNorm,
    config: ModernBertConfig,
    kernels: Option<Kernels>,
}

#[derive(Debug, Clone)]
struct Layer {
    /// Absent in the first layer, whose input is normalised already.
    attention_norm: Option<LayerNorm>,
    /// Query, key and value side by side.
    projections: Linear,
    attention_output: Linear,
    inner_norm: LayerNorm,
    /// What is activated, and its gate side by side.
    inner: Linear,
    output: Linear,
    reach: Reach,
    heads: i64,
    activation: Activation,
}

/// What the layers of one reach know of the batch.
#[derive(Debug)]
struct View {
    /// Who sees whom.
    shape: Shape,
    /// `[T, D]` each.
    cosines: Tensor,
    sines: Tensor,
}

impl Layer {
    fn new(builder: &Builder, config: &ModernBertConfig, i: usize) -> Result<Self, ModelError> {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let linear = |part: &str, bias: bool, input, output| {
            let name = format!("model.layers.{i}.{part}");
            if bias {
                Linear::new(builder, &name, input, output, Init::Required, Init::Required)
            } else {
                Linear::without_bias(builder, &name, input, output, Init::Required)
            }
        };
        let (attention, mlp) = (config.biases.attention, config.biases.mlp);
        let norm = |part: &str| norm(builder, &format!("layers.{i}.{part}"), config);
        Ok(Self {
            attention_norm: (i > 0).then(|| norm("attn_norm")).transpose()?,
            projections: linear("attn.Wqkv", attention, hidden, 3 * hidden)?,
            attention_output: linear("attn.Wo", attention, hidden, hidden)?,
            inner_norm: norm("mlp_norm")?,
            inner: linear("mlp.Wi", mlp, hidden, 2 * inner)?,
            output: linear("mlp.Wo", mlp, inner, hidden)?,
            reach: config.layer_types[i],
            heads: config.num_attention_heads,
            activation: config.hidden_activation,
        })
    }

    fn served(self, kernels: &Kernels) -> Result<Self, ModelError> {
        Ok(Self {
            attention_norm: self.attention_norm.map(|norm| norm.served(kernels)).transpose()?,
            projections: kernels.linear(&self.projections)?,
            attention_output: kernels.linear(&self.attention_output)?,
            inner_norm: self.inner_norm.served(kernels)?,
            inner: kernels.linear(&self.inner)?,
            output: kernels.linear(&self.output)?,
            ..self
        })
    }

    /// `[R, H]` to `[R, H]`: `x + attention(norm(x))`, then `x + mlp(norm(x))`.
    fn forward(&self, x: &Tensor, view: &View, drop: f64) -> Result<Tensor, ModelError> {
        let normed = match &self.attention_norm {
            Some(norm) => &norm.forward(x)?,
            None => x,
        };
        let attended = padded_to(x.size()[0], self.attend(normed, view, drop)?)?;
        let x = dropout(self.attention_output.forward(&attended)?, drop)?.f_add_(x)?;

        // GeGLU (Shazeer 2020, arXiv 2002.05202, eq. 6).
        let inner = self.inner.forward(&self.inner_norm.forward(&x)?)?;
        let half = inner.size()[1] / 2;
        let activated = self.activation.apply(&inner.f_narrow(1, 0, half)?)?;
        let gated = dropout(activated.f_mul(&inner.f_narrow(1, half, half)?)?, drop)?;
        Ok(self.output.forward(&gated)?.f_add_(&x)?)
    }

    fn attend(&self, x: &Tensor, view: &View, drop: f64) -> Result<Tensor, ModelError> {
        let (all, hidden) = (self.projections.forward(x)?, x.size()[1]);
        let part = |i| view.shape.split(&all.f_narrow(1, i * hidden, hidden)?, self.heads);
        let (query, key) = (view.turned(&part(0)?)?, view.turned(&part(1)?)?);
        attend_heads([&query, &key, &part(2)?], view.shape.bias.as_ref(), None, drop)
    }
}

impl View {
    fn new(
        config: &ModernBertConfig,
        reach: Reach,
        batch: &TokenBatch,
        kind: Kind,
    ) -> Result<Self, ModelError> {
        let mut shape = Shape::masked(batch, kind)?;
        // Half the window lies on each side; a text that it spans is seen whole.
        let window = config.local_attention / 2;
        if reach == Reach::Local && shape.tokens > window + 1 {
            shape.bias = Some(local_mask(batch, window, kind)?);
        }
        let width = config.hidden_size / config.num_attention_heads;
        let device = batch.ids.device();
        let (cosines, sines) = rotation(shape.tokens, width, config.theta(reach), device)?;
        Ok(Self { shape, cosines, sines })
    }

    /// Each head of `[B, A, T, D]` turned by its token's angles (Su et al. 2021, arXiv 2104.09864, eq. 34), units `d` and
    /// `d + D / 2` as a pair. In float32 whatever the heads are: far positions need the digits.
    fn turned(&self, heads: &Tensor) -> Result<Tensor, ModelError> {
        let x = heads.f_to_kind(Kind::Float)?;
        let half = x.size()[3] / 2;
        let other =
            Tensor::f_cat(&[x.f_narrow(3, half, half)?.f_neg()?, x.f_narrow(3, 0, half)?], 3)?;
        let turned = x.f_mul(&self.cosines)?.f_add(&other.f_mul(&self.sines)?)?;
        Ok(turned.f_to_kind(heads.kind())?)
    }
}

/// Cosines and sines of `t θ^(-2d / D)`, `[T, D]` each; the second half of the units repeats the first.
fn rotation(
    tokens: i64,
    width: i64,
    theta: f64,
    device: Device,
) -> Result<(Tensor, Tensor), ModelError> {
    let frequencies: Vec<f32> = (0..width / 2)
        .map(|pair| 1.0 / (theta as f32).powf(2.0 * pair as f32 / width as f32))
        .collect();
    let frequencies = Tensor::f_from_slice(&frequencies)?;
    let positions = Tensor::f_arange(tokens, (Kind::Float, Device::Cpu))?;
    let angles = positions.f_unsqueeze(1)?.f_mul(&frequencies)?;
    let angles = Tensor::f_cat(&[&angles, &angles], 1)?.f_to_device(device)?;
    Ok((angles.f_cos()?, angles.f_sin()?))
}

/// `[1, 1, T, T]`, or `[B, 1, T, T]` with padding: 0 where a token is at most `window` away, otherwise -∞. Padding sees
/// itself, as a row that sees nothing would have no softmax.
fn local_mask(batch: &TokenBatch, window: i64, kind: Kind) -> Result<Tensor, ModelError> {
    let (tokens, device) = (batch.ids.size()[1], batch.ids.device());
    let positions = Tensor::f_arange(tokens, (Kind::Int64, device))?;
    let distances = positions.f_unsqueeze(0)?.f_sub(&positions.f_unsqueeze(1)?)?.f_abs()?;
    let mut seen = distances.f_le(window)?.f_view([1, 1, tokens, tokens])?;
    if let Some(mask) = &batch.mask {
        let keys = mask.f_unsqueeze(1)?.f_unsqueeze(1)?;
        seen = seen.f_logical_and(&keys)?.f_logical_or(&distances.f_eq(0)?)?;
    }
    let zeros = Tensor::f_zeros(seen.size(), (kind, device))?;
    Ok(zeros.f_masked_fill(&seen.f_logical_not()?, f64::NEG_INFINITY)?)
}

fn norm(builder: &Builder, part: &str, config: &ModernBertConfig) -> Result<LayerNorm, ModelError> {
    let (name, size) = (format!("model.{part}"), config.hidden_size);
    let bias = config.biases.norm;
    LayerNorm::optional_bias(builder, &name, size, config.norm_eps, bias, Init::Required)
}

impl ModernBert {
    pub(super) fn new(builder: &Builder, config: &ModernBertConfig) -> Result<Self, ModelError> {
        let (words, layers) = (config.word_table(), 0..config.facts().depth);
        Ok(Self {
            words: builder
                .get(&words, &[config.vocab_size, config.hidden_size], Init::Required)?
                .into(),
            norm: norm(builder, "embeddings.norm", config)?,
            layers: layers.map(|i| Layer::new(builder, config, i)).collect::<Result<_, _>>()?,
            final_norm: norm(builder, "final_norm", config)?,
            config: config.clone(),
            kernels: None,
        })
    }
}

impl Encoder for ModernBert {
    fn embed(&self, batch: &TokenBatch, drop: f64) -> Result<Tensor, ModelError> {
        let words = Tensor::f_embedding(&self.words, &batch.ids, -1, false, true)?;
        dropout(self.norm.forward(&words)?, drop)
    }

    fn layers(
        &self,
        range: Range<usize>,
        hidden: Tensor,
        batch: &TokenBatch,
        drop: f64,
    ) -> Result<Tensor, ModelError> {
        let view = |reach| View::new(&self.config, reach, batch, hidden.kind());
        let (global, local) = (view(Reach::Global)?, view(Reach::Local)?);
        let ends = range.end == self.layers.len() && !range.is_empty();
        by_rows(self.kernels.as_ref(), &hidden, |mut rows| {
            for layer in &self.layers[range] {
                let view = match layer.reach {
                    Reach::Global => &global,
                    Reach::Local => &local,
                };
                rows = layer.forward(&rows, view, drop)?;
            }
            if ends { self.final_norm.forward(&rows) } else { Ok(rows) }
        })
    }

    fn depth(&self) -> usize {
        self.layers.len()
    }

    /// In each layer 2 for every token and weight, `4 H² + 3 H I` of them, and `4 B T² H` for attention's two products,
    /// which local layers compute whole and mask.
    fn flops(&self, examples: usize, tokens: usize) -> f64 {
        let (b, t, hidden) = (examples as f64, tokens as f64, self.config.hidden_size as f64);
        let weights = 4.0 * hidden * hidden + 3.0 * hidden * self.config.intermediate_size as f64;
        self.depth() as f64 * (2.0 * b * t * weights + 4.0 * b * t * t * hidden)
    }

    fn served(self: Box<Self>, kernels: &Kernels) -> Result<Box<dyn Encoder>, ModelError> {
        let layers = self.layers.into_iter().map(|layer| layer.served(kernels));
        Ok(Box::new(Self {
            layers: layers.collect::<Result<_, _>>()?,
            words: kernels.tensor(&self.words)?,
            norm: self.norm.served(kernels)?,
            final_norm: self.final_norm.served(kernels)?,
            config: self.config,
            kernels: Some(kernels.clone()),
        }))
    }
}
