//! The original repository's averaged word vectors: the mean over the tokens, a ReLU layer, class scores.
//!
//! `B` examples, `D` numbers of a word, `C` classes.

use std::fmt;

use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};

use super::{
    super::{Builder, Init, ModelError, TokenBatch, dropout::dropout, linear::Linear},
    StudentModel, Table,
    embedding::Embedding,
    family::{init, uniform},
    fasttext::{column, words},
    is_zero, when,
};

/// Sizes of an averaging student.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AverageConfig {
    /// `V` and `E`.
    #[serde(flatten)]
    pub table: Table,
    /// Units of the ReLU layer.
    pub inner: i64,
    /// Probability of dropout on the mean and before the output layer.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropout: f64,
}

impl AverageConfig {
    /// 300 numbers a word and 192 units.
    pub const fn original(vocabulary: i64) -> Self {
        Self { table: Table::tuned(vocabulary, 300), inner: 192, dropout: 0.0 }
    }
}

impl fmt::Display for AverageConfig {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}, {} units", self.table, self.inner)
    }
}

/// A table and two linear layers.
#[derive(Debug)]
pub(super) struct Average {
    embedding: Embedding,
    hidden: Linear,
    output: Linear,
    config: AverageConfig,
}

impl Average {
    pub(super) fn new(
        builder: &Builder,
        config: AverageConfig,
        classes: usize,
        fresh: bool,
    ) -> Result<Self, ModelError> {
        let linear = |name: &str, input, output| {
            Linear::new(builder, name, input, output, uniform(fresh, input), uniform(fresh, input))
        };
        Ok(Self {
            embedding: Embedding::new(builder, config.table, init(fresh, Init::Normal(1.0)))?,
            hidden: linear("hidden", config.table.width(), config.inner)?,
            output: linear("output", config.inner, classes as i64)?,
            config,
        })
    }
}

impl StudentModel for Average {
    fn logits(&self, batch: &TokenBatch, train: bool) -> Result<Tensor, ModelError> {
        let drop = when(train, self.config.dropout);
        let counts: Vec<f32> = batch.lengths.iter().map(|&length| length as f32).collect();
        let sum = self.embedding.sums(&words(batch)?)?;
        let mean = sum.f_div(&column(&counts, batch.ids.device())?)?;
        let hidden = self.hidden.forward(&dropout(mean, drop)?)?.f_relu()?;
        self.output.forward(&dropout(hidden, drop)?)
    }

    fn flops(&self, examples: usize, _: usize) -> f64 {
        2.0 * (examples as i64 * self.config.table.width() * self.config.inner) as f64
    }

    fn prepared(self: Box<Self>, _: Device) -> Result<Box<dyn StudentModel>, ModelError> {
        Ok(self)
    }
}
