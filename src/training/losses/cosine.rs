//! The angle between the student's and the teacher's logits.

use tch::{TchError, Tensor};

/// `1 - s·t / (max(‖s‖, 1e-8) · max(‖t‖, 1e-8))`, `[S]`, for `[S, C]` raw logits.
pub(super) fn rows(student: &Tensor, teacher: &Tensor) -> Result<Tensor, TchError> {
    Tensor::f_cosine_similarity(student, teacher, -1, 1e-8)?.f_neg()?.f_add_scalar(1.0)
}
