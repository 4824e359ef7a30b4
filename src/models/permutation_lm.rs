//! An encoder as a permutation language model, which is how XLNet is pre-trained (Yang et al. 2019, arXiv 1906.08237,
//! section 2): tokens are predicted one after another in some order, each from those before it.
//!
//! `B` examples, `T` tokens, `P` targets of each example, `V` vocabulary.

use tch::Tensor;

use super::{
    Builder, Init, ModelError, TokenBatch,
    encoders::{Architecture, TwoStreams},
};
use crate::shared::Shared;

/// The class of `transformers`.
pub(super) const CLASS: &str = "XLNetLMHeadModel";

/// What is predicted, and who sees whom.
#[derive(Debug)]
pub struct Permutation {
    /// `[B, T, T]` bool: token `i` may not see token `j`, as `j` does not come before it in the order. `perm_mask` of
    /// `transformers`.
    pub hidden: Tensor,
    /// `[B, P]` int64: where the tokens to predict stand, in any order. `target_mapping` of `transformers`, whose rows
    /// are these as one-hot vectors. An example with fewer targets repeats one, and its loss leaves the repeats out.
    pub targets: Tensor,
}

/// Encoder and output layer, whose weight is the word table. Clones share their parameters, for other threads.
#[derive(Debug, Clone)]
pub struct PermutationLm {
    streams: Box<dyn TwoStreams>,
    /// `[V]`.
    bias: Shared,
}

impl PermutationLm {
    /// Takes encoder and bias from `builder`, which may lack the bias; `None` for a family without a query stream.
    pub(super) fn new(
        architecture: &dyn Architecture,
        builder: &Builder,
    ) -> Result<Option<Self>, ModelError> {
        let Some(streams) = architecture.build_two_streams(builder)? else { return Ok(None) };
        let bias = builder.get("lm_loss.bias", &[architecture.facts().vocabulary], Init::Zeros)?;
        Ok(Some(Self { streams, bias: bias.into() }))
    }

    /// `[B, P, V]` raw logits of each target, with dropout of probability `p` on the way.
    pub fn logits(
        &self,
        batch: &TokenBatch,
        permutation: &Permutation,
        p: f64,
    ) -> Result<Tensor, ModelError> {
        let queries = self.streams.queries(batch, permutation, p)?;
        Ok(queries.f_linear(self.streams.words(), Some(&*self.bias))?)
    }
}
