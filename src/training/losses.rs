//! Distillation losses: the student's raw outputs against hard targets and the teacher's raw outputs.
//!
//! `B` batch, `C` outputs, `S ≤ B` examples that have a soft target; `hard(s, y)` is the task's own loss, see
//! [`HardTargets::loss`]. Gradients flow to the student only. Temperature is applied here, once, to both
//! sides.

use serde::{Deserialize, Serialize};
use tch::{Kind, Reduction, TchError, Tensor};

use super::{HardTargets, targets::binary_cross_entropy};
use crate::data::Task;

/// Which loss, with its weights.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "loss", rename_all = "kebab-case")]
pub enum Loss {
    /// `CE(s, y)`: hard labels alone. Binary cross-entropy in a multi-label task.
    CrossEntropy,
    /// `a · CE(s, y) + b · MSE(s, t)`, MSE as the mean over `B · C`: the loss of the repository
    /// HoyTta0/KnowledgeDistillation, there with a = 1 and b = 2. Binary cross-entropy in a multi-label
    /// task.
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
    /// `α · BCE(s, y) + (1 - α) · T² · BCE(s/T, σ(t/T))`, both the mean over `B · C`: each label is a
    /// binary problem of its own, as in Yang et al. 2023 (arXiv 2308.06453), with Hinton's temperature in
    /// the sigmoid. Its gradient is that of the divergence `KL(σ(t/T) ‖ σ(s/T))` they minimise, from which
    /// it differs by the teacher's entropy.
    Bce {
        /// `α`.
        alpha: f64,
        /// `T`.
        temperature: f64,
    },
    /// `α · hard(s, y) + (1 - α) · MSE(s, t)`. With labels α is 0, which is Tang et al. 2019 (arXiv
    /// 1903.12136), eq. 4 with their α = 0; in a regression `hard` is a squared error too, and with α = 1
    /// no teacher is asked.
    Mse {
        /// `α`.
        alpha: f64,
    },
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
        match self {
            Self::CrossEntropy => false,
            Self::Mse { alpha } => alpha < 1.0,
            Self::CeMse { .. } | Self::Kl { .. } | Self::Bce { .. } => true,
        }
    }

    /// Whether the loss means anything for `task`.
    pub const fn fits(self, task: Task) -> bool {
        match self {
            Self::CrossEntropy | Self::CeMse { .. } => !matches!(task, Task::Regression),
            Self::Kl { .. } => matches!(task, Task::SingleLabel),
            Self::Bce { .. } => matches!(task, Task::MultiLabel),
            Self::Mse { alpha } => alpha == 0.0 || matches!(task, Task::Regression),
        }
    }

    /// The loss of one batch, a scalar. The hard part is the mean over `B`; the soft part the mean over
    /// the `S` examples with a soft target, and absent when there are none. For a task that the loss
    /// [`fits`](Self::fits).
    ///
    /// - `student`: `[B, C]` raw outputs
    pub fn value(
        self,
        student: &Tensor,
        hard: &HardTargets,
        soft: Option<&SoftTargets>,
    ) -> Result<Tensor, TchError> {
        let hard = || hard.loss(student);
        let (hard_weight, soft_weight) = match self {
            Self::CrossEntropy => return hard(),
            Self::CeMse { ce_weight, mse_weight } => (ce_weight, mse_weight),
            Self::Kl { alpha, .. } | Self::Bce { alpha, .. } | Self::Mse { alpha } => {
                (alpha, 1.0 - alpha)
            }
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
            Self::Bce { temperature, .. } => bce(&matched, &soft.logits, temperature)?,
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

/// `T² · BCE(s/T, σ(t/T))`, mean over labels and examples; `student` and `teacher` are `[S, C]`.
fn bce(student: &Tensor, teacher: &Tensor, temperature: f64) -> Result<Tensor, TchError> {
    let scale = 1.0 / temperature;
    let soft = teacher.f_mul_scalar(scale)?.f_sigmoid()?;
    binary_cross_entropy(&student.f_mul_scalar(scale)?, &soft)?
        .f_mul_scalar(temperature * temperature)
}
