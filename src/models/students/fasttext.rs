//! A fastText-like bag of words and hashed bigrams (Joulin et al. 2016, arXiv 1607.01759): the mean of their
//! vectors, then class scores.
//!
//! `B` examples, `T` tokens, `V` vocabulary, `N` buckets, `D` numbers of a word, `C` classes.

use std::fmt;

use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};

use super::{
    super::{Builder, Init, ModelError, TokenBatch, dropout::dropout, linear::Linear},
    StudentModel, Table,
    embedding::{Bags, Embedding},
    family::init,
    is_zero, when,
};

/// What fastText's dictionary multiplies the hash of a bigram's first word with.
const FACTOR: i64 = 116_049_371;

/// Sizes of a bag of words and bigrams.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FastTextConfig {
    /// `V` and `E`.
    #[serde(flatten)]
    pub table: Table,
    /// `N`, vectors that bigrams share by their hash.
    pub buckets: i64,
    /// Probability of dropout before the output layer.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropout: f64,
}

impl FastTextConfig {
    /// 100 numbers a word, as the program's default, and 100,000 buckets; the program's two million take
    /// 800 MB.
    pub const fn small(vocabulary: i64) -> Self {
        Self { table: Table::tuned(vocabulary, 100), buckets: 100_000, dropout: 0.0 }
    }
}

impl fmt::Display for FastTextConfig {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}, {} buckets of bigrams", self.table, self.buckets)
    }
}

/// Two tables and a linear layer.
#[derive(Debug)]
pub(super) struct FastText {
    words: Embedding,
    /// `[N, D]`, trained.
    bigrams: Tensor,
    output: Linear,
    config: FastTextConfig,
}

impl FastText {
    /// Vectors start uniform within `1/E` and the output layer at 0, as in fastText.
    pub(super) fn new(
        builder: &Builder,
        config: FastTextConfig,
        classes: usize,
        fresh: bool,
    ) -> Result<Self, ModelError> {
        let FastTextConfig { table, buckets, .. } = config;
        let vectors = init(fresh, Init::Uniform(1.0 / table.embedding as f64));
        let zeros = init(fresh, Init::Zeros);
        Ok(Self {
            words: Embedding::new(builder, table, vectors)?,
            bigrams: builder.get("bigrams.weight", &[buckets, table.width()], vectors)?,
            output: Linear::new(builder, "output", table.width(), classes as i64, zeros, zeros)?,
            config,
        })
    }

    /// Bucket `(FACTOR · first + second) mod N` of each two neighbours of `[B, T]`: `[B, T - 1]`. Ids are so
    /// small that nothing overflows.
    fn buckets(&self, ids: &Tensor) -> Result<Tensor, ModelError> {
        let pairs = ids.size()[1] - 1;
        let (first, second) = (ids.f_narrow(1, 0, pairs)?, ids.f_narrow(1, 1, pairs)?);
        let hash = first.f_mul_scalar(FACTOR)?.f_add(&second)?;
        Ok(hash.f_remainder(self.config.buckets)?)
    }
}

/// The entries of `[B, X]` where `mask` is true, of which each example has `lengths`.
pub(super) fn bags(
    rows: &Tensor,
    mask: Option<&Tensor>,
    lengths: impl Iterator<Item = i64>,
) -> Result<Bags, ModelError> {
    let flat = match mask {
        None => rows.f_reshape([-1])?,
        Some(mask) => rows.f_masked_select(mask)?,
    };
    let mut next = 0;
    let starts: Vec<i64> = lengths
        .map(|length| {
            next += length;
            next - length
        })
        .collect();
    let starts = Tensor::f_from_slice(&starts)?.f_to_device(rows.device())?;
    Ok(Bags { rows: flat, starts })
}

/// The tokens of each example of a batch.
pub(super) fn words(batch: &TokenBatch) -> Result<Bags, ModelError> {
    let lengths = batch.lengths.iter().map(|&length| length as i64);
    bags(&batch.ids, batch.mask.as_ref(), lengths)
}

/// `[B, 1]` float32.
pub(super) fn column(values: &[f32], device: Device) -> Result<Tensor, ModelError> {
    Ok(Tensor::f_from_slice(values)?.f_to_device(device)?.f_unsqueeze(1)?)
}

impl StudentModel for FastText {
    fn logits(&self, batch: &TokenBatch, train: bool) -> Result<Tensor, ModelError> {
        let mut sum = self.words.sums(&words(batch)?)?;
        let width = batch.ids.size()[1];
        if width > 1 {
            // Two neighbours are both there if the second is.
            let mask =
                batch.mask.as_ref().map(|mask| mask.f_narrow(1, 1, width - 1)).transpose()?;
            let lengths = batch.lengths.iter().map(|&length| length as i64 - 1);
            let bigrams = bags(&self.buckets(&batch.ids)?, mask.as_ref(), lengths)?;
            sum = sum.f_add(&bigrams.sums(&self.bigrams)?)?;
        }
        let counts: Vec<f32> =
            batch.lengths.iter().map(|&length| (2 * length - 1) as f32).collect();
        let mean = sum.f_div(&column(&counts, batch.ids.device())?)?;
        self.output.forward(&dropout(mean, when(train, self.config.dropout))?)
    }

    fn flops(&self, examples: usize, _: usize) -> f64 {
        let (examples, classes) = (examples as f64, self.output.outputs() as f64);
        2.0 * examples * self.config.table.width() as f64 * classes
    }

    fn prepared(self: Box<Self>, _: Device) -> Result<Box<dyn StudentModel>, ModelError> {
        Ok(self)
    }
}
