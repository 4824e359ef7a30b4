//! What the recurrent students have in common: bidirectional layers over word vectors, and from their
//! states to class scores, of one text or of two that are compared.
//!
//! `B` examples, `T` tokens, `D` numbers of a word, `H` units a direction, `C` classes.

use std::fmt;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::{
    super::{Builder, Init, ModelError, TokenBatch, layers::dropout, linear::Linear},
    StudentModel, Table,
    embedding::Embedding,
    family::{init, uniform},
    is_zero, pairs,
    prepared::PreparedLstm,
    when,
};

/// From the states of all tokens to `[B, C]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Head {
    /// Scores for every token, then the maximum of each class over the tokens. Of compared pairs: the
    /// maximum of each state over the tokens stands for a text.
    MaxOverTime,
    /// The last state of each direction, classified once.
    LastStates,
}

/// Sizes of a recurrent student.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RecurrentConfig {
    /// `V` and `E`.
    #[serde(flatten)]
    pub table: Table,
    /// `H`.
    pub hidden: i64,
    /// Units of the ReLU layer.
    pub inner: i64,
    /// How the states are classified.
    pub head: Head,
    /// Bidirectional layers, one on top of the other.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub layers: usize,
    /// Probability of dropout on word vectors, between layers and on what the ReLU layer reads.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropout: f64,
    /// Examples are pairs, whose texts are read apart with the same weights and compared as
    /// `[h1; h2; h1 ⊙ h2; |h1 - h2|]` (Tang et al. 2019, section 3.1.2).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub siamese: bool,
}

const fn one() -> usize {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde wants")]
const fn is_one(layers: &usize) -> bool {
    *layers == 1
}

impl RecurrentConfig {
    /// One layer without dropout.
    pub(super) const fn new(
        vocabulary: i64,
        [embedding, hidden, inner]: [i64; 3],
        head: Head,
    ) -> Self {
        let table = Table::tuned(vocabulary, embedding);
        Self { table, hidden, inner, head, layers: 1, dropout: 0.0, siamese: false }
    }
}

impl fmt::Display for RecurrentConfig {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let head = match self.head {
            Head::MaxOverTime => "maximum over time",
            Head::LastStates => "last states",
        };
        write!(f, "{}, {} units a direction, {head}", self.table, self.hidden)?;
        if self.layers > 1 {
            write!(f, ", {} layers", self.layers)?;
        }
        f.write_str(if self.siamese { ", pairs compared" } else { "" })
    }
}

/// The recurrence of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cell {
    Lstm,
    Gru,
}

impl Cell {
    const fn gates(self) -> i64 {
        match self {
            Self::Lstm => 4,
            Self::Gru => 3,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Lstm => "lstm",
            Self::Gru => "gru",
        }
    }

    /// One direction from zero states: `[T, B, X]` to `[T, B, H]`.
    fn run(self, x: &Tensor, weights: &Weights, train: bool) -> Result<Tensor, ModelError> {
        let hidden = weights[1].size()[1];
        let zeros = Tensor::f_zeros([1, x.size()[1], hidden], (Kind::Float, x.device()))?;
        Ok(match self {
            Self::Lstm => {
                let start = [zeros.shallow_clone(), zeros];
                x.f_lstm(&start, weights, true, 1, 0.0, train, false, false)?.0
            }
            Self::Gru => x.f_gru(&zeros, weights, true, 1, 0.0, train, false, false)?.0,
        })
    }
}

/// Input weights, recurrent weights and the biases of both, of one direction of a layer, as PyTorch has them.
pub(super) type Weights = [Tensor; 4];

/// Embedding, bidirectional layers, a ReLU layer and class scores.
///
/// Padding never changes an answer: the backward direction reads each example reversed within its own
/// length, so that in both directions padding comes after the last token.
#[derive(Debug)]
pub(super) struct Recurrent {
    cell: Cell,
    embedding: Embedding,
    /// Forward and backward.
    layers: Vec<[Weights; 2]>,
    hidden: Linear,
    output: Linear,
    config: RecurrentConfig,
    prepared: Option<PreparedLstm>,
}

impl Recurrent {
    pub(super) fn new(
        builder: &Builder,
        cell: Cell,
        config: RecurrentConfig,
        classes: usize,
        fresh: bool,
    ) -> Result<Self, ModelError> {
        let RecurrentConfig { table, hidden, inner, .. } = config;
        let direction = |layer: usize, suffix: &str| -> Result<Weights, ModelError> {
            let input = if layer == 0 { table.width() } else { 2 * hidden };
            let rows = cell.gates() * hidden;
            let get = |part: &str, shape: &[i64]| {
                let name = format!("{}.{part}_l{layer}{suffix}", cell.name());
                builder.get(&name, shape, uniform(fresh, hidden))
            };
            Ok([
                get("weight_ih", &[rows, input])?,
                get("weight_hh", &[rows, hidden])?,
                get("bias_ih", &[rows])?,
                get("bias_hh", &[rows])?,
            ])
        };
        let linear = |name: &str, input, output| {
            Linear::new(builder, name, input, output, uniform(fresh, input), uniform(fresh, input))
        };
        let embedding = Embedding::new(builder, table, init(fresh, Init::Normal(1.0)))?;
        let layers = (0..config.layers)
            .map(|layer| Ok([direction(layer, "")?, direction(layer, "_reverse")?]))
            .collect::<Result<Vec<_>, ModelError>>()?;
        let compared = if config.siamese { 4 } else { 1 };
        Ok(Self {
            cell,
            embedding,
            layers,
            hidden: linear("hidden", compared * 2 * hidden, inner)?,
            output: linear("output", inner, classes as i64)?,
            config,
            prepared: None,
        })
    }

    /// `[B, C]`.
    fn forward(&self, batch: &TokenBatch, train: bool) -> Result<Tensor, ModelError> {
        let drop = when(train, self.config.dropout);
        if self.config.siamese {
            let texts = self.texts(&pairs::split(batch)?, train)?;
            let [first, second] = [0, 1].map(|half| {
                let pairs = batch.lengths.len() as i64;
                texts.f_narrow(0, half * pairs, pairs)
            });
            let (first, second) = (first?, second?);
            let (product, distance) = (first.f_mul(&second)?, first.f_sub(&second)?.f_abs()?);
            let compared = Tensor::f_cat(&[first, second, product, distance], 1)?;
            return self.scores(&dropout(compared, drop)?);
        }
        match self.config.head {
            Head::MaxOverTime => {
                let states = self.states(batch, train)?;
                maximum(&self.scores(&dropout(states, drop)?)?, batch)
            }
            Head::LastStates => self.scores(&dropout(self.texts(batch, train)?, drop)?),
        }
    }

    /// What stands for a whole text: `[B, 2H]`.
    fn texts(&self, batch: &TokenBatch, train: bool) -> Result<Tensor, ModelError> {
        match self.config.head {
            Head::MaxOverTime => maximum(&self.states(batch, train)?, batch),
            Head::LastStates => {
                if let (Some(prepared), false) = (&self.prepared, train) {
                    return prepared.last_states(batch);
                }
                let [forward, backward] = self.directions(batch, train)?;
                let last = |states: &Tensor| last_states(states, &batch.lengths);
                Ok(Tensor::f_cat(&[last(&forward)?, last(&backward)?], 1)?)
            }
        }
    }

    /// Both directions' states of each token: `[T, B, 2H]`.
    fn states(&self, batch: &TokenBatch, train: bool) -> Result<Tensor, ModelError> {
        let [forward, backward] = match (&self.prepared, train) {
            (Some(prepared), false) => prepared.states(batch)?,
            _ => self.directions(batch, train)?,
        };
        let backward = reordered(&backward, reversal(batch)?.as_ref())?;
        Ok(Tensor::f_cat(&[forward, backward], 2)?)
    }

    /// The last layer's states of each direction, `[T, B, H]`, the backward ones with each example reversed.
    fn directions(&self, batch: &TokenBatch, train: bool) -> Result<[Tensor; 2], ModelError> {
        let drop = when(train, self.config.dropout);
        let reverse = reversal(batch)?;
        let ids = batch.ids.f_transpose(0, 1)?.f_contiguous()?;
        let mut x = dropout(self.embedding.forward(&ids)?, drop)?;
        let mut layers = self.layers.iter().peekable();
        while let Some([forward, backward]) = layers.next() {
            let forward = self.cell.run(&x, forward, train)?;
            let reversed = reordered(&x, reverse.as_ref())?;
            let backward = self.cell.run(&reversed, backward, train)?;
            if layers.peek().is_none() {
                return Ok([forward, backward]);
            }
            let backward = reordered(&backward, reverse.as_ref())?;
            x = dropout(Tensor::f_cat(&[forward, backward], 2)?, drop)?;
        }
        let none = x.f_narrow(2, 0, 0)?;
        Ok([none.shallow_clone(), none])
    }

    /// `[.., 2H]`, of compared pairs `[.., 8H]`, to `[.., C]`.
    fn scores(&self, states: &Tensor) -> Result<Tensor, ModelError> {
        self.output.forward(&self.hidden.forward(states)?.f_relu()?)
    }
}

impl StudentModel for Recurrent {
    fn logits(&self, batch: &TokenBatch, train: bool) -> Result<Tensor, ModelError> {
        self.forward(batch, train)
    }

    /// Two directions of `[D + H, gates · H]` a token and layer, without the input's part in the first
    /// where that is [prepared](PreparedLstm), and the ReLU layer once for every token or example.
    fn flops(&self, examples: usize, width: usize) -> f64 {
        let RecurrentConfig { table, hidden, inner, head, layers, siamese, .. } = self.config;
        let tokens = (examples * width) as f64;
        let classified = match head {
            Head::MaxOverTime if !siamese => tokens,
            _ => examples as f64,
        };
        let first = if self.prepared.is_some() { 0 } else { table.width() };
        let inputs = first + (layers as i64 - 1) * 2 * hidden + layers as i64 * hidden;
        let recurrent = 2 * self.cell.gates() * hidden * inputs;
        let compared = if siamese { 4 } else { 1 };
        2.0 * (tokens * recurrent as f64 + classified * (compared * 2 * hidden * inner) as f64)
    }

    fn prepared(mut self: Box<Self>, device: Device) -> Result<Box<dyn StudentModel>, ModelError> {
        if let (Cell::Lstm, [layer]) = (self.cell, self.layers.as_slice()) {
            self.prepared = PreparedLstm::new(&self.embedding, layer, device)?;
        }
        Ok(self)
    }
}

/// The maximum over each example's tokens: `[T, B, X]` to `[B, X]`.
fn maximum(states: &Tensor, batch: &TokenBatch) -> Result<Tensor, ModelError> {
    let masked = match &batch.mask {
        None => states.shallow_clone(),
        Some(mask) => {
            let padding = mask.f_transpose(0, 1)?.f_logical_not()?.f_unsqueeze(2)?;
            states.f_masked_fill(&padding, f64::NEG_INFINITY)?
        }
    };
    Ok(masked.f_max_dim(0, false)?.0)
}

/// Where each token of `[T, B]` goes when every example is reversed within its length, as indices
/// into the flat `[T · B]`. Padding stays. Applied twice it is the identity. `None` where all examples
/// are as long as the batch.
fn reversal(batch: &TokenBatch) -> Result<Option<Tensor>, ModelError> {
    if batch.mask.is_none() {
        return Ok(None);
    }
    let (b, t) = batch.ids.size2()?;
    let flat: Vec<i64> = (0..t)
        .flat_map(|time| {
            batch.lengths.iter().enumerate().map(move |(example, &length)| {
                let length = length as i64;
                let source = if time < length { length - 1 - time } else { time };
                source * b + example as i64
            })
        })
        .collect();
    Ok(Some(Tensor::f_from_slice(&flat)?.f_to_device(batch.ids.device())?))
}

/// `[T, B, X]` with its tokens in the order of `reverse`; without one, time itself is reversed.
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
