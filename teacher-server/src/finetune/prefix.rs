//! A teacher whose first layers do not move: what they make of an example is computed once and kept, unpadded, as far
//! as memory is allowed for it.
//!
//! Kept states are computed before the first step, in batches that depend on the examples alone, and what is not kept is
//! computed with the batch that needs it. So a training that is resumed sees the same numbers to the bit.
//!
//! `B` examples, `T` tokens, `H` hidden size.

use std::{
    cell::Cell,
    collections::{HashMap, HashSet},
};

use lectern::{
    commands::Progress,
    data::LabelSet,
    models::{Classifier, ModelError, Teacher, TokenBatch, rows},
    text::{TextError, Tokens},
};
use tch::{Device, Tensor};
use tracing::info;

/// Examples computed together when states are first kept; sorted by length, so they are hardly padded.
const TOGETHER: usize = 32;

/// The teacher in training.
#[derive(Debug)]
pub(super) struct PartlyFrozen<'a> {
    teacher: &'a Teacher,
    /// How many layers do not move.
    frozen: usize,
    /// `[T, H]` on the CPU after those layers, by token and segment ids.
    kept: HashMap<Vec<i64>, Tensor>,
    /// Examples that were passed through the frozen layers.
    computed: Cell<usize>,
}

impl<'a> PartlyFrozen<'a> {
    /// Keeps the states of `examples`, longest first, in at most `budget` bytes. Where no layer is frozen it keeps
    /// nothing, and the forward pass is the teacher's.
    pub(super) fn new(
        teacher: &'a Teacher,
        frozen: usize,
        examples: &[&Tokens],
        budget: usize,
    ) -> Result<Self, ModelError> {
        let mut this = Self { teacher, frozen, kept: HashMap::new(), computed: Cell::new(0) };
        if frozen > 0 {
            this.keep(examples, budget)?;
        }
        Ok(this)
    }

    fn keep(&mut self, examples: &[&Tokens], budget: usize) -> Result<(), ModelError> {
        let mut seen = HashSet::new();
        let mut distinct: Vec<&Tokens> =
            examples.iter().copied().filter(|tokens| seen.insert(key(tokens))).collect();
        distinct.sort_by_key(|tokens| std::cmp::Reverse(tokens.len()));
        // A state's floats, and the two ids of the key.
        let bytes_per_token = self.teacher.width() * size_of::<f32>() + 2 * size_of::<i64>();
        let mut left = budget;
        let fits = |tokens: &&&Tokens| {
            let rest = left.checked_sub(tokens.len() * bytes_per_token);
            left = rest.unwrap_or(left);
            rest.is_some()
        };
        let kept: Vec<&Tokens> = distinct.iter().take_while(fits).copied().collect();
        let (layers, examples) = (self.frozen, distinct.len());
        info!(
            layers,
            kept = kept.len(),
            examples,
            "frozen layers are computed once for each example kept"
        );
        let mut progress = Progress::new("frozen layers", kept.len());
        for together in kept.chunks(TOGETHER) {
            let states = self.compute(together)?;
            self.kept.extend(together.iter().map(|tokens| key(tokens)).zip(states));
            progress.advance(together.len(), String::new);
        }
        Ok(())
    }

    /// `[T, H]` of each example after the frozen layers, without autograd and without dropout, unpadded, on the CPU.
    fn compute(&self, examples: &[&Tokens]) -> Result<Vec<Tensor>, ModelError> {
        let _no_grad = tch::no_grad_guard();
        self.computed.set(self.computed.get() + examples.len());
        let batch = TokenBatch::new(examples, self.teacher.device())?;
        let hidden = self.teacher.hidden_after(self.frozen, &batch)?.f_to_device(Device::Cpu)?;
        let state = |(row, &length): (usize, &usize)| {
            // A copy, so that the batch's padding is freed.
            Ok(hidden.f_get(row as i64)?.f_narrow(0, 0, length as i64)?.f_detach_copy()?)
        };
        batch.lengths.iter().enumerate().map(state).collect()
    }

    /// `[B, T, H]` after the frozen layers, zeros at padding.
    fn hidden(&self, examples: &[&Tokens]) -> Result<Tensor, ModelError> {
        let unknown: Vec<&Tokens> = examples
            .iter()
            .copied()
            .filter(|tokens| !self.kept.contains_key(&key(tokens)))
            .collect();
        let computed = if unknown.is_empty() { Vec::new() } else { self.compute(&unknown)? };
        let mut computed = computed.into_iter();
        let states: Vec<Tensor> = examples
            .iter()
            .filter_map(|tokens| match self.kept.get(&key(tokens)) {
                Some(state) => Some(state.shallow_clone()),
                None => computed.next(),
            })
            .collect();
        let padded = Tensor::f_pad_sequence(&states, true, 0.0, "right")?;
        Ok(padded.f_to_device(self.teacher.device())?)
    }

    #[cfg(test)]
    pub(super) fn computed(&self) -> usize {
        self.computed.get()
    }

    /// What a forward pass over `examples` takes.
    pub(super) fn pass(&self, examples: &[&Tokens]) -> Result<Pass, ModelError> {
        let batch = TokenBatch::new(examples, self.teacher.device())?;
        let hidden = if self.frozen == 0 { None } else { Some(self.hidden(examples)?) };
        Ok(Pass { teacher: self.teacher.clone(), frozen: self.frozen, hidden, batch })
    }
}

/// A forward pass, for any thread.
#[derive(Debug)]
pub(super) struct Pass {
    teacher: Teacher,
    frozen: usize,
    /// What enters the layers that move, if not all of them do.
    hidden: Option<Tensor>,
    batch: TokenBatch,
}

impl Pass {
    /// `[B, C]` raw logits, with dropout of probability `p` in the layers that move.
    pub(super) fn logits(self, p: f64) -> Result<Tensor, ModelError> {
        let Self { teacher, frozen, hidden, batch } = self;
        match hidden {
            None => teacher.forward(&batch, p),
            Some(hidden) => teacher.forward_from(frozen, hidden, &batch, p),
        }
    }
}

/// What decides an example's states: its ids, then its segments.
fn key(tokens: &Tokens) -> Vec<i64> {
    [tokens.ids.as_slice(), tokens.type_ids.as_slice()].concat()
}

impl Classifier for PartlyFrozen<'_> {
    fn labels(&self) -> &LabelSet {
        self.teacher.labels()
    }

    fn encode(&self, text: &str, text_pair: Option<&str>) -> Result<Tokens, TextError> {
        self.teacher.encode(text, text_pair)
    }

    fn parameter_count(&self) -> usize {
        self.teacher.parameter_count()
    }

    fn device(&self) -> Device {
        self.teacher.device()
    }

    fn logits(&self, batch: &TokenBatch) -> Result<Tensor, ModelError> {
        self.teacher.logits(batch)
    }

    fn predict(&self, examples: &[&Tokens]) -> Result<Vec<Vec<f32>>, ModelError> {
        let _no_grad = tch::no_grad_guard();
        rows(&self.pass(examples)?.logits(0.0)?)
    }
}
