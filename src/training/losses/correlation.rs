//! DIST (Huang et al. 2022, arXiv 2205.10536): how well the student's probabilities correlate with the teacher's,
//! within each example and within each class.

use tch::{Kind, TchError, Tensor};

/// Of its norm, what a row spreads around its mean if nothing but rounding does: eight units of float32's last place.
const CONSTANT: f64 = 1e-6;

/// `T² · (β · inter + γ · intra)`, a scalar, for `[S, C]` raw logits. Without `intra` for `S = 1`.
pub(super) fn dist(
    student: &Tensor,
    teacher: &Tensor,
    beta: f64,
    gamma: f64,
    temperature: f64,
) -> Result<Tensor, TchError> {
    let soften =
        |logits: &Tensor| logits.f_mul_scalar(1.0 / temperature)?.f_softmax(-1, None::<Kind>);
    let (student, teacher) = (soften(student)?, soften(teacher)?);
    let mut loss = apart(&student, &teacher)?.f_mul_scalar(beta)?;
    if student.size()[0] > 1 {
        let intra = apart(&student.f_transpose(0, 1)?, &teacher.f_transpose(0, 1)?)?;
        loss = loss.f_add(&intra.f_mul_scalar(gamma)?)?;
    }
    loss.f_mul_scalar(temperature.powi(2))
}

/// 1 minus the mean over rows of Pearson's correlation `a·b / (‖a‖ ‖b‖ + 1e-8)` of the centred rows.
fn apart(a: &Tensor, b: &Tensor) -> Result<Tensor, TchError> {
    let kind: Option<Kind> = None;
    let norm = |rows: &Tensor| rows.f_norm_scalaropt_dim(2, [-1i64], false);
    let centre = |rows: &Tensor| {
        let centred = rows.f_sub(&rows.f_mean_dim(-1, true, kind)?)?;
        let spread = norm(&centred)?;
        let varies = spread.f_gt_tensor(&norm(rows)?.f_mul_scalar(CONSTANT)?)?;
        Ok::<_, TchError>((centred, spread, varies))
    };
    let ((a, a_spread, a_varies), (b, b_spread, b_varies)) = (centre(a)?, centre(b)?);
    let product = a.f_mul(&b)?.f_sum_dim_intlist(-1, false, kind)?;
    let correlation = product.f_div(&a_spread.f_mul(&b_spread)?.f_add_scalar(1e-8)?)?;
    let vary = a_varies.f_logical_and(&b_varies)?.f_to_kind(correlation.kind())?;
    correlation.f_mul(&vary)?.f_mean(kind)?.f_neg()?.f_add_scalar(1.0)
}
