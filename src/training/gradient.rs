//! Gradients of a loss in each parameter: dense, or of the rows that an embedding lookup touched; added up over
//! batches and scaled to a joint norm.

use tch::{Kind, TchError, Tensor};

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

    /// The gradient of the sum of two losses, from those of each in the same parameter of shape `size`.
    fn plus(self, other: Self, size: &[i64]) -> Result<Self, TchError> {
        Ok(match (self, other) {
            (Self::Absent, one) | (one, Self::Absent) => one,
            (Self::Rows { rows, values }, Self::Rows { rows: more, values: others }) => {
                let rows = Tensor::f_cat(&[rows, more], 0)?.f_unsqueeze(0)?;
                let values = Tensor::f_cat(&[values, others], 0)?;
                let options = (values.kind(), values.device());
                Self::new(Tensor::f_sparse_coo_tensor_indices_size(
                    &rows, &values, size, options, false,
                )?)?
            }
            (Self::Dense(mut dense), Self::Dense(other)) => Self::Dense(dense.f_add_(&other)?),
            // A parameter that is looked up and multiplied with: its gradient is dense in every batch.
            (Self::Dense(mut dense), Self::Rows { rows, values })
            | (Self::Rows { rows, values }, Self::Dense(mut dense)) => {
                Self::Dense(dense.f_index_add_(0, &rows, &values)?)
            }
        })
    }
}

/// Of `value` in each of the `inputs`.
pub(super) fn of(value: &Tensor, inputs: &[&Tensor]) -> Result<Vec<Gradient>, TchError> {
    let found = Tensor::f_run_backward(&[value], inputs, false, false)?;
    found.into_iter().map(Gradient::new).collect()
}

/// `gradient` in memory in the order of `value`. A product's backward pass may leave it transposed.
pub(super) fn laid_out_as(value: &Tensor, gradient: &Tensor) -> Result<Tensor, TchError> {
    if gradient.stride() == value.stride() {
        return Ok(gradient.shallow_clone());
    }
    let mut copy = value.f_empty_like()?;
    copy.f_copy_(gradient)?;
    Ok(copy)
}

/// Adds the gradients of one more batch to `sum`, both in the order of an optimizer's parameters.
pub(super) fn add<'a>(
    sum: Vec<Gradient>,
    more: Vec<Gradient>,
    parameters: impl Iterator<Item = &'a Tensor>,
) -> Result<Vec<Gradient>, TchError> {
    let _no_grad = tch::no_grad_guard();
    let pairs = sum.into_iter().zip(more).zip(parameters);
    pairs.map(|((sum, more), parameter)| sum.plus(more, &parameter.size())).collect()
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
