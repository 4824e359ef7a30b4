//! MPNet (Song et al. 2020, arXiv 2004.09297): trained by masked and permuted language modelling; for what comes
//! after, an encoder that sees everything.
//!
//! BERT's encoder with RoBERTa's positions, no segments, and a number added to the scores of attention that depends
//! on the distance of key and query alone (section 2.4: "relative positional embedding" as in T5, Raffel et al.
//! 2020, arXiv 1910.10683, section 2.1), the same in every layer.
//!
//! `B` examples, `T` tokens, `A` heads, `H` hidden size.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tch::{Device, Kind, Tensor};

use super::{
    super::{
        Activation, Builder, Init, ModelError, TokenBatch,
        head::{FamilyHead, HeadNorm},
        linear::Kernels,
        masked_lm::MaskedHead,
    },
    Architecture, Checked, Encoder, Facts, all_positive, as_json,
    attention::Shape,
    divides,
    embeddings::{Embeddings, Numbering, Segments, Tables},
    initializer_range, layer_norm_eps,
    post_norm::{Layer, Names, Sizes},
    roberta::{HEAD, positions_after_padding},
    stack::Stack,
};
use crate::shared::Shared;

/// The padding token's id, whatever `pad_token_id` says: positions count from after it.
const PADDING: i64 = 1;

/// Rows of the table of distances.
const BUCKETS: i64 = 32;

/// From here on all distances are one.
const FARTHEST: i64 = 128;

/// The part of `config.json` that decides the shape of the computation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct MpNetConfig {
    hidden_size: i64,
    num_hidden_layers: usize,
    num_attention_heads: i64,
    intermediate_size: i64,
    vocab_size: i64,
    max_position_embeddings: i64,
    #[serde(default = "buckets")]
    relative_attention_num_buckets: i64,
    #[serde(default = "layer_norm_eps")]
    layer_norm_eps: f64,
    #[serde(default)]
    hidden_act: Activation,
    #[serde(default = "initializer_range", skip_serializing)]
    initializer_range: f64,
}

const fn buckets() -> i64 {
    BUCKETS
}

const NAMES: Names = Names {
    query: "attention.attn.q",
    key: "attention.attn.k",
    value: "attention.attn.v",
    attention_output: "attention.attn.o",
    attention_norm: "attention.LayerNorm",
    ..Names::BERT
};

impl MpNetConfig {
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

impl Checked for MpNetConfig {
    fn check(&self) -> Result<(), String> {
        all_positive([
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers as i64),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("vocab_size", self.vocab_size),
            ("max_position_embeddings", self.max_position_embeddings),
        ])?;
        divides(self.num_attention_heads, ("hidden_size", self.hidden_size))?;
        if self.relative_attention_num_buckets != BUCKETS {
            return Err(format!(
                "`relative_attention_num_buckets` is {}; transformers computes with {BUCKETS} \
                 whatever it says, and so do we",
                self.relative_attention_num_buckets
            ));
        }
        positions_after_padding(PADDING, self.max_position_embeddings)
    }
}

impl Architecture for MpNetConfig {
    fn facts(&self) -> Facts {
        Facts {
            prefix: "mpnet.",
            layers: "mpnet.encoder.layer.",
            depth: self.num_hidden_layers,
            width: self.hidden_size,
            vocabulary: self.vocab_size,
            longest_input: Some((self.max_position_embeddings - PADDING - 1) as usize),
            initializer_range: self.initializer_range,
            classifier_class: "MPNetForSequenceClassification",
            encoder_class: "MPNetModel",
        }
    }

    fn head(&self) -> FamilyHead {
        HEAD
    }

    /// The activation is GELU whatever `hidden_act` says.
    fn masked_head(&self) -> Option<MaskedHead> {
        Some(MaskedHead {
            class: "MPNetForMaskedLM",
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
            numbering: Numbering::AfterPadding(PADDING),
            segments: Segments::Unmarked,
            width: self.hidden_size,
            epsilon: self.layer_norm_eps,
        };
        let embeddings = Embeddings::new(builder, "mpnet.embeddings", tables)?;
        let Facts { layers, depth, .. } = self.facts();
        let layers = Layer::many(builder, layers, depth, &NAMES, sizes)?;
        let distances = "mpnet.encoder.relative_attention_bias.weight";
        Ok(Box::new(MpNet {
            stack: Stack::new(embeddings, layers, sizes),
            distances: builder.get(distances, &[BUCKETS, sizes.heads], Init::Required)?.into(),
        }))
    }

    fn padding(&self) -> Option<i64> {
        Some(PADDING)
    }

    fn computation(&self) -> Value {
        as_json(self)
    }
}

#[derive(Debug, Clone)]
struct MpNet {
    stack: Stack,
    /// `[BUCKETS, A]`, what each head adds to a score at a distance.
    distances: Shared,
}

impl Encoder for MpNet {
    fn embed(&self, batch: &TokenBatch, drop: f64) -> Result<Tensor, ModelError> {
        self.stack.embed(batch, drop)
    }

    fn layers(
        &self,
        range: Range<usize>,
        hidden: Tensor,
        batch: &TokenBatch,
        drop: f64,
    ) -> Result<Tensor, ModelError> {
        let mut shape = Shape::masked(batch, hidden.kind())?;
        let distances = by_distance(&self.distances, shape.tokens)?;
        shape.bias = Some(match shape.bias {
            Some(mask) => distances.f_add(&mask)?,
            None => distances,
        });
        self.stack.attend(range, &hidden, &shape, drop)
    }

    fn depth(&self) -> usize {
        self.stack.depth()
    }

    fn flops(&self, examples: usize, tokens: usize) -> f64 {
        self.stack.flops(examples, tokens)
    }

    fn served(self: Box<Self>, kernels: &Kernels) -> Result<Box<dyn Encoder>, ModelError> {
        let distances = kernels.tensor(&self.distances)?;
        Ok(Box::new(Self { stack: self.stack.served(kernels)?, distances }))
    }
}

/// `[1, A, T, T]`: what is added to the score of each query, the third dimension, and key, from `[BUCKETS, A]`.
fn by_distance(distances: &Tensor, tokens: i64) -> Result<Tensor, ModelError> {
    // Row `i` of the result is key minus query from -i to T - 1 - i: a window on all distances there are.
    let rows = bucket(&Tensor::f_arange_start(1 - tokens, tokens, (Kind::Int64, Device::Cpu))?)?
        .f_to_device(distances.device())?;
    let all = Tensor::f_embedding(distances, &rows, -1, false, false)?.f_transpose(0, 1)?;
    Ok(all.f_unfold(1, tokens, 1)?.f_flip([1])?.f_unsqueeze(0)?)
}

/// The bucket of each distance, key minus query: half of the buckets for keys before the query and half for those
/// after; of each half, half for single distances, and half that grow as powers up to [`FARTHEST`].
fn bucket(distances: &Tensor) -> Result<Tensor, ModelError> {
    const HALF: i64 = BUCKETS / 2;
    const SINGLE: i64 = HALF / 2;
    let after = distances.f_gt(0)?.f_to_kind(Kind::Int64)?.f_mul_scalar(HALF)?;
    let far = distances.f_abs()?;
    // In float32 and in this order, or powers of two may fall to another bucket than in training.
    let power = far.f_to_kind(Kind::Float)?.f_div_scalar(SINGLE)?.f_log()?;
    let power = power.f_div_scalar((FARTHEST as f64 / SINGLE as f64).ln())?;
    let power = power.f_mul_scalar(HALF - SINGLE)?.f_to_kind(Kind::Int64)?;
    let power = power.f_add_scalar(SINGLE)?.f_clamp_max(HALF - 1)?;
    Ok(far.f_where_self(&far.f_lt(SINGLE)?, &power)?.f_add(&after)?)
}
