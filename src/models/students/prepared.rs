//! An LSTM layer laid out for inference: what the gates get from a word does not depend on the text, so
//! it is computed once for each word of the vocabulary, and a step is a lookup and one product with `h`.
//!
//! Of the paper's sizes (`E` 300, `H` 150) that leaves a third of the operations: `8H²` multiplications a
//! token instead of `8H (E + H)`.
//!
//! `V` vocabulary, `B` examples, `T` tokens, `H` units a direction.

use tch::{Device, Kind, Tensor};

use super::{
    super::{ModelError, TokenBatch},
    embedding::Embedding,
    recurrent::Weights,
};

/// Most that the gates of all words may take; a vocabulary of 30,000 takes 144 MB with the paper's 150
/// units a direction and 288 MB with the original's 300.
const MOST_BYTES: i64 = 512 << 20;

/// Both directions of one layer.
///
/// Each gate is a sigmoid, which libtorch computes four times as fast as a tanh: with
/// `tanh(x) = 2 σ(2x) - 1`, one sigmoid over all four gates `i, f, g, o` of
/// `z = W_ih x + W_hh h + b`, whose part `g` is doubled beforehand, gives a step:
///
/// - `d ← f d + i (σ(2 z_g) - 1/2)`, where `d = c / 2`
/// - `u = o (σ(4 d) - 1/2)`, where `u = h / 2`; `W_hh` is doubled beforehand
#[derive(Debug)]
pub(super) struct PreparedLstm {
    /// `[2V, 4H]`: `z` without `h` for each word, all forward ones first.
    words: Tensor,
    /// `[H, 4H]` of each direction.
    recurrent: [Tensor; 2],
    vocabulary: i64,
    hidden: i64,
}

/// Examples from the longest to the shortest, so that those that still have tokens are the first ones of
/// every step.
struct Order {
    /// Of the sorted examples, the original ones' numbers.
    examples: Vec<usize>,
    /// How many have a token at each time.
    active: Vec<usize>,
}

impl Order {
    fn new(lengths: &[usize]) -> Self {
        let mut examples: Vec<usize> = (0..lengths.len()).collect();
        examples.sort_by_key(|&i| std::cmp::Reverse(lengths[i]));
        let longest = examples.first().map_or(0, |&i| lengths[i]);
        let active =
            (0..longest).map(|time| examples.partition_point(|&i| lengths[i] > time)).collect();
        Self { examples, active }
    }

    /// `[B]` where each original example stands now.
    fn back(&self) -> Result<Tensor, ModelError> {
        let mut back = vec![0i64; self.examples.len()];
        for (now, &example) in self.examples.iter().enumerate() {
            back[example] = now as i64;
        }
        Ok(Tensor::f_from_slice(&back)?)
    }
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
        let _no_grad = tch::no_grad_guard();
        let words = Tensor::f_empty([2 * vocabulary, 4 * hidden], (Kind::Float, device))?;
        let mut recurrent = Vec::with_capacity(2);
        for (direction, [input, own, input_bias, own_bias]) in layer.iter().enumerate() {
            let bias = input_bias.f_add(own_bias)?;
            let here = words.f_narrow(0, direction as i64 * vocabulary, vocabulary)?;
            let _words = Tensor::f_addmm_out(&bias, &here, &rows, &input.f_transpose(0, 1)?)?;
            let _cell = here.f_narrow(1, 2 * hidden, hidden)?.f_mul_scalar_(2.0)?;
            // From u instead of h; the copy keeps the trained weight as it is.
            let own = own.f_detach()?.f_transpose(0, 1)?.f_mul_scalar(2.0)?.f_contiguous()?;
            let _cell = own.f_narrow(1, 2 * hidden, hidden)?.f_mul_scalar_(2.0)?;
            recurrent.push(own);
        }
        let Ok(recurrent) = <[Tensor; 2]>::try_from(recurrent) else { return Ok(None) };
        Ok(Some(Self { words, recurrent, vocabulary, hidden }))
    }

    /// Each example's last state of both directions, `[B, 2H]`.
    pub(super) fn last_states(&self, batch: &TokenBatch) -> Result<Tensor, ModelError> {
        let order = Order::new(&batch.lengths);
        let u = self.run(batch, &order, |_, _| Ok(()))?;
        let last = u.f_transpose(0, 1)?.f_flatten(1, 2)?;
        Ok(last.f_index_select(0, &order.back()?)?.f_mul_scalar_(2.0)?)
    }

    /// All states of each direction, `[T, B, H]`, the backward ones with each example reversed; 0 in the
    /// place of padding.
    pub(super) fn states(&self, batch: &TokenBatch) -> Result<[Tensor; 2], ModelError> {
        let order = Order::new(&batch.lengths);
        let (b, t) = batch.ids.size2()?;
        let all = Tensor::f_zeros([2, t, b, self.hidden], (Kind::Float, batch.ids.device()))?;
        let _last = self.run(batch, &order, |time, u| {
            let active = u.size()[1];
            all.f_select(1, time as i64)?.f_narrow(1, 0, active)?.f_copy_(u)?;
            Ok(())
        })?;
        let all = all.f_index_select(2, &order.back()?)?.f_mul_scalar_(2.0)?;
        Ok([all.f_select(0, 0)?, all.f_select(0, 1)?])
    }

    /// `u` after the last token of every sorted example, `[2, B, H]`; `each` sees those of the examples that
    /// have a token at each time, `[2, n, H]`.
    fn run(
        &self,
        batch: &TokenBatch,
        order: &Order,
        mut each: impl FnMut(usize, &Tensor) -> Result<(), ModelError>,
    ) -> Result<Tensor, ModelError> {
        let _no_grad = tch::no_grad_guard();
        let (examples, width) = batch.ids.size2()?;
        let ids = Vec::<i64>::try_from(batch.ids.f_contiguous()?.f_flatten(0, 1)?)?;
        let word = |example: usize, time: usize| ids[example * width as usize + time];
        let options = (Kind::Float, Device::Cpu);
        let h = self.hidden;
        let zeros = || Tensor::f_zeros([2, examples, h], options);
        let (u, d) = (zeros()?, zeros()?);
        let all_gates = Tensor::f_empty([2 * examples, 4 * h], options)?;
        let all_squashed = Tensor::f_empty([2 * examples, h], options)?;
        for (time, &active) in order.active.iter().enumerate() {
            let now = active as i64;
            let sorted = &order.examples[..active];
            let forward = sorted.iter().map(|&i| word(i, time));
            let backward =
                (sorted.iter()).map(|&i| self.vocabulary + word(i, batch.lengths[i] - 1 - time));
            let rows = Tensor::f_from_slice(&forward.chain(backward).collect::<Vec<_>>())?;
            let z = all_gates.f_narrow(0, 0, 2 * now)?;
            let _words = self.words.f_index_select_out(&z, 0, &rows)?;
            let (u, mut d) = (u.f_narrow(1, 0, now)?, d.f_narrow(1, 0, now)?);
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
            each(time, &u)?;
        }
        Ok(u)
    }
}
