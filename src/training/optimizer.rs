//! SGD, Adam, AdamW and Adadelta on named parameters, dense or row-sparse, and the running average of what they come to.
//!
//! A sparse gradient, which an embedding lookup gives, touches only the rows of its batch: the rest of the table costs
//! nothing and keeps its moments (the "lazy" variant of Adam; weight decay also reaches only touched rows).

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use tch::{TchError, Tensor};

use super::gradient::{self, Gradient};
use crate::{
    operators::{FusedAdamW, Stepping},
    traced::{Detour, Traced},
};

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
    /// Zeiler 2012 (arXiv 1212.5701), algorithm 1, with a learning rate as PyTorch has it; ε = 1e-6.
    Adadelta {
        /// `ρ`.
        rho: f64,
    },
}

/// `ε` of Adadelta.
const ADADELTA_EPSILON: f64 = 1e-6;

/// Steps between two updates of the running average. One reads and writes every value of the model, an embedding table
/// included, which a sparse step does not.
const AVERAGE_EVERY: i32 = 8;

/// What the parts of a parameter's state are called in a checkpoint.
const VALUE: &str = "value";
const FIRST: &str = "first";
const SECOND: &str = "second";
const AVERAGE: &str = "average";

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
    /// Of Adam and AdamW; made when first needed.
    fused: Option<FusedAdamW>,
    /// Share of the running average that one step leaves, where there is an average.
    decay: Option<f64>,
}

#[derive(Debug)]
struct Parameter {
    name: String,
    value: Tensor,
    /// Factor of the learning rate.
    rate: f64,
    /// Momentum, first moment, or Adadelta's squared steps; made when first needed.
    first: Option<Tensor>,
    /// Second moment: squared gradients.
    second: Option<Tensor>,
    average: Option<Tensor>,
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
                average: None,
            })
            .collect();
        Self { kind, parameters, step: 0, fused: None, decay: None }
    }

    /// Also keeps an exponential moving average of every parameter, `a ← d a + (1 - d) p` after each step with `decay` `d`,
    /// brought up to date every eight steps with `d⁸`. As in Adam it begins with the first values instead of zero: after
    /// `n` steps `d` is at most `(1 + n) / (10 + n)`, as TensorFlow's `ExponentialMovingAverage` has it.
    #[must_use]
    pub fn with_average(mut self, decay: f64) -> Self {
        self.decay = Some(decay);
        self
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
    pub fn gradients(&self, loss: impl Into<Traced>) -> Result<Vec<Gradient>, TchError> {
        let Traced { value, detour } = loss.into();
        let mut inputs: Vec<&Tensor> = self.parameters.iter().map(|p| &p.value).collect();
        let Some(Detour { output, backward }) = detour else {
            return gradient::of(&value, &inputs);
        };
        inputs.push(&output);
        let mut gradients = gradient::of(&value, &inputs)?;
        let Some(Gradient::Dense(of_output)) = gradients.pop() else { return Ok(gradients) };
        inputs.pop();
        self.sum(gradients, gradient::of(&backward(&of_output)?, &inputs)?)
    }

    /// What gradients are taken in, for another thread.
    pub(super) fn inputs(&self) -> Vec<Tensor> {
        self.parameters.iter().map(|p| p.value.shallow_clone()).collect()
    }

    /// Gradients of the sum of several losses, from those of each.
    pub fn sum(&self, sum: Vec<Gradient>, more: Vec<Gradient>) -> Result<Vec<Gradient>, TchError> {
        gradient::add(sum, more, self.parameters.iter().map(|p| &p.value))
    }

    /// Updates every parameter with the [`gradients`](Self::gradients) at learning rate `lr`.
    pub fn step(&mut self, gradients: &[Gradient], lr: f64) -> Result<(), TchError> {
        let _no_grad = tch::no_grad_guard();
        self.step += 1;
        let mut moving = Vec::with_capacity(gradients.len());
        for (parameter, gradient) in self.parameters.iter_mut().zip(gradients) {
            moving.extend(Moving::new(parameter, self.kind, gradient)?);
        }
        match self.kind {
            OptimizerKind::Sgd { momentum } => {
                for part in &mut moving {
                    part.sgd(momentum, lr)?;
                }
            }
            OptimizerKind::Adadelta { rho } => {
                for part in &mut moving {
                    part.adadelta(rho, lr)?;
                }
            }
            OptimizerKind::Adam | OptimizerKind::AdamW { .. } => {
                let fused = match &mut self.fused {
                    Some(fused) => fused,
                    none => none.insert(FusedAdamW::load()?),
                };
                for ((lr, weight_decay), tensors) in groups(&moving, self.kind, lr) {
                    fused.step(tensors, self.step, lr, weight_decay)?;
                }
            }
        }
        moving.into_iter().try_for_each(Moving::put_back)?;
        match self.decay {
            Some(decay) if self.step % AVERAGE_EVERY == 0 => self.average(decay),
            _ => Ok(()),
        }
    }

    fn average(&mut self, decay: f64) -> Result<(), TchError> {
        let steps = f64::from(self.step);
        let decay = decay.min((1.0 + steps) / (10.0 + steps)).powi(AVERAGE_EVERY);
        for parameter in &mut self.parameters {
            let value = parameter.value.f_detach()?;
            match &mut parameter.average {
                Some(average) => average.f_lerp_(&value, 1.0 - decay).map(drop)?,
                none => *none = Some(value.f_detach_copy()?),
            }
        }
        Ok(())
    }

    /// Exchanges the parameters' values and their running averages, where there are any yet: to judge and to keep the
    /// average, and once more to go on.
    pub fn swap_average(&mut self) -> Result<(), TchError> {
        let _no_grad = tch::no_grad_guard();
        for parameter in &mut self.parameters {
            if let Some(average) = &mut parameter.average {
                let value = parameter.value.f_detach()?.f_detach_copy()?;
                parameter.value.f_copy_(average)?;
                average.f_copy_(&value)?;
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
            let parts = [
                (VALUE, Some(&p.value)),
                (FIRST, p.first.as_ref()),
                (SECOND, p.second.as_ref()),
                (AVERAGE, p.average.as_ref()),
            ];
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
            let (value, average) = (take(VALUE)?, take(AVERAGE)?);
            let (first, second) = (take(FIRST)?, take(SECOND)?);
            let device = parameter.value.device();
            let moment = |moment: Option<(String, Tensor)>| {
                moment.map(|(_, tensor)| tensor.f_to_device(device)).transpose()
            };
            let (_, value) =
                value.ok_or_else(|| OptimizerError::Missing(parameter.name.clone()))?;
            parameter.value.f_copy_(&value)?;
            (parameter.first, parameter.second) = (moment(first)?, moment(second)?);
            parameter.average = moment(average)?;
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
            OptimizerKind::Adam | OptimizerKind::AdamW { .. } | OptimizerKind::Adadelta { .. } => {
                (true, true)
            }
        };
        for (slot, needed) in [(&mut self.first, needs.0), (&mut self.second, needs.1)] {
            if needed && slot.is_none() {
                *slot = Some(self.value.f_zeros_like()?);
            }
        }
        Ok(())
    }
}

/// What one step changes of a parameter: all of it, or rows that are taken out, changed and put back.
struct Moving<'a> {
    parameter: &'a mut Parameter,
    rows: Option<&'a Tensor>,
    value: Tensor,
    first: Option<Tensor>,
    second: Option<Tensor>,
    /// In memory in the order of the value: libtorch's fused step takes both for granted to be alike.
    gradient: Tensor,
}

impl<'a> Moving<'a> {
    fn new(
        parameter: &'a mut Parameter,
        kind: OptimizerKind,
        gradient: &'a Gradient,
    ) -> Result<Option<Self>, TchError> {
        let (rows, gradient) = match gradient {
            Gradient::Absent => return Ok(None),
            Gradient::Dense(values) => (None, values),
            Gradient::Rows { rows, values } => (Some(rows), values),
        };
        parameter.moments(kind)?;
        let take = |whole: &Tensor| match rows {
            None => Ok(whole.shallow_clone()),
            Some(rows) => whole.f_index_select(0, rows),
        };
        let value = take(&parameter.value)?;
        Ok(Some(Self {
            gradient: gradient::laid_out_as(&value, gradient)?,
            value,
            first: parameter.first.as_ref().map(take).transpose()?,
            second: parameter.second.as_ref().map(take).transpose()?,
            parameter,
            rows,
        }))
    }

    fn sgd(&mut self, momentum: f64, lr: f64) -> Result<(), TchError> {
        let lr = lr * self.parameter.rate;
        let step = match &mut self.first {
            None => self.gradient.f_mul_scalar(-lr)?,
            Some(velocity) => {
                velocity.f_mul_scalar_(momentum)?.f_add_(&self.gradient)?.f_mul_scalar(-lr)?
            }
        };
        self.value.f_add_(&step).map(drop)
    }

    fn adadelta(&mut self, rho: f64, lr: f64) -> Result<(), TchError> {
        let (Some(steps), Some(squares)) = (&mut self.first, &mut self.second) else {
            return Ok(());
        };
        let root = |mean: &Tensor| mean.f_add_scalar(ADADELTA_EPSILON)?.f_sqrt();
        let average = |mean: &mut Tensor, value: &Tensor| {
            mean.f_mul_scalar_(rho)?.f_add_(&value.f_square()?.f_mul_scalar(1.0 - rho)?).map(drop)
        };
        average(squares, &self.gradient)?;
        let step = root(steps)?.f_div(&root(squares)?)?.f_mul(&self.gradient)?;
        average(steps, &step)?;
        self.value.f_sub_(&step.f_mul_scalar(lr * self.parameter.rate)?).map(drop)
    }

    fn put_back(self) -> Result<(), TchError> {
        let Some(rows) = self.rows else { return Ok(()) };
        let put = |whole: Option<&mut Tensor>, part: Option<Tensor>| match (whole, part) {
            (Some(whole), Some(part)) => whole.f_index_copy_(0, rows, &part).map(drop),
            _ => Ok(()),
        };
        put(Some(&mut self.parameter.value), Some(self.value))?;
        put(self.parameter.first.as_mut(), self.first)?;
        put(self.parameter.second.as_mut(), self.second)
    }
}

/// The parts by learning rate and weight decay, which one fused step has in common.
fn groups(moving: &[Moving], kind: OptimizerKind, lr: f64) -> Vec<((f64, f64), Stepping)> {
    let mut groups: Vec<((f64, f64), Stepping)> = Vec::new();
    for part in moving {
        let (Some(first), Some(second)) = (&part.first, &part.second) else { continue };
        let weight_decay = match kind {
            OptimizerKind::AdamW { weight_decay } if part.value.dim() > 1 => weight_decay,
            _ => 0.0,
        };
        let hyper = (lr * part.parameter.rate, weight_decay);
        let known = groups.iter().position(|(other, _)| *other == hyper).unwrap_or_else(|| {
            groups.push((hyper, Stepping::default()));
            groups.len() - 1
        });
        let group = &mut groups[known].1;
        group.values.push(part.value.shallow_clone());
        group.gradients.push(part.gradient.shallow_clone());
        group.first.push(first.shallow_clone());
        group.second.push(second.shallow_clone());
    }
    groups
}
