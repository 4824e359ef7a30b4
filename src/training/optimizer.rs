//! SGD, Adam and AdamW on named parameters, dense or row-sparse.
//!
//! Ours rather than libtorch's because a sparse gradient, which an embedding lookup gives, touches only
//! the rows of its batch here: the rest of the table costs nothing and keeps its moments (the "lazy"
//! variant of Adam; weight decay also reaches only touched rows).

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use tch::{TchError, Tensor};

use super::gradient::{self, Gradient};

/// The rule of an update.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "optimizer", rename_all = "lowercase")]
pub enum OptimizerKind {
    /// Stochastic gradient descent; with momentum as PyTorch defines it, `v ← μ v + g`, `p ← p - lr v`.
    Sgd {
        /// `μ`, 0 for none.
        momentum: f64,
    },
    /// Kingma and Ba 2015 (arXiv 1412.6980), algorithm 1; β₁ = 0.9, β₂ = 0.999, ε = 1e-8.
    Adam,
    /// Loshchilov and Hutter 2019 (arXiv 1711.05101), algorithm 2: decay apart from the gradient.
    AdamW {
        /// `λ`; not applied to vectors, that is biases and normalisation weights.
        weight_decay: f64,
    },
}

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// What the parts of a parameter's state are called in a checkpoint.
const VALUE: &str = "value";
const FIRST: &str = "first";
const SECOND: &str = "second";

/// Why state does not fit an optimizer.
#[derive(Debug, thiserror::Error)]
pub enum OptimizerError {
    /// A trained parameter without its value.
    #[error("{0} is not in it")]
    Missing(String),
    /// Something of no trained parameter.
    #[error("{0} is not of this model, or not trained")]
    Unknown(String),
    /// A tensor of another shape.
    #[error("{name}: expected shape {expected:?}, found {found:?}")]
    #[expect(missing_docs, reason = "said by the message")]
    Shape { name: String, expected: Vec<i64>, found: Vec<i64> },
    /// libtorch refused an operation.
    #[error("libtorch: {0}")]
    Torch(#[from] TchError),
}

/// State of an optimizer over a fixed list of parameters.
#[derive(Debug)]
pub struct Optimizer {
    kind: OptimizerKind,
    parameters: Vec<Parameter>,
    step: i32,
}

#[derive(Debug)]
struct Parameter {
    name: String,
    value: Tensor,
    /// Factor of the learning rate.
    rate: f64,
    /// Momentum or first moment; made when first needed.
    first: Option<Tensor>,
    /// Second moment.
    second: Option<Tensor>,
}

impl Optimizer {
    /// An optimizer of named `parameters`; those that do not require gradients are left out.
    pub fn new<'a>(
        kind: OptimizerKind,
        parameters: impl Iterator<Item = (&'a str, &'a Tensor)>,
    ) -> Self {
        let parameters = parameters
            .filter(|(_, tensor)| tensor.requires_grad())
            .map(|(name, tensor)| Parameter {
                name: name.to_owned(),
                value: tensor.shallow_clone(),
                rate: 1.0,
                first: None,
                second: None,
            })
            .collect();
        Self { kind, parameters, step: 0 }
    }

    /// Gives each parameter, by its name, a learning rate of its own: `rate` times that of the step.
    #[must_use]
    pub fn with_rates(mut self, rate: impl Fn(&str) -> f64) -> Self {
        for parameter in &mut self.parameters {
            parameter.rate = rate(&parameter.name);
        }
        self
    }

    /// Gradients of `loss` in the order of the parameters.
    pub fn gradients(&self, loss: &Tensor) -> Result<Vec<Gradient>, TchError> {
        let inputs: Vec<&Tensor> = self.parameters.iter().map(|p| &p.value).collect();
        Tensor::f_run_backward(&[loss], &inputs, false, false)?
            .into_iter()
            .map(Gradient::new)
            .collect()
    }

    /// Gradients of the sum of several losses, from those of each.
    pub fn sum(&self, sum: Vec<Gradient>, more: Vec<Gradient>) -> Result<Vec<Gradient>, TchError> {
        gradient::add(sum, more, self.parameters.iter().map(|p| &p.value))
    }

    /// Updates every parameter with the [`gradients`](Self::gradients) at learning rate `lr`.
    pub fn step(&mut self, gradients: &[Gradient], lr: f64) -> Result<(), TchError> {
        let _no_grad = tch::no_grad_guard();
        self.step += 1;
        for (parameter, gradient) in self.parameters.iter_mut().zip(gradients) {
            let lr = lr * parameter.rate;
            match gradient {
                Gradient::Absent => {}
                Gradient::Dense(g) => parameter.update(self.kind, g, lr, self.step)?,
                Gradient::Rows { rows, values } => {
                    parameter.update_rows(self.kind, rows, values, lr, self.step)?;
                }
            }
        }
        Ok(())
    }

    /// Steps taken so far.
    pub(super) const fn steps(&self) -> i32 {
        self.step
    }

    /// Every value and moment, named for a checkpoint.
    pub(super) fn tensors(&self) -> Vec<(String, &Tensor)> {
        let parts = self.parameters.iter().flat_map(|p| {
            let parts =
                [(VALUE, Some(&p.value)), (FIRST, p.first.as_ref()), (SECOND, p.second.as_ref())];
            parts.map(|(part, tensor)| Some((format!("{part}/{}", p.name), tensor?)))
        });
        parts.flatten().collect()
    }

    /// Puts [`tensors`](Self::tensors) back; `found` must be of the same parameters.
    pub(super) fn restore(
        &mut self,
        step: i32,
        found: &mut HashMap<String, Tensor>,
    ) -> Result<(), OptimizerError> {
        let _no_grad = tch::no_grad_guard();
        for parameter in &mut self.parameters {
            let mut take = |part: &str| {
                let name = format!("{part}/{}", parameter.name);
                let tensor = found.remove(&name);
                let (expected, size) = (parameter.value.size(), tensor.as_ref().map(Tensor::size));
                match size {
                    Some(size) if size != expected => {
                        Err(OptimizerError::Shape { name, expected, found: size })
                    }
                    _ => Ok(tensor.map(|tensor| (name, tensor))),
                }
            };
            let (value, first, second) = (take(VALUE)?, take(FIRST)?, take(SECOND)?);
            let device = parameter.value.device();
            let moment = |moment: Option<(String, Tensor)>| {
                moment.map(|(_, tensor)| tensor.f_to_device(device)).transpose()
            };
            let (_, value) =
                value.ok_or_else(|| OptimizerError::Missing(parameter.name.clone()))?;
            parameter.value.f_copy_(&value)?;
            (parameter.first, parameter.second) = (moment(first)?, moment(second)?);
        }
        self.step = step;
        match found.keys().min() {
            None => Ok(()),
            Some(name) => Err(OptimizerError::Unknown(name.clone())),
        }
    }
}

impl Parameter {
    fn moments(&mut self, kind: OptimizerKind) -> Result<(), TchError> {
        let needs = match kind {
            OptimizerKind::Sgd { momentum } => (momentum > 0.0, false),
            OptimizerKind::Adam | OptimizerKind::AdamW { .. } => (true, true),
        };
        for (slot, needed) in [(&mut self.first, needs.0), (&mut self.second, needs.1)] {
            if needed && slot.is_none() {
                *slot = Some(self.value.f_zeros_like()?);
            }
        }
        Ok(())
    }

    fn update(
        &mut self,
        kind: OptimizerKind,
        g: &Tensor,
        lr: f64,
        step: i32,
    ) -> Result<(), TchError> {
        self.moments(kind)?;
        let (first, second) = (self.first.as_mut(), self.second.as_mut());
        apply(kind, &mut self.value, first, second, g, lr, step)
    }

    /// The same rule on the given rows alone: taken out, updated, put back.
    fn update_rows(
        &mut self,
        kind: OptimizerKind,
        rows: &Tensor,
        g: &Tensor,
        lr: f64,
        step: i32,
    ) -> Result<(), TchError> {
        self.moments(kind)?;
        let take = |whole: &Tensor| whole.f_index_select(0, rows);
        let mut value = take(&self.value)?;
        let mut first = self.first.as_ref().map(take).transpose()?;
        let mut second = self.second.as_ref().map(take).transpose()?;
        apply(kind, &mut value, first.as_mut(), second.as_mut(), g, lr, step)?;
        let put = |whole: Option<&mut Tensor>, part: Option<Tensor>| -> Result<(), TchError> {
            if let (Some(whole), Some(part)) = (whole, part) {
                let _same = whole.f_index_copy_(0, rows, &part)?;
            }
            Ok(())
        };
        put(Some(&mut self.value), Some(value))?;
        put(self.first.as_mut(), first)?;
        put(self.second.as_mut(), second)
    }
}

/// One update in place. `p`, `first`, `second` and `g` have one shape.
fn apply(
    kind: OptimizerKind,
    p: &mut Tensor,
    first: Option<&mut Tensor>,
    second: Option<&mut Tensor>,
    g: &Tensor,
    lr: f64,
    step: i32,
) -> Result<(), TchError> {
    match (kind, first, second) {
        (OptimizerKind::Adam | OptimizerKind::AdamW { .. }, Some(m), Some(v)) => {
            if let OptimizerKind::AdamW { weight_decay } = kind
                && weight_decay > 0.0
                && p.dim() > 1
            {
                let _same = p.f_mul_scalar_(1.0 - lr * weight_decay)?;
            }
            let _same = m.f_lerp_(g, 1.0 - BETA1)?;
            let _same = v.f_lerp_(&g.f_square()?, 1.0 - BETA2)?;
            if lr == 0.0 {
                return Ok(());
            }
            // p ← p - lr · (m / c₁) / (√(v / c₂) + ε), with the scalars folded into the denominator
            // because addcdiv has no factor of its own here.
            let (c1, c2) = (1.0 - BETA1.powi(step), 1.0 - BETA2.powi(step));
            let mut denominator = v.f_sqrt()?;
            let _same = denominator.f_mul_scalar_(-c1 / (lr * c2.sqrt()))?;
            let _same = denominator.f_sub_scalar_(EPSILON * c1 / lr)?;
            let _same = p.f_addcdiv_(m, &denominator)?;
        }
        (OptimizerKind::Sgd { momentum }, Some(velocity), _) => {
            let _same = velocity.f_mul_scalar_(momentum)?.f_add_(g)?;
            let _same = p.f_add_(&velocity.f_mul_scalar(-lr)?)?;
        }
        _ => {
            let _same = p.f_add_(&g.f_mul_scalar(-lr)?)?;
        }
    }
    Ok(())
}
