//! Distillation losses: the student's raw logits against hard labels and the teacher's raw logits.
//!
//! `B` batch, `C` classes, `S ≤ B` examples that have a soft target. Gradients flow to the student only.
//! Temperature is applied here, once, to both sides.

use serde::{Deserialize, Serialize};
use tch::{Kind, Reduction, TchError, Tensor};

/// Which loss, with its weights.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "loss", rename_all = "kebab-case")]
pub enum Loss {
    /// `CE(s, y)`: hard labels alone.
    CrossEntropy,
    /// `a · CE(s, y) + b · MSE(s, t)`, MSE as the mean over `B · C`: the loss of the repository
    /// HoyTta0/KnowledgeDistillation, there with a = 1 and b = 2.
    CeMse {
        /// `a`.
        ce_weight: f64,
        /// `b`.
        mse_weight: f64,
    },
    /// `α · CE(s, y) + (1 - α) · T² · KL(softmax(t/T) ‖ softmax(s/T))`, KL summed over `C` and
    /// averaged over examples: Hinton et al. 2015 (arXiv 1503.02531), section 2. `T²` keeps the soft
    /// part's gradient of the same size whatever `T`.
    Kl {
        /// `α`.
        alpha: f64,
        /// `T`.
        temperature: f64,
    },
    /// `MSE(s, t)` alone: Tang et al. 2019 (arXiv 1903.12136), eq. 4 with α = 0.
    Mse,
}

/// Soft targets of a batch: the teacher's raw logits for the examples that have them.
#[derive(Debug)]
pub struct SoftTargets {
    /// `[S, C]` raw logits.
    pub logits: Tensor,
    /// `[S]` positions in the batch; absent when all have one, in order.
    pub positions: Option<Tensor>,
}

impl Loss {
    /// Whether the loss needs a teacher.
    pub const fn needs_teacher(self) -> bool {
        !matches!(self, Self::CrossEntropy)
    }

    /// The loss of one batch, a scalar. The hard part is the mean over `B`; the soft part the mean over
    /// the `S` examples with a soft target, and absent when there are none.
    ///
    /// - `student`: `[B, C]` raw logits
    /// - `labels`: `[B]` int64 class indices
    pub fn value(
        self,
        student: &Tensor,
        labels: &Tensor,
        soft: Option<&SoftTargets>,
    ) -> Result<Tensor, TchError> {
        let hard =
            || student.f_cross_entropy_loss::<Tensor>(labels, None, Reduction::Mean, -100, 0.0);
        let (hard_weight, soft_weight) = match self {
            Self::CrossEntropy => return hard(),
            Self::CeMse { ce_weight, mse_weight } => (ce_weight, mse_weight),
            Self::Kl { alpha, .. } => (alpha, 1.0 - alpha),
            Self::Mse => (0.0, 1.0),
        };
        let Some(soft) = soft else {
            // Only reached when a run allows training on hard labels alone for want of soft ones.
            return hard();
        };
        let matched = match &soft.positions {
            None => student.shallow_clone(),
            Some(positions) => student.f_index_select(0, positions)?,
        };
        let soft = match self {
            Self::Kl { temperature, .. } => kl(&matched, &soft.logits, temperature)?,
            _ => matched.f_mse_loss(&soft.logits, Reduction::Mean)?,
        };
        let soft = soft.f_mul_scalar(soft_weight)?;
        if hard_weight == 0.0 {
            return Ok(soft);
        }
        hard()?.f_mul_scalar(hard_weight)?.f_add(&soft)
    }
}

/// `T² · KL(softmax(t/T) ‖ softmax(s/T))`, mean over examples; `student` and `teacher` are `[S, C]`.
fn kl(student: &Tensor, teacher: &Tensor, temperature: f64) -> Result<Tensor, TchError> {
    let scale = 1.0 / temperature;
    let kind: Option<Kind> = None;
    let student = student.f_mul_scalar(scale)?.f_log_softmax(-1, kind)?;
    let teacher = teacher.f_mul_scalar(scale)?.f_log_softmax(-1, kind)?;
    let examples = student.size()[0].max(1) as f64;
    student
        .f_kl_div(&teacher, Reduction::Sum, true)?
        .f_mul_scalar(temperature * temperature / examples)
}
