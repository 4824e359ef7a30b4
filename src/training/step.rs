//! What one step of a training comes to: loss and gradients of the sum of its parts, so that many small batches
//! count as a large one.

use tch::TchError;

use super::{Gradient, Optimizer, clip_by_norm, step_seed};
use crate::traced::Traced;

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
        let mut loss = 0.0;
        let mut sum: Option<Vec<Gradient>> = None;
        for (i, part) in parts.into_iter().enumerate() {
            tch::manual_seed(step_seed(seed, first + i));
            let part = part()?.into();
            loss += part.value.f_double_value(&[])?;
            let gradients = optimizer.gradients(part)?;
            sum = Some(match sum {
                None => gradients,
                Some(sum) => optimizer.sum(sum, gradients)?,
            });
        }
        let gradients = sum.unwrap_or_default();
        let norm = clip_by_norm(&gradients, max_norm)?;
        Ok(Self { loss, gradients, norm })
    }

    /// Whether taking the step leaves sound weights.
    pub fn is_finite(&self) -> bool {
        self.loss.is_finite() && self.norm.is_finite()
    }
}
