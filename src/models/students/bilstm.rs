//! BiLSTM students: the one of Tang et al. 2019 (arXiv 1903.12136, section 3.1) and the one of the
//! repository that Lectern grew from, which takes the maximum over per-token scores.

use tch::Tensor;

use super::{
    super::{Builder, ModelError, TokenBatch},
    StudentModel,
    recurrent::{Cell, Recurrent},
};
use crate::threads::FewerThreads;
use crate::traced::Traced;

pub use super::recurrent::{Head, RecurrentConfig as BiLstmConfig};

impl BiLstmConfig {
    /// The original repository's: 300, 300, 192, maximum over time.
    pub const fn original(vocabulary: i64) -> Self {
        Self::new(vocabulary, [300, 300, 192], Head::MaxOverTime)
    }

    /// Tang et al. 2019, section 4.2: 300, 150, 200, last states.
    pub const fn paper(vocabulary: i64) -> Self {
        Self::new(vocabulary, [300, 150, 200], Head::LastStates)
    }
}

/// Embedding, bidirectional LSTM layers, a ReLU layer and class scores.
#[derive(Debug)]
pub struct BiLstm(Box<dyn StudentModel>);

impl BiLstm {
    /// Takes the parameters from `builder`; with `fresh`, those that it lacks start as PyTorch's own
    /// layers do, else all must be there.
    pub fn new(
        builder: &Builder,
        config: BiLstmConfig,
        classes: usize,
        fresh: bool,
    ) -> Result<Self, ModelError> {
        Ok(Self(Box::new(Recurrent::new(builder, Cell::Lstm, config, classes, fresh)?)))
    }

    /// `[B, C]` raw logits. The embedding's gradient is sparse: the rows of this batch alone.
    pub fn logits(&self, batch: &TokenBatch, train: bool) -> Result<Tensor, ModelError> {
        self.0.logits(batch, train)
    }

    /// The same in training, with all that gradients need; on a CPU by a backward pass of its own.
    pub fn traced(&self, batch: &TokenBatch) -> Result<Traced, ModelError> {
        self.0.traced(batch)
    }

    /// To be held during a training step: what surrounds the model computes on one thread while the model has its own.
    pub fn step_threads(&self) -> FewerThreads {
        FewerThreads::one_if(self.0.has_threads())
    }
}
