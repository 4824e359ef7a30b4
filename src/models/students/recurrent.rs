//! What the recurrent students have in common: bidirectional layers over word vectors, and from their
//! states to class scores, of one text or of two that are compared.
//!
//! `B` examples, `T` tokens, `D` numbers of a word, `H` units a direction, `C` classes.

use std::fmt;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::{
    super::{Builder, Init, ModelError, TokenBatch, dropout::dropout, linear::Linear},
    StudentModel, Table,
    embedding::Embedding,
    family::{init, uniform},
    is_zero, pairs,
    prepared::PreparedLstm,
    scores::Scores,
    states::{last_states, maximum, reordered, reversal},
    unrolled::{Unrolled, Words},
    when,
};
use crate::threads::Pair;
use crate::traced::{Detour, Traced};

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

    /// The weights of one direction, on a GPU side by side in memory, as cuDNN would otherwise put them for every
    /// pass.
    fn laid_out(self, weights: Weights) -> Result<Weights, ModelError> {
        if weights[0].device().is_cuda() {
            let _no_grad = tch::no_grad_guard();
            // What cuDNN calls the cells.
            let mode = match self {
                Self::Lstm => 2,
                Self::Gru => 3,
            };
            let (input, hidden) = (weights[0].size()[1], weights[1].size()[1]);
            let parts = weights.len() as i64;
            // Moves the weights into the memory that it returns.
            let _memory = Tensor::f_internal_cudnn_rnn_flatten_weight(
                &weights, parts, input, mode, hidden, 0, 1, false, false,
            )?;
        }
        Ok(weights)
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
    scores: Scores,
    config: RecurrentConfig,
    /// Where it is trained by a backward pass of its own.
    unrolled: Option<Unrolled>,
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
            cell.laid_out([
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
        let on_cpu = layers.iter().flatten().flatten().all(|weight| weight.device() == Device::Cpu);
        let unrolled = cell == Cell::Lstm && config.layers == 1 && on_cpu;
        Ok(Self {
            cell,
            embedding,
            layers,
            scores: Scores {
                hidden: linear("hidden", compared * 2 * hidden, inner)?,
                output: linear("output", inner, classes as i64)?,
            },
            config,
            unrolled: unrolled.then(Unrolled::new),
            prepared: None,
        })
    }

    /// Of compared pairs, a batch of both texts of each.
    fn split(&self, batch: &TokenBatch) -> Result<Option<TokenBatch>, ModelError> {
        self.config.siamese.then(|| pairs::split(batch)).transpose()
    }

    /// What was read of `texts`: of each text for compared pairs.
    fn read(&self, texts: &TokenBatch, train: bool) -> Result<Read, ModelError> {
        Ok(match (self.config.head, &self.prepared) {
            (Head::LastStates, Some(prepared)) if !train => {
                Read::Texts(prepared.last_states(texts)?)
            }
            (Head::LastStates, _) => {
                let [forward, backward] = self.directions(texts, train)?;
                let last = |states: &Tensor| last_states(states, &texts.lengths);
                Read::Texts(Tensor::f_cat(&[last(&forward)?, last(&backward)?], 1)?)
            }
            (Head::MaxOverTime, prepared) => {
                let [forward, backward] = match prepared {
                    Some(prepared) if !train => prepared.states(texts)?,
                    _ => self.directions(texts, train)?,
                };
                let backward = reordered(&backward, reversal(texts)?.as_ref())?;
                Read::Tokens(Tensor::f_cat(&[forward, backward], 2)?)
            }
        })
    }

    /// [`read`](Self::read) in training, by a layer with a backward pass of its own.
    fn read_unrolled(
        &self,
        (unrolled, layer): (&Unrolled, &[Weights; 2]),
        texts: &TokenBatch,
    ) -> Result<(Read, Detour), ModelError> {
        let words = self.words(texts)?;
        let (states, detour) = unrolled.states(&words, texts.ids.size()[1], layer)?;
        let read = match self.config.head {
            Head::MaxOverTime => Read::Tokens(states),
            Head::LastStates => {
                let halves = states.f_chunk(2, 2)?;
                let last = last_states(&halves[0], &texts.lengths)?;
                Read::Texts(Tensor::f_cat(&[last, halves[1].f_select(0, 0)?], 1)?)
            }
        };
        Ok((read, detour))
    }

    /// The distinct words of a batch, or all of them where each has a dropout of its own.
    fn words(&self, texts: &TokenBatch) -> Result<Words, ModelError> {
        let width = texts.ids.size()[1] as usize;
        let ids = Vec::<i64>::try_from(texts.ids.f_contiguous()?.f_flatten(0, 1)?)?;
        let examples =
            || ids.chunks(width).zip(&texts.lengths).map(|(ids, &length)| &ids[..length]);
        let mut words = examples().flatten().copied().collect::<Vec<i64>>();
        let rows = if self.config.dropout > 0.0 {
            let mut next = 0..;
            examples().map(|ids| next.by_ref().take(ids.len()).collect()).collect()
        } else {
            words.sort_unstable();
            words.dedup();
            let row = |id: &i64| words.partition_point(|word| word < id) as i64;
            examples().map(|ids| ids.iter().map(row).collect()).collect()
        };
        let x = self.embedding.forward(&Tensor::f_from_slice(&words)?)?;
        Ok(Words { x: dropout(x, self.config.dropout)?, rows })
    }

    /// From what was read of `texts` to `[B, C]`.
    fn classify(&self, read: Read, texts: &TokenBatch, train: bool) -> Result<Tensor, ModelError> {
        let drop = when(train, self.config.dropout);
        let read = match read {
            Read::Tokens(states) if !self.config.siamese => {
                let states = dropout(states, drop)?;
                return match &self.unrolled {
                    _ if !train => self.scores.highest(&states, texts),
                    None => self.scores.highest_trained(&states, texts, &Pair::none()),
                    Some(own) => self.scores.highest_trained(&states, texts, own.pair()),
                };
            }
            Read::Tokens(states) => maximum(&states, texts.mask.as_ref())?.0,
            Read::Texts(read) => read,
        };
        let read = if self.config.siamese { compared(&read)? } else { read };
        self.scores.of(&dropout(read, drop)?)
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
}

impl StudentModel for Recurrent {
    fn logits(&self, batch: &TokenBatch, train: bool) -> Result<Tensor, ModelError> {
        let split = self.split(batch)?;
        let texts = split.as_ref().unwrap_or(batch);
        self.classify(self.read(texts, train)?, texts, train)
    }

    fn has_threads(&self) -> bool {
        self.unrolled.as_ref().is_some_and(Unrolled::has_threads)
    }

    fn traced(&self, batch: &TokenBatch) -> Result<Traced, ModelError> {
        match (&self.unrolled, self.layers.as_slice()) {
            (Some(unrolled), [layer]) => {
                let split = self.split(batch)?;
                let texts = split.as_ref().unwrap_or(batch);
                let (read, detour) = self.read_unrolled((unrolled, layer), texts)?;
                Ok(Traced::new(self.classify(read, texts, true)?, detour))
            }
            _ => Ok(self.logits(batch, true)?.into()),
        }
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

/// What the layers read of texts.
enum Read {
    /// The states of all tokens, `[T, B, 2H]`.
    Tokens(Tensor),
    /// What stands for each text, `[B, 2H]`.
    Texts(Tensor),
}

/// First texts and second texts, `[2B, X]`, compared: `[B, 4X]`.
fn compared(texts: &Tensor) -> Result<Tensor, ModelError> {
    let halves = texts.f_chunk(2, 0)?;
    let (first, second) = (&halves[0], &halves[1]);
    let (product, distance) = (first.f_mul(second)?, first.f_sub(second)?.f_abs()?);
    Ok(Tensor::f_cat(&[first, second, &product, &distance], 1)?)
}
