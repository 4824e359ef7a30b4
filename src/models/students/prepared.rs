//! An LSTM layer laid out for inference: what the gates get from a word does not depend on the text, so
//! it is computed once for each word of the vocabulary, and a step is a lookup and one product with `h`.
//!
//! Of the paper's sizes (`E` 300, `H` 150) that leaves a third of the operations: `8H²` multiplications a
//! token instead of `8H (E + H)`.
//!
//! `V` vocabulary, `B` examples, `T` tokens, `H` units a direction.

use std::sync::{Mutex, OnceLock, PoisonError};

use rayon::{
    ThreadPool,
    iter::{IndexedParallelIterator as _, IntoParallelRefIterator as _, ParallelIterator as _},
};
use tch::{Device, Kind, Tensor};

use super::{
    super::{ModelError, TokenBatch},
    embedding::Embedding,
    recurrent::Weights,
};
use crate::threads;

/// Most that the gates of all words may take; a vocabulary of 30,000 takes 144 MB with the paper's 150
/// units a direction and 288 MB with the original's 300.
const MOST_BYTES: i64 = 512 << 20;

/// Fewest examples of a thread; of fewer, a step is mostly overhead.
const FEWEST_EXAMPLES: usize = 16;

/// Both directions of one layer. A batch is shared out over as many threads as libtorch was told to use, each
/// of which computes alone: operations this small gain nothing from several threads of their own, which would
/// have to meet ten times in every step.
#[derive(Debug)]
pub(super) struct PreparedLstm {
    gates: Mutex<Gates>,
    /// One for each thread.
    workers: OnceLock<Option<(ThreadPool, Vec<Mutex<Gates>>)>>,
}

/// What a batch holds, as threads can share it.
struct Texts<'a> {
    /// `B · T`.
    ids: Vec<i64>,
    width: usize,
    lengths: &'a [usize],
}

impl PreparedLstm {
    /// `None` on another device than a CPU, whose own LSTM is fast, and where the words' gates would take
    /// more than half a gibibyte.
    pub(super) fn new(
        embedding: &Embedding,
        layer: &[Weights; 2],
        device: Device,
    ) -> Result<Option<Self>, ModelError> {
        let hidden = layer[0][1].size()[1];
        let rows = embedding.rows()?;
        let vocabulary = rows.size()[0];
        if device != Device::Cpu || vocabulary * 8 * hidden * 4 > MOST_BYTES {
            return Ok(None);
        }
        let gates = Mutex::new(Gates::new(&rows, layer)?);
        Ok(Some(Self { gates, workers: OnceLock::new() }))
    }

    /// Each example's last state of both directions, `[B, 2H]`.
    pub(super) fn last_states(&self, batch: &TokenBatch) -> Result<Tensor, ModelError> {
        Ok(self.run(batch, false)?.f_select(1, 0)?.f_transpose(0, 1)?.f_flatten(1, 2)?)
    }

    /// All states of each direction, `[T, B, H]`, the backward ones with each example reversed; 0 in the
    /// place of padding.
    pub(super) fn states(&self, batch: &TokenBatch) -> Result<[Tensor; 2], ModelError> {
        let all = self.run(batch, true)?;
        Ok([all.f_select(0, 0)?, all.f_select(0, 1)?])
    }

    /// `[2, T, B, H]` with `all` states, else the last ones, `[2, 1, B, H]`.
    fn run(&self, batch: &TokenBatch, all: bool) -> Result<Tensor, ModelError> {
        let ids = Vec::<i64>::try_from(batch.ids.f_contiguous()?.f_flatten(0, 1)?)?;
        let width = batch.ids.size()[1] as usize;
        let texts = Texts { ids, width, lengths: &batch.lengths };
        // From the longest to the shortest, so that those that still have tokens are the first ones of a step.
        let mut order: Vec<usize> = (0..texts.lengths.len()).collect();
        order.sort_by_key(|&i| std::cmp::Reverse(texts.lengths[i]));
        let wanted = (order.len() / FEWEST_EXAMPLES).max(1);
        let states = match self.workers.get_or_init(|| self.hire()) {
            Some((pool, workers)) => {
                let n = workers.len().min(wanted);
                // Every nth, so that all have texts of all lengths.
                let shares: Vec<Vec<usize>> = (0..n)
                    .map(|first| order.iter().copied().skip(first).step_by(n).collect())
                    .collect();
                let share = |(share, gates): (&Vec<usize>, &Mutex<Gates>)| {
                    lock(gates).run(&texts, share, all)
                };
                let states = pool.install(|| {
                    let shares = shares.par_iter().zip(workers.par_iter());
                    shares.map(share).collect::<Result<Vec<_>, _>>()
                })?;
                order = shares.concat();
                Tensor::f_cat(&states, 2)?
            }
            None => lock(&self.gates).run(&texts, &order, all)?,
        };
        let mut back = vec![0i64; order.len()];
        for (now, &example) in (0..).zip(&order) {
            back[example] = now;
        }
        Ok(states.f_index_select(2, &Tensor::f_from_slice(&back)?)?.f_mul_scalar_(2.0)?)
    }

    /// As many threads as the calling one may use for an operation, if that is more than one.
    fn hire(&self) -> Option<(ThreadPool, Vec<Mutex<Gates>>)> {
        let threads = tch::get_num_threads();
        if threads < 2 {
            return None;
        }
        let pool = threads::hire(threads as usize, 1)?;
        let gates = lock(&self.gates);
        Some((pool, (0..threads).map(|_| Mutex::new(gates.shallow_clone())).collect()))
    }
}

/// A thread that failed left nothing half done: gates are only read.
fn lock(gates: &Mutex<Gates>) -> std::sync::MutexGuard<'_, Gates> {
    gates.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Each gate is a sigmoid, which libtorch computes four times as fast as a tanh: with
/// `tanh(x) = 2 σ(2x) - 1`, one sigmoid over all four gates `i, f, g, o` of
/// `z = W_ih x + W_hh h + b`, whose part `g` is doubled beforehand, gives a step:
///
/// - `d ← f d + i (σ(2 z_g) - 1/2)`, where `d = c / 2`
/// - `u = o (σ(4 d) - 1/2)`, where `u = h / 2`; `W_hh` is doubled beforehand
#[derive(Debug)]
struct Gates {
    /// `[2V, 4H]`: `z` without `h` for each word, all forward ones first.
    words: Tensor,
    /// `[H, 4H]` of each direction.
    recurrent: [Tensor; 2],
    vocabulary: i64,
    hidden: i64,
}

impl Gates {
    /// Of the words' vectors, `[V, D]`.
    fn new(rows: &Tensor, layer: &[Weights; 2]) -> Result<Self, ModelError> {
        let _no_grad = tch::no_grad_guard();
        let (vocabulary, hidden) = (rows.size()[0], layer[0][1].size()[1]);
        let words = Tensor::f_empty([2 * vocabulary, 4 * hidden], (Kind::Float, Device::Cpu))?;
        for (direction, [input, _, input_bias, own_bias]) in (0..).zip(layer) {
            let bias = input_bias.f_add(own_bias)?;
            let here = words.f_narrow(0, direction * vocabulary, vocabulary)?;
            let _words = Tensor::f_addmm_out(&bias, &here, rows, &input.f_transpose(0, 1)?)?;
            let _cell = here.f_narrow(1, 2 * hidden, hidden)?.f_mul_scalar_(2.0)?;
        }
        // From u instead of h; the product is a copy, and leaves the trained weight as it is.
        let recurrent = |own: &Tensor| -> Result<Tensor, ModelError> {
            let own = own.f_transpose(0, 1)?.f_contiguous()?.f_mul_scalar(2.0)?;
            let _cell = own.f_narrow(1, 2 * hidden, hidden)?.f_mul_scalar_(2.0)?;
            Ok(own)
        };
        let recurrent = [recurrent(&layer[0][1])?, recurrent(&layer[1][1])?];
        Ok(Self { words, recurrent, vocabulary, hidden })
    }

    /// The same, sharing memory.
    fn shallow_clone(&self) -> Self {
        let [forward, backward] = &self.recurrent;
        Self {
            words: self.words.shallow_clone(),
            recurrent: [forward.shallow_clone(), backward.shallow_clone()],
            ..*self
        }
    }

    /// `u` of some examples, `n` from the longest to the shortest: of `all` tokens, `[2, T, n, H]`, with 0 in
    /// the place of padding, or of the last token, `[2, 1, n, H]`.
    fn run(&self, texts: &Texts<'_>, examples: &[usize], all: bool) -> Result<Tensor, ModelError> {
        let _no_grad = tch::no_grad_guard();
        let word = |example: usize, time: usize| texts.ids[example * texts.width + time];
        let length = |example: usize| texts.lengths[example];
        let (h, options) = (self.hidden, (Kind::Float, Device::Cpu));
        let count = examples.len() as i64;
        let kept = if all { texts.width as i64 } else { 0 };
        let states = Tensor::f_zeros([2, kept, count, h], options)?;
        let zeros = || Tensor::f_zeros([2, count, h], options);
        let (last, d) = (zeros()?, zeros()?);
        let all_gates = Tensor::f_empty([2 * count, 4 * h], options)?;
        let all_squashed = Tensor::f_empty([2 * count, h], options)?;
        let longest = examples.first().map_or(0, |&i| length(i));
        for time in 0..longest {
            let active = examples.partition_point(|&i| length(i) > time);
            let (now, active) = (active as i64, &examples[..active]);
            let forward = active.iter().map(|&i| word(i, time));
            let backward = active.iter().map(|&i| self.vocabulary + word(i, length(i) - 1 - time));
            let rows = Tensor::f_from_slice(&forward.chain(backward).collect::<Vec<_>>())?;
            let z = all_gates.f_narrow(0, 0, 2 * now)?;
            let _words = self.words.f_index_select_out(&z, 0, &rows)?;
            let (u, mut d) = (last.f_narrow(1, 0, now)?, d.f_narrow(1, 0, now)?);
            if time > 0 {
                for (direction, own) in (0..).zip(&self.recurrent) {
                    let mut z = z.f_narrow(0, direction * now, now)?;
                    let _sum = z.f_addmm_(&u.f_select(0, direction)?, own)?;
                }
            }
            let mut z = z.f_view([2, now, 4 * h])?;
            let _gates = z.f_sigmoid_()?;
            let gate = |k: i64| z.f_narrow(2, k * h, h);
            let (input, forget, mut cell, output) = (gate(0)?, gate(1)?, gate(2)?, gate(3)?);
            let _cell = cell.f_sub_scalar_(0.5)?;
            let _d = d.f_mul_(&forget)?.f_addcmul_(&input, &cell)?;
            let squashed = all_squashed.f_narrow(0, 0, 2 * now)?.f_view([2, now, h])?;
            let _squashed = d.f_mul_scalar_out(&squashed, 4.0)?.f_sigmoid_()?.f_sub_scalar_(0.5)?;
            let _u = squashed.f_mul_out(&u, &output)?;
            if all {
                states.f_select(1, time as i64)?.f_narrow(1, 0, now)?.f_copy_(&u)?;
            }
        }
        if all { Ok(states) } else { Ok(last.f_unsqueeze(1)?) }
    }
}
