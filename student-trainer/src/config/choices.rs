//! What flags of a run choose from.

use clap::ValueEnum;
use lectern::wire::Encoding;
use serde::{Deserialize, Serialize};

/// What happens to an example that the teacher refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnMissing {
    /// The run stops with the teacher's reason.
    #[default]
    Wait,
    /// The example is left out and counted.
    Skip,
    /// The example is trained on its hard label alone and counted.
    HardOnly,
}

/// Flag form of [`Encoding`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "named as in the contract")]
pub enum EncodingOption {
    Float32,
    Float16,
    TopK,
}

impl From<EncodingOption> for Encoding {
    fn from(option: EncodingOption) -> Self {
        match option {
            EncodingOption::Float32 => Self::Float32,
            EncodingOption::Float16 => Self::Float16,
            EncodingOption::TopK => Self::TopK,
        }
    }
}

/// How the rows of several teachers become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CombineKind {
    /// The mean of their logits, by --teacher-weights
    Mean,
    /// Each example its own mean: who is nearer to its label counts more, without a label who is surer
    Confidence,
}

/// The losses there are; weights are settings of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LossKind {
    /// Hard labels alone; binary cross-entropy in a multi-label task
    CrossEntropy,
    /// Cross-entropy, in a multi-label task binary, plus squared error of logits, 1 and 2 by default
    CeMse,
    /// Single-label: Hinton et al. 2015, with temperature
    Kl,
    /// Single-label: cross-entropy with the teacher's probabilities, with temperature
    SoftCrossEntropy,
    /// Single-label: KL from the student's side, which gives up classes rather than hedge, with temperature
    ReverseKl,
    /// Single-label: the divergence from the mean of both, with temperature
    JensenShannon,
    /// Single-label: decoupled distillation, Zhao et al. 2022: the labelled class and the others apart
    Dkd,
    /// Single-label: Huang et al. 2022, correlation with the teacher within examples and within classes
    Dist,
    /// Single-label: the angle between logits
    Cosine,
    /// Single-label: KL over the teacher's likeliest classes and the rest as one, with temperature
    #[value(name = "top-k-kl")]
    #[serde(rename = "top-k-kl")]
    TopKKl,
    /// Multi-label: binary cross-entropy against the teacher's probability of each label, with temperature
    Bce,
    /// Squared error of logits alone, as Tang et al. 2019; in a regression against the data's numbers too
    Mse,
    /// Regression: squared error of the differences between a batch's examples, Hofstätter et al. 2020
    MarginMse,
}

/// The optimizers there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "named as in the literature")]
pub enum OptimizerName {
    Sgd,
    Adam,
    Adamw,
    Adadelta,
}

impl LossKind {
    /// As the flag spells it.
    pub(super) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// As messages list them.
    pub(super) fn list(kinds: &[Self]) -> String {
        let names: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
        match names.as_slice() {
            [all @ .., last] if !all.is_empty() => format!("{} or {last}", all.join(", ")),
            names => names.concat(),
        }
    }
}
