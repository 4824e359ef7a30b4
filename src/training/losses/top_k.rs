//! KL divergence over the classes that the teacher finds likeliest, and all others as one.

use tch::{TchError, Tensor};

use super::divergence::{between, kl, log_probabilities};

/// `T² · KL`, `[S]`, of the distributions over `k + 1` classes: the teacher's `k` largest and the rest.
///
/// - `student`, `teacher`: `[S, C]` raw logits
pub(super) fn rows(
    student: &Tensor,
    teacher: &Tensor,
    k: usize,
    temperature: f64,
) -> Result<Tensor, TchError> {
    let classes = teacher.size()[1];
    if k as i64 >= classes - 1 {
        return kl(student, teacher, temperature);
    }
    let (_, largest) = teacher.f_topk(k as i64, -1, true, true)?;
    let merge = |logits: &Tensor| {
        let log = log_probabilities(logits, temperature)?;
        let rest = log.f_scatter_value(-1, &largest, f64::NEG_INFINITY)?;
        let rest = rest.f_logsumexp(-1, true)?;
        Tensor::f_cat(&[log.f_gather(-1, &largest, false)?, rest], -1)
    };
    between(&merge(teacher)?, &merge(student)?)?.f_mul_scalar(temperature.powi(2))
}
