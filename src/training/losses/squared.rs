//! Squared errors: of the raw outputs, and of their margins between examples.

use tch::{Kind, Reduction, TchError, Tensor};

/// `(s - t)²`, mean over `C`: `[S]`, for `[S, C]` raw outputs.
pub(super) fn rows(student: &Tensor, teacher: &Tensor) -> Result<Tensor, TchError> {
    student.f_mse_loss(teacher, Reduction::None)?.f_mean_dim(-1, false, None::<Kind>)
}

/// `((s_i - s_j) - (t_i - t_j))²`, mean over the pairs `i ≠ j`, a scalar, for `[S, 1]` raw outputs.
///
/// With the errors `e = s - t` it is twice their variance, `2 / (S - 1) · Σ (e_i - ē)²`, so that no pair need be
/// looked at.
pub(super) fn margin(student: &Tensor, teacher: &Tensor) -> Result<Tensor, TchError> {
    let errors = student.f_sub(teacher)?;
    let others = (errors.size()[0] - 1).max(1) as f64;
    let centred = errors.f_sub(&errors.f_mean(None::<Kind>)?)?;
    centred.f_square()?.f_sum(None::<Kind>)?.f_mul_scalar(2.0 / others)
}
