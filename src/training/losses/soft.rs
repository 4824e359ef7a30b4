//! What there is to learn from a teacher's row: the soft parts of losses, by name.

use tch::{Kind, Reduction, TchError, Tensor};

use super::{correlation, cosine, decoupled, divergence, squared, top_k};
use crate::{data::Task, training::targets::binary_cross_entropy};

/// The soft part of a loss: the student's raw outputs `s` against the teacher's `t`, both `[S, C]`, with
/// `p_t = softmax(t/T)` and `p_s = softmax(s/T)`. Sums run over `C`, and what is of one example is averaged over `S`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SoftLoss {
    /// `(s - t)²`, mean over `S · C`. Any task; the only one, with [`MarginMse`](Self::MarginMse), of a regression.
    Mse,
    /// `T² · KL(p_t ‖ p_s)`: Hinton et al. 2015 (arXiv 1503.02531), section 2. Single-label.
    Kl,
    /// `-T² · Σ p_t log p_s`: cross-entropy with the teacher's probabilities, as Hinton et al. write it. Its gradient is
    /// that of [`Kl`](Self::Kl), from which it differs by `T²` times the teacher's entropy. Single-label.
    SoftCrossEntropy,
    /// `T² · KL(p_s ‖ p_t)`: the student gives up classes rather than hedge among them, as in Gu et al. 2023 (arXiv
    /// 2306.08543), there over sequences. Single-label.
    ReverseKl,
    /// `T² · ½ (KL(p_t ‖ m) + KL(p_s ‖ m))` with `m = ½ (p_t + p_s)`: the Jensen-Shannon divergence (Lin 1991,
    /// Divergence Measures Based on the Shannon Entropy), between the two above; at most `T² log 2`. Single-label.
    JensenShannon,
    /// `T² · (α · TCKD + β · NCKD)`: decoupled distillation, Zhao et al. 2022 (arXiv 2203.08679). With the hard
    /// label `y`, TCKD is the KL divergence of the two-way choice "y or not", NCKD that of the distribution over the
    /// other classes; `KL = TCKD + (1 - p_t,y) · NCKD`. An example without a hard label has [`Kl`](Self::Kl) at the
    /// same temperature. Single-label.
    Dkd {
        /// Weight of TCKD.
        alpha: f64,
        /// Weight of NCKD.
        beta: f64,
    },
    /// `T² · (β · inter + γ · intra)`: Huang et al. 2022 (DIST, arXiv 2205.10536). `inter` is 1 minus
    /// Pearson's correlation of `p_s` and `p_t` within a row, mean over `S`; `intra` the same within a column, mean over
    /// `C`. A row or column that is constant on either side, to 1e-6 of its norm, has correlation 0 and no gradient; a
    /// batch of one has no `intra`. Single-label.
    Dist {
        /// Weight of `inter`.
        beta: f64,
        /// Weight of `intra`.
        gamma: f64,
    },
    /// `1 - cos(s, t)`: the direction of the logits and not their size, as Sanh et al. 2019 (arXiv 1910.01108)
    /// compare hidden states. No temperature. Single-label.
    Cosine,
    /// `T² · KL` after all but the `k` classes that the teacher finds likeliest are one class on both sides, with the
    /// sum of their probabilities: what a teacher of many labels says with top-k rows, in which the rest is one mass.
    /// At most [`Kl`](Self::Kl), and the same for `k ≥ C - 1`. Single-label.
    TopKKl {
        /// At least 1.
        k: usize,
    },
    /// `T² · BCE(s/T, σ(t/T))`, mean over `S · C`: each label is a binary problem of its own, as in Yang et al. 2023
    /// (arXiv 2308.06453), with Hinton's temperature in the sigmoid. Its gradient is that of the divergence
    /// `KL(σ(t/T) ‖ σ(s/T))`, from which it differs by the teacher's entropy. Multi-label.
    Bce,
    /// `((s_i - s_j) - (t_i - t_j))²`, mean over all pairs `i ≠ j` of the batch: margins between examples, not values,
    /// as Hofstätter et al. 2020 (arXiv 2010.02666) have it of a query's two passages. 0 for a batch of
    /// one. Regression.
    MarginMse,
}

/// What is known of the examples that have a soft target.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'a> {
    /// `[S, C]` raw outputs.
    pub(super) student: &'a Tensor,
    /// `[S, C]` raw outputs.
    pub(super) teacher: &'a Tensor,
    /// `[S]` int64 hard labels, -1 where there is none; absent when there is none at all, or nobody looks.
    pub(super) classes: Option<&'a Tensor>,
}

impl SoftLoss {
    /// Whether the loss means anything for `task`.
    pub const fn fits(self, task: Task) -> bool {
        match self {
            Self::Mse => true,
            Self::Bce => matches!(task, Task::MultiLabel),
            Self::MarginMse => matches!(task, Task::Regression),
            _ => matches!(task, Task::SingleLabel),
        }
    }

    /// Whether the loss is a mean over examples, whatever else is in the batch.
    pub const fn has_rows(self) -> bool {
        !matches!(self, Self::Dist { .. } | Self::MarginMse | Self::Dkd { .. })
    }

    /// Whether the loss looks at hard labels.
    pub(super) const fn needs_classes(self) -> bool {
        matches!(self, Self::Dkd { .. })
    }

    /// The loss as a scalar; where it [`has_rows`](Self::has_rows), with each example's part times its weight.
    ///
    /// - `weights`: `[S]`
    pub(super) fn value(
        self,
        Seen { student, teacher, classes }: Seen<'_>,
        temperature: f64,
        weights: Option<&Tensor>,
    ) -> Result<Tensor, TchError> {
        let rows = match self {
            Self::Dist { beta, gamma } => {
                return correlation::dist(student, teacher, beta, gamma, temperature);
            }
            Self::MarginMse => return squared::margin(student, teacher),
            Self::Mse => squared::rows(student, teacher)?,
            Self::Kl => divergence::kl(student, teacher, temperature)?,
            Self::SoftCrossEntropy => {
                divergence::soft_cross_entropy(student, teacher, temperature)?
            }
            Self::ReverseKl => divergence::reverse_kl(student, teacher, temperature)?,
            Self::JensenShannon => divergence::jensen_shannon(student, teacher, temperature)?,
            Self::Dkd { alpha, beta } => {
                let weights = decoupled::Weights { alpha, beta };
                decoupled::rows(student, teacher, classes, weights, temperature)?
            }
            Self::Cosine => cosine::rows(student, teacher)?,
            Self::TopKKl { k } => top_k::rows(student, teacher, k, temperature)?,
            Self::Bce => {
                let soft = teacher.f_mul_scalar(1.0 / temperature)?.f_sigmoid()?;
                let student = student.f_mul_scalar(1.0 / temperature)?;
                let all = binary_cross_entropy(&student, &soft, Reduction::None)?;
                all.f_mean_dim(-1, false, None::<Kind>)?.f_mul_scalar(temperature.powi(2))?
            }
        };
        let weighted = weights.map(|weights| rows.f_mul(weights)).transpose()?;
        weighted.unwrap_or(rows).f_mean(None::<Kind>)
    }
}
