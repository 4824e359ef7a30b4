//! An encoder as a permutation language model, which is how XLNet is pre-trained (Yang et al. 2019, arXiv 1906.08237,
//! section 2): tokens are predicted one after another in some order, each from those before it.
//!
//! `B` examples, `T` tokens, `P` targets of each example, `V` vocabulary.

use std::path::Path;

use serde_json::Value;
use tch::{Device, Tensor};

use super::{
    Builder, Init, ModelError, Parameters, TokenBatch,
    encoders::{TwoStreams, architecture},
    folder::{malformed, read_json},
    teacher::canonical_names,
    weights::find_weights,
};

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

/// Name of the output layer's bias in `XLNetLMHeadModel`.
const BIAS: &str = "lm_loss.bias";

/// Encoder and output layer, whose weight is the word table.
#[derive(Debug)]
pub struct PermutationLm {
    streams: Box<dyn TwoStreams>,
    /// `[V]`.
    bias: Tensor,
    parameters: Parameters,
}

impl PermutationLm {
    /// Reads any checkpoint of a family that has a query stream; the output layer's bias starts at zero where the
    /// folder lacks it.
    pub fn load(folder: &Path, device: Device) -> Result<Self, ModelError> {
        let config: Value = read_json(&folder.join("config.json"))?;
        let architecture = architecture(folder, &config)?;
        let (path, tensors) = find_weights(folder)?;
        let mut tensors = canonical_names(tensors, architecture.prefix());
        // Another task's head is none of this model's; the output layer's weight is the word table.
        tensors.retain(|name, _| name == BIAS || name.starts_with(architecture.prefix()));
        let builder = Builder::from_weights(tensors, &path, device);
        let Some(streams) = architecture.build_two_streams(&builder)? else {
            let cause = "no permutation language model: only xlnet has a query stream";
            return Err(malformed(&folder.join("config.json"), cause));
        };
        let bias = builder.get(BIAS, &[architecture.vocabulary()], Init::Zeros)?;
        Ok(Self { streams, bias, parameters: builder.finish()? })
    }

    /// All trained values, under the names of `XLNetLMHeadModel`.
    pub const fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// `[B, P, V]` raw logits of each target, with dropout of probability `p` on the way.
    pub fn logits(
        &self,
        batch: &TokenBatch,
        permutation: &Permutation,
        p: f64,
    ) -> Result<Tensor, ModelError> {
        let queries = self.streams.queries(batch, permutation, p)?;
        Ok(queries.f_linear(self.streams.words(), Some(&self.bias))?)
    }
}
