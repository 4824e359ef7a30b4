//! DeBERTa-v3 (He et al. 2021, arXiv 2111.09543), as `transformers` names and computes it: BERT's layers with the
//! disentangled attention of DeBERTa (He et al. 2020, arXiv 2006.03654), and no positions in the embeddings.
//!
//! `B` examples, `T` tokens, `H` hidden size, `A` heads, `D = H / A`, `k` buckets, `W <= 2 k` relative positions that
//! occur.

mod config;
mod positions;

use std::ops::Range;

use tch::Tensor;

pub(super) use config::DebertaConfig;
use config::Terms;
use positions::{Distances, Reached};

use super::{
    super::{
        Builder, Init, ModelError, TokenBatch,
        dropout::dropout,
        layers::{LayerNorm, by_rows},
        linear::Kernels,
    },
    Architecture as _, Encoder,
    attention::{Shape, attend_heads, of_pairs},
    post_norm::{Layer, Names, Sizes},
};
use crate::shared::Shared;

const NAMES: Names = Names {
    query: "attention.self.query_proj",
    key: "attention.self.key_proj",
    value: "attention.self.value_proj",
    ..Names::BERT
};

/// Words, then layers that share a table of relative positions.
#[derive(Debug, Clone)]
pub(super) struct Deberta {
    words: Shared,
    norm: LayerNorm,
    positions: Positions,
    layers: Vec<Layer>,
    sizes: Sizes,
    distances: Distances,
    terms: Terms,
    kernels: Option<Kernels>,
}

/// Relative positions.
#[derive(Debug, Clone)]
enum Positions {
    /// `P`, `[2 k, H]`, and its norm.
    Trained { table: Shared, norm: LayerNorm },
    /// What each layer makes of `P`, which is the same for every input: `Q^r` and `K^r`, `[1, A, 2 k, D]` each.
    Served(Vec<[Shared; 2]>),
}

impl Positions {
    /// `Q^r` and `K^r` of layer `i` and the positions that occur, `[1, A, W, D]` each: `P` through the projections of the
    /// content.
    fn of_layer(
        &self,
        i: usize,
        layer: &Layer,
        reached: &Reached,
        drop: f64,
    ) -> Result<[Tensor; 2], ModelError> {
        let occurring = |all: &Tensor, dim| all.f_narrow(dim, reached.first, reached.count);
        match self {
            Self::Trained { table, norm } => {
                let rows = norm.forward(&occurring(table, 0)?)?;
                projected(layer, &dropout(rows, drop)?)
            }
            Self::Served(layers) => {
                let [query, key] = &layers[i];
                Ok([occurring(query, 2)?, occurring(key, 2)?])
            }
        }
    }

    fn served(self, layers: &[Layer], kernels: &Kernels) -> Result<Self, ModelError> {
        let Self::Trained { table, norm } = self else { return Ok(self) };
        let rows = norm.forward(&table)?;
        let of_layer = |layer| {
            let [query, key] = projected(layer, &rows)?;
            let laid_out = |part: Tensor| kernels.tensor(&part.f_contiguous()?);
            Ok([laid_out(query)?, laid_out(key)?])
        };
        Ok(Self::Served(layers.iter().map(of_layer).collect::<Result<_, ModelError>>()?))
    }
}

/// Query and key of `[W, H]`, `[1, A, W, D]` each.
fn projected(layer: &Layer, rows: &Tensor) -> Result<[Tensor; 2], ModelError> {
    let shape = Shape { examples: 1, tokens: rows.size()[0], bias: None };
    let [query, key] = layer.query_and_key(rows)?;
    Ok([shape.split(&query, layer.heads())?, shape.split(&key, layer.heads())?])
}

impl Deberta {
    pub(super) fn new(builder: &Builder, config: &DebertaConfig) -> Result<Self, ModelError> {
        let sizes = config.sizes();
        let distances = Distances::new(config.buckets(), config.farthest());
        let table = |name: &str, rows| {
            builder
                .get(&format!("deberta.{name}.weight"), &[rows, sizes.hidden], Init::Required)
                .map(Shared::from)
        };
        let norm = |name: &str| {
            LayerNorm::new(builder, &format!("deberta.{name}"), sizes.hidden, sizes.epsilon)
        };
        let layer = |i| Layer::new(builder, &format!("deberta.encoder.layer.{i}"), &NAMES, sizes);
        Ok(Self {
            words: table("embeddings.word_embeddings", config.vocab_size)?,
            norm: norm("embeddings.LayerNorm")?,
            layers: (0..config.facts().depth).map(layer).collect::<Result<_, _>>()?,
            positions: Positions::Trained {
                table: table("encoder.rel_embeddings", 2 * distances.span)?,
                norm: norm("encoder.LayerNorm")?,
            },
            sizes,
            distances,
            terms: config.pos_att_type,
            kernels: None,
        })
    }

    /// Disentangled attention (arXiv 2006.03654, eq. 4), three of `[R, H]` to `[B T, H]`:
    /// `A_ij = Q_i K_j^T + Q_i K^r_δ(i,j)^T + K_j Q^r_δ(i,j)^T`, over `√(n D)` with `n` the number of terms. The paper writes
    /// `δ(j, i)` in the last; the released code, and with it every model, takes the position as here.
    fn attend(
        &self,
        parts: [Tensor; 3],
        [position_query, position_key]: &[Tensor; 2],
        reached: &Reached,
        shape: &Shape,
        drop: f64,
    ) -> Result<Tensor, ModelError> {
        let [query, key, value] = parts.map(|rows| shape.split(&rows, self.sizes.heads));
        let (query, key, value) = (query?, key?, value?);
        let mut terms = Vec::new();
        if self.terms.c2p {
            let scores = query.f_matmul(&position_key.f_transpose(2, 3)?)?;
            terms.push(of_pairs(&scores, &reached.index)?);
        }
        if self.terms.p2c {
            let scores = key.f_matmul(&position_query.f_transpose(2, 3)?)?;
            let of_key_and_query = of_pairs(&scores, &reached.index.f_transpose(2, 3)?)?;
            terms.push(of_key_and_query.f_transpose(2, 3)?);
        }
        let width = (self.sizes.hidden / self.sizes.heads) as f64;
        let scale = 1.0 / (width * f64::from(1 + self.terms.count())).sqrt();
        let mut bias = shape.bias.as_ref().map(Tensor::shallow_clone);
        for term in terms {
            let term = term.f_mul_scalar(scale)?;
            bias = Some(match bias {
                Some(bias) => term.f_add(&bias)?,
                None => term,
            });
        }
        attend_heads([&query, &key, &value], bias.as_ref(), Some(scale), drop)
    }
}

impl Encoder for Deberta {
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
        let shape = Shape::masked(batch, hidden.kind())?;
        let reached = self.distances.reached(shape.tokens, hidden.device())?;
        by_rows(self.kernels.as_ref(), &hidden, |mut rows| {
            for i in range {
                let layer = &self.layers[i];
                let positions = self.positions.of_layer(i, layer, &reached, drop)?;
                let attend = |parts| self.attend(parts, &positions, &reached, &shape, drop);
                rows = layer.forward_with(rows, drop, attend)?;
            }
            Ok(rows)
        })
    }

    fn depth(&self) -> usize {
        self.layers.len()
    }

    /// BERT's, and in each layer `2 B T W H` for each term with positions; before serving also `4 W H²` for their
    /// projections.
    fn flops(&self, examples: usize, tokens: usize) -> f64 {
        let (b, t, hidden) = (examples as f64, tokens as f64, self.sizes.hidden as f64);
        let widest = self.distances.bucket(tokens.saturating_sub(1) as i64);
        let occurring = (2 * widest + 1).min(2 * self.distances.span) as f64;
        let terms = f64::from(self.terms.count()) * 2.0 * b * t * occurring * hidden;
        let projections = match self.positions {
            Positions::Trained { .. } => 4.0 * occurring * hidden * hidden,
            Positions::Served(_) => 0.0,
        };
        self.sizes.flops(self.depth(), examples, tokens)
            + self.depth() as f64 * (terms + projections)
    }

    fn served(self: Box<Self>, kernels: &Kernels) -> Result<Box<dyn Encoder>, ModelError> {
        let positions = self.positions.served(&self.layers, kernels)?;
        let layers = self.layers.into_iter().map(|layer| layer.served(kernels));
        Ok(Box::new(Self {
            layers: layers.collect::<Result<_, _>>()?,
            positions,
            words: kernels.tensor(&self.words)?,
            norm: self.norm.served(kernels)?,
            sizes: self.sizes,
            distances: self.distances,
            terms: self.terms,
            kernels: Some(kernels.clone()),
        }))
    }
}
