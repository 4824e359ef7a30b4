//! An encoder of embeddings and post-norm layers: all of BERT, and of its relatives what they have in common.
//!
//! `B` examples, `T` tokens, `H` hidden size.

use std::ops::Range;

use tch::Tensor;

use super::{
    super::{ModelError, TokenBatch, linear::Kernels},
    Encoder,
    attention::Shape,
    embeddings::Embeddings,
    post_norm::{Layer, Sizes, run},
};

/// Embeddings, then layers.
#[derive(Debug, Clone)]
pub(super) struct Stack {
    embeddings: Embeddings,
    layers: Vec<Layer>,
    /// What the encoder's layer `i` is: some of `layers`, which several may share.
    runs: Vec<Range<usize>>,
    sizes: Sizes,
    kernels: Option<Kernels>,
}

impl Stack {
    /// Of layers with parameters of their own.
    pub(super) fn new(embeddings: Embeddings, layers: Vec<Layer>, sizes: Sizes) -> Self {
        let runs = (0..layers.len()).map(|i| i..i + 1).collect();
        Self::shared(embeddings, layers, runs, sizes)
    }

    /// Of layers that are ranges of `layers`, one after the other.
    pub(super) const fn shared(
        embeddings: Embeddings,
        layers: Vec<Layer>,
        runs: Vec<Range<usize>>,
        sizes: Sizes,
    ) -> Self {
        Self { embeddings, layers, runs, sizes, kernels: None }
    }

    /// `[B, T, H]` through some of the layers, with `shape` to say what attention sees.
    pub(super) fn attend(
        &self,
        range: Range<usize>,
        hidden: &Tensor,
        shape: &Shape,
        drop: f64,
    ) -> Result<Tensor, ModelError> {
        let layers = self.runs[range].iter().flat_map(|run| &self.layers[run.clone()]);
        run(layers, self.kernels.as_ref(), hidden, shape, drop)
    }

    pub(super) fn served(self, kernels: &Kernels) -> Result<Self, ModelError> {
        let layers = self.layers.into_iter().map(|layer| layer.served(kernels));
        Ok(Self {
            layers: layers.collect::<Result<_, _>>()?,
            embeddings: self.embeddings.served(kernels)?,
            kernels: Some(kernels.clone()),
            ..self
        })
    }
}

impl Encoder for Stack {
    fn embed(&self, batch: &TokenBatch, drop: f64) -> Result<Tensor, ModelError> {
        self.embeddings.forward(batch, self.kernels.as_ref(), drop)
    }

    fn layers(
        &self,
        range: Range<usize>,
        hidden: Tensor,
        batch: &TokenBatch,
        drop: f64,
    ) -> Result<Tensor, ModelError> {
        self.attend(range, &hidden, &Shape::masked(batch, hidden.kind())?, drop)
    }

    fn depth(&self) -> usize {
        self.runs.len()
    }

    fn flops(&self, examples: usize, tokens: usize) -> f64 {
        let depth = self.runs.iter().map(Range::len).sum();
        self.embeddings.flops(examples, tokens) + self.sizes.flops(depth, examples, tokens)
    }

    fn served(self: Box<Self>, kernels: &Kernels) -> Result<Box<dyn Encoder>, ModelError> {
        Ok(Box::new((*self).served(kernels)?))
    }
}
