//! An encoder as a masked language model, which is how BERT and most of its relatives are pre-trained (Devlin et al.
//! 2019, arXiv 1810.04805, section 3.1): some tokens of a text are hidden, and predicted from all the others.
//!
//! `B` examples, `T` tokens, `N` tokens to predict, `H` hidden size, `E` width of the word table, `V` vocabulary.

use tch::Tensor;

use super::{
    Activation, Builder, Init, ModelError, TokenBatch,
    encoders::{Architecture, Encoder, Facts},
    head::HeadNorm,
    layers::LayerNorm,
    linear::Linear,
};
use crate::shared::Shared;

/// The head of a family's `ForMaskedLM`: dense layer, activation, norm, and the word table as output layer.
#[derive(Debug, Clone, Copy)]
pub(super) struct MaskedHead {
    /// The class of `transformers`.
    pub(super) class: &'static str,
    /// Name of the dense layer's parameters, `[E, H]`.
    pub(super) dense: &'static str,
    pub(super) dense_bias: bool,
    pub(super) activation: Activation,
    pub(super) norm: HeadNorm,
    /// `E`.
    pub(super) width: i64,
    /// Name of the output layer's bias, `[V]`.
    pub(super) bias: &'static str,
}

/// Encoder and head. Clones share their parameters, for other threads.
#[derive(Debug, Clone)]
pub struct MaskedLm {
    encoder: Box<dyn Encoder>,
    dense: Linear,
    activation: Activation,
    norm: LayerNorm,
    /// `[V, E]`, shared with the encoder.
    words: Shared,
    /// `[V]`.
    bias: Shared,
}

impl MaskedLm {
    /// Takes encoder and head from `builder`; what it lacks of the head starts fresh.
    pub(super) fn new(
        architecture: &dyn Architecture,
        head: MaskedHead,
        builder: &Builder,
    ) -> Result<Self, ModelError> {
        let encoder = architecture.build(builder)?;
        let Facts { width, vocabulary, initializer_range, .. } = architecture.facts();
        let init = Init::Normal(initializer_range);
        let dense = if head.dense_bias {
            Linear::new(builder, head.dense, width, head.width, init, Init::Zeros)?
        } else {
            Linear::without_bias(builder, head.dense, width, head.width, init)?
        };
        Ok(Self {
            encoder,
            dense,
            activation: head.activation,
            norm: head.norm.build(builder, head.width, init)?,
            words: builder.taken(&architecture.word_table(), &[vocabulary, head.width])?.into(),
            bias: builder.get(head.bias, &[vocabulary], Init::Zeros)?.into(),
        })
    }

    /// `[N, V]` raw logits of the tokens at `places`, `[N]` int64 indices of the flattened `[B, T]`, with dropout of
    /// probability `p` in the encoder.
    ///
    /// Only these pass through head and output layer. With 15 % of the tokens to predict, that is 15 % of the
    /// arithmetic and the memory that logits of all tokens would take.
    pub fn logits(
        &self,
        batch: &TokenBatch,
        places: &Tensor,
        p: f64,
    ) -> Result<Tensor, ModelError> {
        let hidden = self.encoder.forward(batch, p)?;
        let width = hidden.size3()?.2;
        let hidden = hidden.f_reshape([-1, width])?.f_index_select(0, places)?;
        let transformed = self.activation.apply(&self.dense.forward(&hidden)?)?;
        Ok(self.norm.forward(&transformed)?.f_linear(&self.words, Some(&*self.bias))?)
    }
}
