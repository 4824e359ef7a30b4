//! Distillation losses: the student's raw outputs against hard targets and the teacher's raw outputs.
//!
//! `B` batch, `C` outputs, `S ≤ B` examples that have a soft target, `N ≤ B` that have a hard one; `s` the student's
//! raw outputs, `t` the teacher's, `y` the hard targets. Gradients flow to the student only. Temperature is applied
//! here, once, to both sides.

mod correlation;
mod cosine;
mod decoupled;
mod divergence;
mod soft;
mod squared;
mod top_k;

use tch::{TchError, Tensor};

pub use soft::SoftLoss;

use super::{HardTargets, Scheduled, targets::select};
use crate::data::Task;
use soft::Seen;

/// Soft targets of a batch: the teacher's raw logits for the examples that have them.
#[derive(Debug)]
pub struct SoftTargets {
    /// `[S, C]` raw logits.
    pub logits: Tensor,
    /// `[S]` positions in the batch; absent when all have one, in order.
    pub positions: Option<Tensor>,
}

/// What a student learns from: `a · hard(s, y) + b · soft(s, t)`.
///
/// `hard` is the task's own loss, see [`HardTargets::loss`], the mean over the `N` examples with a hard target.
/// `soft` is the mean over the `S` examples with a soft one. A part that no example of a batch has is absent, and
/// the other keeps its weight; only where a batch has no soft target at all is its loss the hard part with weight 1.
/// So an example without a label (of unlabelled text) has its soft part alone, and one without a teacher's row its
/// hard part alone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Loss {
    /// What is learnt from the teacher; nothing without one.
    pub soft: Option<SoftLoss>,
    /// `a` and `b`.
    pub balance: Balance,
    /// `T` of the losses that have one, positive. The soft part's gradient keeps its size whatever `T`, as they are
    /// scaled by `T²` (Hinton et al. 2015, arXiv 1503.02531, section 2).
    pub temperature: Scheduled,
    /// `ε` of the hard part of a single-label task, in `[0, 1)` (Szegedy et al. 2016, arXiv 1512.00567, section 7).
    pub label_smoothing: f64,
}

/// How the two parts of a loss weigh.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Balance {
    /// `a = α` and `b = 1 - α`.
    Alpha(Scheduled),
    /// `α` of each example by its teacher: `α_i = H(p_i) / log C`, where `H` is the entropy of `p = softmax(t)`, so
    /// the less the teacher knows the more the label counts. The hard part is the mean of `α_i · hard_i`, the soft
    /// part that of `(1 - α_i) · soft_i`. Ours; Kwon et al. 2020 (Adaptive Knowledge Distillation Based on Entropy,
    /// ICASSP) weigh several teachers by their entropies in this sense. An example without a row has `α_i = 1`.
    /// Single-label, and for a [`SoftLoss`] that [is a mean over examples](SoftLoss::has_rows).
    Entropy,
    /// `a` and `b` themselves.
    Weights {
        /// `a`.
        hard: Scheduled,
        /// `b`.
        soft: Scheduled,
    },
}

impl Loss {
    /// `hard(s, y)`: hard targets alone.
    pub const fn hard() -> Self {
        Self::new(None, Balance::Alpha(Scheduled::Constant(1.0)), 1.0)
    }

    /// `a · hard(s, y) + b · MSE(s, t)`: the loss of the repository HoyTta0/KnowledgeDistillation, there with a = 1
    /// and b = 2, MSE as the mean over `S · C`.
    pub const fn ce_mse(ce_weight: f64, mse_weight: f64) -> Self {
        let hard = Scheduled::Constant(ce_weight);
        let soft = Scheduled::Constant(mse_weight);
        Self::new(Some(SoftLoss::Mse), Balance::Weights { hard, soft }, 1.0)
    }

    /// `α · hard(s, y) + (1 - α) · soft(s, t)`. With [`SoftLoss::Mse`] and labels α is 0, which is Tang et al. 2019
    /// (arXiv 1903.12136), eq. 4 with their α = 0; with [`SoftLoss::Kl`] it is Hinton et al. 2015.
    pub const fn weighed(soft: SoftLoss, alpha: f64, temperature: f64) -> Self {
        Self::new(Some(soft), Balance::Alpha(Scheduled::Constant(alpha)), temperature)
    }

    const fn new(soft: Option<SoftLoss>, balance: Balance, temperature: f64) -> Self {
        let temperature = Scheduled::Constant(temperature);
        Self { soft, balance, temperature, label_smoothing: 0.0 }
    }

    /// Whether the loss means anything for `task`.
    pub fn fits(self, task: Task) -> bool {
        let smoothed = self.label_smoothing == 0.0 || task == Task::SingleLabel;
        let balanced = |soft: SoftLoss| {
            self.balance != Balance::Entropy || (task == Task::SingleLabel && soft.has_rows())
        };
        smoothed && self.soft.is_none_or(|soft| soft.fits(task) && balanced(soft))
    }

    /// The loss of one batch, a scalar; 0 when no example has a target of either kind. For a task that the loss
    /// [`fits`](Self::fits).
    ///
    /// - `student`: `[B, C]` raw outputs
    /// - `soft`: absent when no example of the batch has a soft target
    /// - `progress`: how far the run is, in `[0, 1]`; see [`progress`](super::progress)
    pub fn value(
        &self,
        student: &Tensor,
        hard: &HardTargets,
        soft: Option<&SoftTargets>,
        progress: f64,
    ) -> Result<Tensor, TchError> {
        let Some((how, targets)) = self.soft.zip(soft) else {
            let hard = hard.smoothed(student, self.label_smoothing)?;
            return hard.map_or_else(|| nothing(student), Ok);
        };
        let positions = targets.positions.as_ref();
        let matched = select(student, positions)?;
        let (hard_weight, soft_weight, trust) = match self.balance {
            Balance::Alpha(alpha) => (alpha.at(progress), 1.0 - alpha.at(progress), None),
            Balance::Weights { hard, soft } => (hard.at(progress), soft.at(progress), None),
            Balance::Entropy => (1.0, 1.0, Some(trust(&targets.logits)?)),
        };
        let temperature = self.temperature.at(progress);
        let batch = student.size()[0];
        let classes = if how.needs_classes() { hard.classes(batch)? } else { None };
        let classes = classes.map(|classes| select(&classes, positions)).transpose()?;
        let seen = Seen { student: &matched, teacher: &targets.logits, classes: classes.as_ref() };
        let soft = how.value(seen, temperature, trust.as_ref())?;
        let soft = soft.f_mul_scalar(soft_weight)?;
        if hard_weight == 0.0 {
            return Ok(soft);
        }
        let hard = match &trust {
            None => hard.smoothed(student, self.label_smoothing)?,
            Some(trust) => {
                let alphas = trust.f_neg()?.f_add_scalar(1.0)?;
                let alphas = match positions {
                    None => alphas,
                    Some(positions) => {
                        let options = (alphas.kind(), alphas.device());
                        let alone = Tensor::f_ones([batch], options)?;
                        alone.f_index_copy(0, positions, &alphas)?
                    }
                };
                hard.weighted(student, self.label_smoothing, &alphas)?
            }
        };
        match hard {
            None => Ok(soft),
            Some(hard) => hard.f_mul_scalar(hard_weight)?.f_add(&soft),
        }
    }
}

/// `1 - H(softmax(t)) / log C` of each row, `[S]` in `[0, 1]`, for `t` of `[S, C]`.
fn trust(teacher: &Tensor) -> Result<Tensor, TchError> {
    let log = teacher.f_log_softmax(-1, teacher.kind())?;
    let negative_entropy = log.f_exp()?.f_mul(&log)?.f_sum_dim_intlist(-1, false, log.kind())?;
    let classes = teacher.size()[1] as f64;
    // Sums of rounded numbers may lie a little outside.
    negative_entropy.f_div_scalar(classes.ln())?.f_add_scalar(1.0)?.f_clamp(0.0, 1.0)
}

/// 0, with a gradient of 0.
fn nothing(student: &Tensor) -> Result<Tensor, TchError> {
    student.f_sum(student.kind())?.f_mul_scalar(0.0)
}
