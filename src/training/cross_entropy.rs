//! Cross-entropy against hard labels, with class weights and label smoothing, as PyTorch's `CrossEntropyLoss` computes
//! them.
//!
//! `B` batch, `C` classes.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tch::{Device, Reduction, TchError, Tensor};

use crate::shared::Shared;

/// What an example counts by its class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClassWeights {
    /// `n / (K · n_c)`, with `n` examples, `n_c` of them of class `c`, and `K` classes that have any: scikit-learn's
    /// "balanced". Each of those counts the same, and an example counts 1 on average.
    Balanced,
    /// `[C]` positive weights in the order of the labels.
    Given(Vec<f64>),
}

impl FromStr for ClassWeights {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "balanced" {
            return Ok(Self::Balanced);
        }
        let weight = |part: &str| match part.trim().parse() {
            Ok(weight) if weight > 0.0 && f64::is_finite(weight) => Ok(weight),
            _ => Err(format!(
                "{part:?} is no positive number; expected `balanced` or one for each label"
            )),
        };
        text.split(',').map(weight).collect::<Result<_, _>>().map(Self::Given)
    }
}

impl ClassWeights {
    /// `[C]`, for training examples of which `counts[c]` are of class `c`. A class without examples has no balanced
    /// weight, and needs none: it gets 0.
    pub fn of(&self, counts: &[usize]) -> Result<Vec<f64>, String> {
        let classes = counts.len();
        match self {
            Self::Balanced => {
                let all = counts.iter().sum::<usize>() as f64;
                let present = counts.iter().filter(|&&n| n > 0).count();
                let weight = |&n: &usize| if n == 0 { 0.0 } else { all / (present * n) as f64 };
                Ok(counts.iter().map(weight).collect())
            }
            Self::Given(weights) if weights.len() == classes => Ok(weights.clone()),
            Self::Given(weights) => Err(format!("{} weights for {classes} labels", weights.len())),
        }
    }
}

/// The loss of an example with logits `z` and label `y`, with smoothing `ε` (Szegedy et al. 2016, arXiv 1512.00567,
/// section 7):
/// `(1 - ε) · w_y · (-log p_y) + ε/C · Σ_c w_c · (-log p_c)` where `p = softmax(z)`.
///
/// The mean over examples is the sum divided by `Σ w_y`. Sum and divisor are apart here, so that batches can be added up
/// to the mean over all of their examples.
#[derive(Debug, Clone)]
pub struct CrossEntropy {
    /// `[C]` float32 and the same on this side; absent where every example counts 1.
    weights: Option<(Shared, Vec<f64>)>,
    smoothing: f64,
}

impl CrossEntropy {
    /// - `weights`: `[C]`, absent where every example counts 1
    /// - `smoothing`: `ε`, in `[0, 1)`
    pub fn new(
        weights: Option<Vec<f64>>,
        smoothing: f64,
        device: Device,
    ) -> Result<Self, TchError> {
        let on_device = |weights: Vec<f64>| {
            let single: Vec<f32> = weights.iter().map(|&w| w as f32).collect();
            Ok::<_, TchError>((Tensor::f_from_slice(&single)?.f_to_device(device)?.into(), weights))
        };
        Ok(Self { weights: weights.map(on_device).transpose()?, smoothing })
    }

    /// `Σ w_y`: what these examples count together.
    pub fn weight(&self, labels: impl Iterator<Item = usize>) -> f64 {
        match &self.weights {
            None => labels.count() as f64,
            Some((_, weights)) => labels.map(|label| weights[label]).sum(),
        }
    }

    /// The sum of the examples' losses, a scalar.
    ///
    /// - `logits`: `[B, C]` raw logits; gradients flow to them
    /// - `labels`: `[B]` int64 class indices
    pub fn sum(&self, logits: &Tensor, labels: &Tensor) -> Result<Tensor, TchError> {
        let weights = self.weights.as_ref().map(|(weights, _)| &**weights);
        logits.f_cross_entropy_loss(labels, weights, Reduction::Sum, -100, self.smoothing)
    }
}
