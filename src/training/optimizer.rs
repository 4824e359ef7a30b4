//! SGD, Adam and AdamW on named parameters, dense or row-sparse.
//!
//! Ours rather than libtorch's because a sparse gradient, which an embedding lookup gives, touches only
//! the rows of its batch here: the rest of the table costs nothing and keeps its moments (the "lazy"
//! variant of Adam; weight decay also reaches only touched rows).

use serde::{Deserialize, Serialize};
use tch::{Kind, TchError, Tensor};

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

/// State of an optimizer over a fixed list of parameters.
#[derive(Debug)]
pub struct Optimizer {
    kind: OptimizerKind,
    parameters: Vec<Parameter>,
    step: i32,
}

#[derive(Debug)]
struct Parameter {
    value: Tensor,
    /// Momentum or first moment; made when first needed.
    first: Option<Tensor>,
    /// Second moment.
    second: Option<Tensor>,
}

/// What a parameter's loss gradient is.
#[derive(Debug)]
pub enum Gradient {
    /// The loss does not depend on the parameter.
    Absent,
    /// Of the parameter's own shape.
    Dense(Tensor),
    /// Zero but for some rows, as an embedding lookup gives it.
    Rows {
        /// `[U]` distinct row numbers.
        rows: Tensor,
        /// `[U, ..]` their gradients.
        values: Tensor,
    },
}

impl Gradient {
    fn new(gradient: Tensor) -> Result<Self, TchError> {
        if !gradient.defined() {
            return Ok(Self::Absent);
        }
        if !gradient.is_sparse() {
            return Ok(Self::Dense(gradient));
        }
        let summed = gradient.f_coalesce()?;
        Ok(Self::Rows { rows: summed.f_indices()?.f_select(0, 0)?, values: summed.f_values()? })
    }

    /// The values that are not zero by construction.
    pub fn values(&self) -> Option<&Tensor> {
        match self {
            Self::Absent => None,
            Self::Dense(values) | Self::Rows { values, .. } => Some(values),
        }
    }
}

impl Optimizer {
    /// An optimizer of `parameters`; those that do not require gradients are left out.
    pub fn new<'a>(kind: OptimizerKind, parameters: impl Iterator<Item = &'a Tensor>) -> Self {
        let parameters = parameters
            .filter(|tensor| tensor.requires_grad())
            .map(|tensor| Parameter { value: tensor.shallow_clone(), first: None, second: None })
            .collect();
        Self { kind, parameters, step: 0 }
    }

    /// Gradients of `loss` in the order of the parameters.
    pub fn gradients(&self, loss: &Tensor) -> Result<Vec<Gradient>, TchError> {
        let inputs: Vec<&Tensor> = self.parameters.iter().map(|p| &p.value).collect();
        Tensor::f_run_backward(&[loss], &inputs, false, false)?
            .into_iter()
            .map(Gradient::new)
            .collect()
    }

    /// Updates every parameter with the [`gradients`](Self::gradients) at learning rate `lr`.
    pub fn step(&mut self, gradients: &[Gradient], lr: f64) -> Result<(), TchError> {
        let _no_grad = tch::no_grad_guard();
        self.step += 1;
        for (parameter, gradient) in self.parameters.iter_mut().zip(gradients) {
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

/// Scales the gradients, in place, so that their joint Euclidean norm is at most `max`; returns the norm
/// before, which is not finite when any gradient is.
pub fn clip_by_norm(gradients: &[Gradient], max: f64) -> Result<f64, TchError> {
    let _no_grad = tch::no_grad_guard();
    let norms = (gradients.iter().filter_map(Gradient::values))
        .map(|values| values.f_norm()?.f_to_kind(Kind::Double))
        .collect::<Result<Vec<_>, _>>()?;
    if norms.is_empty() {
        return Ok(0.0);
    }
    let norm = Tensor::f_stack(&norms, 0)?.f_norm()?.f_double_value(&[])?;
    if norm > max {
        for values in gradients.iter().filter_map(Gradient::values) {
            let _same = values.shallow_clone().f_mul_scalar_(max / norm)?;
        }
    }
    Ok(norm)
}
