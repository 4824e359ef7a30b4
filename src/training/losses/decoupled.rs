//! Decoupled distillation (Zhao et al. 2022, arXiv 2203.08679): the labelled class against all others, and the others
//! among themselves.

use tch::{TchError, Tensor};

use super::divergence::{between, kl, log_probabilities};

/// Takes a class out of a softmax: its probability is 0 exactly, and its logarithm finite.
const OUT: f64 = -1e4;

/// How the two parts weigh: `α` and `β`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weights {
    pub(super) alpha: f64,
    pub(super) beta: f64,
}

/// `T² · (α · TCKD + β · NCKD)`, `[S]`; `T² · KL(p_t ‖ p_s)` for an example without a hard label.
///
/// - `student`, `teacher`: `[S, C]` raw logits
/// - `classes`: `[S]` int64 hard labels, -1 where there is none; absent when there is none at all
pub(super) fn rows(
    student: &Tensor,
    teacher: &Tensor,
    classes: Option<&Tensor>,
    Weights { alpha, beta }: Weights,
    temperature: f64,
) -> Result<Tensor, TchError> {
    let Some(classes) = classes else { return kl(student, teacher, temperature) };
    let labelled = classes.f_ge(0)?;
    let others = classes.f_clamp_min(0)?.f_one_hot(student.size()[1])?.f_eq(0)?;
    let target = others.f_logical_not()?;
    let target_part = between(
        &two_way(teacher, &target, &others, temperature)?,
        &two_way(student, &target, &others, temperature)?,
    )?;
    let others_part = between(
        &log_probabilities(&teacher.f_masked_fill(&target, OUT * temperature)?, temperature)?,
        &log_probabilities(&student.f_masked_fill(&target, OUT * temperature)?, temperature)?,
    )?;
    let decoupled = target_part.f_mul_scalar(alpha)?.f_add(&others_part.f_mul_scalar(beta)?)?;
    let decoupled = decoupled.f_mul_scalar(temperature.powi(2))?;
    if labelled.f_all()?.f_int64_value(&[])? == 1 {
        return Ok(decoupled);
    }
    decoupled.f_where_self(&labelled, &kl(student, teacher, temperature)?)
}

/// `[S, 2]`: the logarithms of `p_y` and `1 - p_y`, for `p = softmax(z/T)` and the masks `[S, C]` of `y` and of all
/// other classes.
fn two_way(
    logits: &Tensor,
    target: &Tensor,
    others: &Tensor,
    temperature: f64,
) -> Result<Tensor, TchError> {
    let log = log_probabilities(logits, temperature)?;
    let over = |outside: &Tensor| log.f_masked_fill(outside, OUT)?.f_logsumexp(-1, false);
    // Summed in one place, so the logarithm of 1 - p_y is exact however near p_y is to 1.
    Tensor::f_stack(&[over(others)?, over(target)?], -1)
}
