//! XLNet (Yang et al. 2019, arXiv 1906.08237), as `transformers` names and computes it. For classification only the
//! content stream runs and sees both ways; [`two_stream`] adds the query stream of pre-training.
//!
//! `B` examples, `T` tokens, `H` hidden size, `A` heads, `D = H / A`, `W = 2 T - 1` relative positions.

mod config;
mod layer;
mod two_stream;

use std::ops::Range;

use tch::{Device, Kind, Tensor};

pub(super) use config::XlNetConfig;
use layer::{Layer, View};

use super::{
    super::{
        Builder, Init, ModelError, TokenBatch, dropout::dropout, layers::by_rows, linear::Kernels,
    },
    Architecture as _, Encoder,
    attention::Shape,
};
use crate::shared::Shared;

/// Words, then layers.
#[derive(Debug, Clone)]
pub(super) struct XlNet {
    words: Shared,
    /// `w`, `[1, 1, H]`: what the query stream begins with.
    query: Shared,
    layers: Vec<Layer>,
    config: XlNetConfig,
    kernels: Option<Kernels>,
}

/// `[W, H]`: sines, then cosines, of each distance from `T - 1` to `-(T - 1)` over `10000^(2 d / H)` (Vaswani et al. 2017,
/// section 3.5). Distances beyond `clamp` are taken for it, if it is positive.
fn sinusoids(tokens: i64, width: i64, clamp: i64, device: Device) -> Result<Tensor, ModelError> {
    let options = (Kind::Float, device);
    let mut distances = Tensor::f_arange_start_step(tokens - 1, -tokens, -1, options)?;
    if clamp > 0 {
        distances = distances.f_clamp(-clamp, clamp)?;
    }
    let frequencies: Vec<f32> =
        (0..width / 2).map(|pair| 1.0 / 10_000f32.powf((2 * pair) as f32 / width as f32)).collect();
    let frequencies = Tensor::f_from_slice(&frequencies)?.f_to_device(device)?;
    let angles = distances.f_unsqueeze(1)?.f_mul(&frequencies)?;
    Ok(Tensor::f_cat(&[angles.f_sin()?, angles.f_cos()?], 1)?)
}

impl XlNet {
    fn new(builder: &Builder, config: &XlNetConfig) -> Result<Self, ModelError> {
        let width = config.d_model;
        let layer = |i| Layer::new(builder, config, i);
        Ok(Self {
            query: builder.get("transformer.mask_emb", &[1, 1, width], Init::Required)?.into(),
            words: builder
                .get(&config.word_table(), &[config.vocab_size, width], Init::Required)?
                .into(),
            layers: (0..config.n_layer).map(layer).collect::<Result<_, _>>()?,
            config: config.clone(),
            kernels: None,
        })
    }

    /// [`sinusoids`] for `tokens` tokens, with dropout.
    fn positions(&self, tokens: i64, like: &Tensor, drop: f64) -> Result<Tensor, ModelError> {
        let (width, clamp) = (self.config.d_model, self.config.clamp_len);
        let positions = sinusoids(tokens, width, clamp, like.device())?;
        dropout(positions.f_to_kind(like.kind())?, drop)
    }
}

impl View {
    /// Of queries at `places`, `[1, S]` or `[B, S]`, of segments `types`, `[B, S]`.
    fn new(
        shape: Shape,
        places: &Tensor,
        types: &Tensor,
        batch: &TokenBatch,
        kind: Kind,
    ) -> Result<Self, ModelError> {
        let tokens = batch.ids.size()[1];
        let keys = Tensor::f_arange(tokens, (Kind::Int64, places.device()))?;
        // Distance i - j stands at T - 1 - (i - j).
        let positions = keys.f_sub(&places.f_unsqueeze(2)?)?.f_add_scalar(tokens - 1)?;
        let differs = types.f_unsqueeze(2)?.f_ne_tensor(&batch.type_ids.f_unsqueeze(1)?)?;
        Ok(Self {
            shape,
            positions: positions.f_unsqueeze(1)?,
            differs: differs.f_unsqueeze(1)?.f_to_kind(kind)?,
        })
    }

    /// Of every token.
    fn of_content(shape: Shape, batch: &TokenBatch, kind: Kind) -> Result<Self, ModelError> {
        let places = Tensor::f_arange(shape.tokens, (Kind::Int64, batch.ids.device()))?;
        Self::new(shape, &places.f_unsqueeze(0)?, &batch.type_ids, batch, kind)
    }
}

impl Encoder for XlNet {
    fn embed(&self, batch: &TokenBatch, drop: f64) -> Result<Tensor, ModelError> {
        dropout(Tensor::f_embedding(&self.words, &batch.ids, -1, false, true)?, drop)
    }

    fn layers(
        &self,
        range: Range<usize>,
        hidden: Tensor,
        batch: &TokenBatch,
        drop: f64,
    ) -> Result<Tensor, ModelError> {
        let kind = hidden.kind();
        let shape = Shape::masked(batch, kind)?;
        let positions = self.positions(shape.tokens, &hidden, drop)?;
        let view = View::of_content(shape, batch, kind)?;
        let ends = range.end == self.layers.len() && !range.is_empty();
        let hidden = by_rows(self.kernels.as_ref(), &hidden, |mut rows| {
            for layer in &self.layers[range] {
                rows = layer.forward(&rows, &positions, &view, drop)?;
            }
            Ok(rows)
        })?;
        if ends { dropout(hidden, drop) } else { Ok(hidden) }
    }

    fn depth(&self) -> usize {
        self.layers.len()
    }

    /// In each layer 2 for every token and weight, `4 H² + 2 H I` of them with `I` the inner width; `4 B T² H` for attention's
    /// two products; `2 W H²` for keys of positions, `2 B T W H` for queries that meet them, `4 B T H` for segments.
    fn flops(&self, examples: usize, tokens: usize) -> f64 {
        let (b, t, hidden) = (examples as f64, tokens as f64, self.config.d_model as f64);
        let weights = 4.0 * hidden * hidden + 2.0 * hidden * self.config.d_inner as f64;
        let positions = 2.0 * t - 1.0;
        let relative = 2.0 * positions * hidden * (hidden + b * t) + 4.0 * b * t * hidden;
        self.depth() as f64 * (2.0 * b * t * weights + 4.0 * b * t * t * hidden + relative)
    }

    fn served(self: Box<Self>, kernels: &Kernels) -> Result<Box<dyn Encoder>, ModelError> {
        let layers = self.layers.into_iter().map(|layer| layer.served(kernels));
        Ok(Box::new(Self {
            layers: layers.collect::<Result<_, _>>()?,
            words: kernels.tensor(&self.words)?,
            query: kernels.tensor(&self.query)?,
            config: self.config,
            kernels: Some(kernels.clone()),
        }))
    }
}
