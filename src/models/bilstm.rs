//! BiLSTM students: the one of Tang et al. 2019 (arXiv 1903.12136, section 3.1) and the one of the
//! repository that Lectern grew from, which takes the maximum over per-token scores.
//!
//! `B` examples, `T` tokens, `E` embedding, `H` units a direction, `C` classes.

use std::fmt;

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::{Builder, Init, ModelError, TokenBatch, linear::Linear};

/// From the LSTM's `[T, B, 2H]` outputs to `[B, C]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Head {
    /// Scores for every token, then the maximum of each class over the tokens.
    MaxOverTime,
    /// The last state of each direction, classified once.
    LastStates,
}

/// Sizes of a BiLSTM student.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BiLstmConfig {
    /// Rows of the embedding table.
    pub vocabulary: i64,
    /// `E`.
    pub embedding: i64,
    /// `H`.
    pub hidden: i64,
    /// Units of the ReLU layer.
    pub inner: i64,
    /// How the outputs are classified.
    pub head: Head,
}

impl BiLstmConfig {
    /// The original repository's: 300, 300, 192, maximum over time.
    pub const fn original(vocabulary: i64) -> Self {
        Self { vocabulary, embedding: 300, hidden: 300, inner: 192, head: Head::MaxOverTime }
    }

    /// Tang et al. 2019, section 4.2: 300, 150, 200, last states.
    pub const fn paper(vocabulary: i64) -> Self {
        Self { vocabulary, embedding: 300, hidden: 150, inner: 200, head: Head::LastStates }
    }
}

impl fmt::Display for BiLstmConfig {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { vocabulary, embedding, hidden, head, .. } = self;
        let head = match head {
            Head::MaxOverTime => "maximum over time",
            Head::LastStates => "last states",
        };
        write!(f, "{vocabulary} words x {embedding}, {hidden} units a direction, {head}")
    }
}

/// Embedding, one bidirectional LSTM layer, a ReLU layer and class scores.
///
/// Padding never changes an answer: the backward direction reads each example reversed within its own
/// length, so that in both directions padding comes after the last token.
#[derive(Debug)]
pub struct BiLstm {
    embedding: Tensor,
    forward: [Tensor; 4],
    backward: [Tensor; 4],
    inner: Linear,
    output: Linear,
    config: BiLstmConfig,
}

impl BiLstm {
    /// Takes the parameters from `builder`; with `fresh`, those that it lacks start as PyTorch's own
    /// layers do, else all must be there.
    pub fn new(
        builder: &Builder,
        config: BiLstmConfig,
        classes: usize,
        fresh: bool,
    ) -> Result<Self, ModelError> {
        let BiLstmConfig { vocabulary, embedding, hidden, inner, .. } = config;
        let init = |otherwise| if fresh { otherwise } else { Init::Required };
        let uniform = |fan_in: i64| init(Init::Uniform(1.0 / (fan_in as f64).sqrt()));
        let direction = |suffix: &str| -> Result<[Tensor; 4], ModelError> {
            let get = |name: &str, shape: &[i64]| {
                builder.get(&format!("lstm.{name}_l0{suffix}"), shape, uniform(hidden))
            };
            Ok([
                get("weight_ih", &[4 * hidden, embedding])?,
                get("weight_hh", &[4 * hidden, hidden])?,
                get("bias_ih", &[4 * hidden])?,
                get("bias_hh", &[4 * hidden])?,
            ])
        };
        let linear = |name: &str, input, output| {
            Linear::new(builder, name, input, output, uniform(input), uniform(input))
        };
        let table = [vocabulary, embedding];
        Ok(Self {
            embedding: builder.get("embedding.weight", &table, init(Init::Normal(1.0)))?,
            forward: direction("")?,
            backward: direction("_reverse")?,
            inner: linear("hidden", 2 * hidden, inner)?,
            output: linear("output", inner, classes as i64)?,
            config,
        })
    }

    /// `[B, C]` raw logits. The embedding's gradient is sparse: the rows of this batch alone.
    pub fn logits(&self, batch: &TokenBatch, train: bool) -> Result<Tensor, ModelError> {
        let ids = batch.ids.f_transpose(0, 1)?.f_contiguous()?;
        let embedded = Tensor::f_embedding(&self.embedding, &ids, -1, false, true)?;
        let reverse = batch.mask.as_ref().map(|_| reversal(&batch.lengths, &ids)).transpose()?;
        let forward = self.run(&embedded, &self.forward, train)?;
        let reversed = reordered(&embedded, reverse.as_ref())?;
        let backward = self.run(&reversed, &self.backward, train)?;
        match self.config.head {
            Head::MaxOverTime => {
                let backward = reordered(&backward, reverse.as_ref())?;
                let scores = self.scores(&Tensor::f_cat(&[forward, backward], 2)?)?;
                let scores = match &batch.mask {
                    None => scores,
                    Some(mask) => {
                        let padding = mask.f_transpose(0, 1)?.f_logical_not()?.f_unsqueeze(2)?;
                        scores.f_masked_fill(&padding, f64::NEG_INFINITY)?
                    }
                };
                Ok(scores.f_max_dim(0, false)?.0)
            }
            Head::LastStates => {
                let last = |states: &Tensor| last_states(states, &batch.lengths);
                self.scores(&Tensor::f_cat(&[last(&forward)?, last(&backward)?], 1)?)
            }
        }
    }

    /// Operations of the matrix products over `B` examples padded to `T` tokens: two directions of
    /// `[E + H, 4H]` a token, and the ReLU layer once for every token or example. The class scores, a
    /// thousandth of the whole, are left out.
    pub(super) fn flops(&self, examples: usize, width: usize) -> f64 {
        let BiLstmConfig { embedding, hidden, inner, head, .. } = self.config;
        let tokens = (examples * width) as f64;
        let classified = match head {
            Head::MaxOverTime => tokens,
            Head::LastStates => examples as f64,
        };
        let recurrent = 2 * 4 * hidden * (embedding + hidden);
        2.0 * (tokens * recurrent as f64 + classified * (2 * hidden * inner) as f64)
    }

    /// `[.., 2H]` to `[.., C]`.
    fn scores(&self, states: &Tensor) -> Result<Tensor, ModelError> {
        self.output.forward(&self.inner.forward(states)?.f_relu()?)
    }

    /// One direction from zero states: `[T, B, E]` to `[T, B, H]`.
    fn run(&self, x: &Tensor, weights: &[Tensor; 4], train: bool) -> Result<Tensor, ModelError> {
        let zeros =
            Tensor::f_zeros([1, x.size()[1], self.config.hidden], (Kind::Float, x.device()))?;
        let start = [zeros.shallow_clone(), zeros];
        Ok(x.f_lstm(&start, weights, true, 1, 0.0, train, false, false)?.0)
    }
}

/// Where each token of `[T, B]` goes when every example is reversed within its length, as indices
/// into the flat `[T · B]`. Padding stays. Applied twice it is the identity.
fn reversal(lengths: &[usize], ids: &Tensor) -> Result<Tensor, ModelError> {
    let (t, b) = ids.size2()?;
    let flat: Vec<i64> = (0..t)
        .flat_map(|time| {
            lengths.iter().enumerate().map(move |(example, &length)| {
                let length = length as i64;
                let source = if time < length { length - 1 - time } else { time };
                source * b + example as i64
            })
        })
        .collect();
    Ok(Tensor::f_from_slice(&flat)?.f_to_device(ids.device())?)
}

/// `[T, B, X]` with its tokens in the order of `reverse`; without one, all examples are as long as the
/// batch and time itself is reversed.
fn reordered(x: &Tensor, reverse: Option<&Tensor>) -> Result<Tensor, ModelError> {
    match reverse {
        None => Ok(x.f_flip([0])?),
        Some(flat) => {
            Ok(x.f_flatten(0, 1)?.f_index_select(0, flat)?.f_view(x.size().as_slice())?)
        }
    }
}

/// `[T, B, H]` to `[B, H]`: each example's state after its last token.
fn last_states(states: &Tensor, lengths: &[usize]) -> Result<Tensor, ModelError> {
    let b = lengths.len();
    let flat: Vec<i64> =
        lengths.iter().enumerate().map(|(i, length)| ((length - 1) * b + i) as i64).collect();
    let flat = Tensor::f_from_slice(&flat)?.f_to_device(states.device())?;
    Ok(states.f_flatten(0, 1)?.f_index_select(0, &flat)?)
}
