//! Divergences between the student's and the teacher's distribution over classes, one number for each example.
//!
//! All take `[S, C]` raw logits and a temperature `T`, and give `[S]`, scaled by `T²`. They work on log-probabilities,
//! so that a probability may be as small as it likes.

use tch::{Kind, TchError, Tensor};

/// `log softmax(z/T)` over the last dimension.
pub(super) fn log_probabilities(logits: &Tensor, temperature: f64) -> Result<Tensor, TchError> {
    logits.f_mul_scalar(1.0 / temperature)?.f_log_softmax(-1, None::<Kind>)
}

/// `Σ_c exp(log_p) · (log_p - log_q)`, `[S]`, of log-probabilities `[S, C]`, finite ones.
pub(super) fn between(log_p: &Tensor, log_q: &Tensor) -> Result<Tensor, TchError> {
    sum(&log_p.f_exp()?.f_mul(&log_p.f_sub(log_q)?)?)
}

fn sum(elements: &Tensor) -> Result<Tensor, TchError> {
    elements.f_sum_dim_intlist(-1, false, None::<Kind>)
}

pub(super) fn kl(student: &Tensor, teacher: &Tensor, temperature: f64) -> Result<Tensor, TchError> {
    let student = log_probabilities(student, temperature)?;
    let teacher = log_probabilities(teacher, temperature)?;
    between(&teacher, &student)?.f_mul_scalar(temperature.powi(2))
}

pub(super) fn reverse_kl(
    student: &Tensor,
    teacher: &Tensor,
    temperature: f64,
) -> Result<Tensor, TchError> {
    let student = log_probabilities(student, temperature)?;
    let teacher = log_probabilities(teacher, temperature)?;
    between(&student, &teacher)?.f_mul_scalar(temperature.powi(2))
}

pub(super) fn soft_cross_entropy(
    student: &Tensor,
    teacher: &Tensor,
    temperature: f64,
) -> Result<Tensor, TchError> {
    let student = log_probabilities(student, temperature)?;
    let teacher = log_probabilities(teacher, temperature)?.f_exp()?;
    sum(&teacher.f_mul(&student)?)?.f_mul_scalar(-temperature.powi(2))
}

pub(super) fn jensen_shannon(
    student: &Tensor,
    teacher: &Tensor,
    temperature: f64,
) -> Result<Tensor, TchError> {
    let student = log_probabilities(student, temperature)?;
    let teacher = log_probabilities(teacher, temperature)?;
    let middle = student.f_logaddexp(&teacher)?.f_sub_scalar(2f64.ln())?;
    let both = between(&teacher, &middle)?.f_add(&between(&student, &middle)?)?;
    both.f_mul_scalar(0.5 * temperature.powi(2))
}
