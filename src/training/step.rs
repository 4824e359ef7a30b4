//! What one step of a training comes to: loss and gradients of the sum of its parts, so that many small batches
//! count as a large one.

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use tch::{TchError, Tensor};

use super::{
    Optimizer,
    gradient::{self, Gradient, clip_by_norm},
    step_seed,
};
use crate::{models::with_random, threads::Pair, traced::Traced};

/// A part of a step, cut in two or not.
#[derive(Debug)]
pub enum Halves<J> {
    /// What makes its scalar.
    Whole(J),
    /// What makes the scalar of each half.
    Two([J; 2]),
}

impl<J> Halves<J> {
    /// Every second example of `batch` and the others, which are as long in a batch sorted by length; all of it where
    /// there are no two threads or examples. `job` makes the job of some of them.
    pub fn of<E>(
        pair: &Pair,
        batch: &[usize],
        job: impl Fn(Vec<usize>) -> Result<J, E>,
    ) -> Result<Self, E> {
        let half = |first| job(batch.iter().skip(first).step_by(2).copied().collect());
        Ok(if pair.is_two() && batch.len() > 1 {
            Self::Two([half(0)?, half(1)?])
        } else {
            Self::Whole(job(batch.to_vec())?)
        })
    }

    /// The same part, of other jobs.
    pub fn map<K>(self, mut job: impl FnMut(J) -> K) -> Halves<K> {
        match self {
            Self::Whole(whole) => Halves::Whole(job(whole)),
            Self::Two(halves) => Halves::Two(halves.map(job)),
        }
    }

    /// What there is of it.
    pub fn iter(&self) -> impl Iterator<Item = &J> {
        match self {
            Self::Whole(whole) => std::slice::from_ref(whole),
            Self::Two(halves) => halves,
        }
        .iter()
    }
}

/// Losses and gradients so far.
#[derive(Debug, Default)]
struct Sum {
    loss: f64,
    gradients: Option<Vec<Gradient>>,
}

impl Sum {
    fn add(
        &mut self,
        optimizer: &Optimizer,
        loss: f64,
        more: Vec<Gradient>,
    ) -> Result<(), TchError> {
        self.loss += loss;
        self.gradients = Some(match self.gradients.take() {
            None => more,
            Some(sum) => optimizer.sum(sum, more)?,
        });
        Ok(())
    }

    /// A part made here, with libtorch's generator seeded for it.
    fn add_one<L: Into<Traced>, E: From<TchError>>(
        &mut self,
        optimizer: &Optimizer,
        part: impl FnOnce() -> Result<L, E>,
        seed: i64,
    ) -> Result<(), E> {
        tch::manual_seed(seed);
        let part = part()?.into();
        let loss = part.value.f_double_value(&[])?;
        Ok(self.add(optimizer, loss, optimizer.gradients(part)?)?)
    }

    fn clipped(self, max_norm: f64) -> Result<Step, TchError> {
        let gradients = self.gradients.unwrap_or_default();
        let norm = clip_by_norm(&gradients, max_norm)?;
        Ok(Step { loss: self.loss, gradients, norm })
    }
}

/// Value and gradients of a scalar.
fn gradients(loss: &Tensor, inputs: &[Tensor]) -> Result<(f64, Vec<Gradient>), TchError> {
    let value = loss.f_double_value(&[])?;
    Ok((value, gradient::of(loss, &inputs.iter().collect::<Vec<_>>())?))
}

/// Loss and gradients of one step, before it is taken.
#[derive(Debug)]
pub struct Step {
    /// Sum of the parts.
    pub loss: f64,
    /// In the order of the optimizer's parameters, scaled down to the norm that was asked for.
    pub gradients: Vec<Gradient>,
    /// Joint Euclidean norm of the gradients before they were scaled down.
    pub norm: f64,
}

impl Step {
    /// Adds up `parts`, each a scalar that gradients flow through, made one after the other so that the memory of one
    /// is free before the next. libtorch's generator is seeded anew for each, see [`step_seed`]: the first is the
    /// training's batch `first`.
    pub fn sum<L: Into<Traced>, E: From<TchError>>(
        optimizer: &Optimizer,
        parts: impl IntoIterator<Item = impl FnOnce() -> Result<L, E>>,
        (seed, first): (i64, usize),
        max_norm: f64,
    ) -> Result<Self, E> {
        let mut sum = Sum::default();
        for (i, part) in parts.into_iter().enumerate() {
            sum.add_one(optimizer, part, step_seed(seed, first + i))?;
        }
        Ok(sum.clipped(max_norm)?)
    }

    /// [`sum`](Self::sum) of parts that are cut in two: the halves of a part are computed beside each other, and wait for
    /// each other once, where operations that are cut in two wait each time for the later half of each. A
    /// part that was not cut is computed as there. A half has random numbers of its own, those of its part's seed and its
    /// place.
    pub fn sum_of_halves<J, E>(
        optimizer: &Optimizer,
        pair: &Pair,
        parts: impl IntoIterator<Item = Result<Halves<J>, E>>,
        (seed, first): (i64, usize),
        max_norm: f64,
    ) -> Result<Self, E>
    where
        J: FnOnce() -> Result<Tensor, E> + Send,
        E: From<TchError> + Send,
    {
        let mut sum = Sum::default();
        for (i, part) in parts.into_iter().enumerate() {
            let seed = step_seed(seed, first + i);
            match part? {
                Halves::Whole(job) => sum.add_one(optimizer, job, seed)?,
                Halves::Two(jobs) => {
                    let [one, two] = jobs.map(|job| (job, optimizer.inputs()));
                    let halves =
                        pair.both_recorded([(0, one), (1, two)], |(i, (job, inputs))| {
                            let mut random = ChaCha8Rng::seed_from_u64(seed as u64);
                            random.set_stream(i);
                            Ok::<_, E>(gradients(&with_random(random, job)?, &inputs)?)
                        })?;
                    for (loss, gradients) in halves {
                        sum.add(optimizer, loss, gradients)?;
                    }
                }
            }
        }
        Ok(sum.clipped(max_norm)?)
    }

    /// Whether taking the step leaves sound weights.
    pub fn is_finite(&self) -> bool {
        self.loss.is_finite() && self.norm.is_finite()
    }
}
