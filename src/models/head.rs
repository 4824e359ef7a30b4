//! From hidden states to logits: the head that a family's `ForSequenceClassification` has, a linear layer on
//! pooled states, or a small network on them.
//!
//! `B` examples, `T` tokens, `H` hidden size, `C` classes.

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::{
    Activation, Builder, Init, ModelError, TokenBatch, dropout::dropout, layers::LayerNorm,
    linear::Linear,
};

/// Which head a teacher has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "head", rename_all = "lowercase")]
pub enum HeadKind {
    /// That of the family's `ForSequenceClassification` in `transformers`, which then loads the teacher as it is.
    Family,
    /// One linear layer on pooled states.
    Linear {
        /// How states are pooled.
        pooling: Pooling,
    },
    /// Linear, ReLU, linear on pooled states; with 192 units that of the repository
    /// HoyTta0/KnowledgeDistillation.
    Mlp {
        /// How states are pooled.
        pooling: Pooling,
        /// Units between the linear layers.
        units: usize,
    },
}

/// How `[B, T, H]` hidden states become the `[B, H]` that a linear layer classifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// The mean over tokens, special ones included; what sentence encoders are trained with.
    #[default]
    Mean,
    /// The hidden state of the token that stands for the whole text: the first, in XLNet the last.
    Cls,
}

impl std::fmt::Display for HeadKind {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let name = |pooling: &Pooling| match pooling {
            Pooling::Mean => "mean",
            Pooling::Cls => "cls",
        };
        match self {
            Self::Family => f.write_str("the family's head"),
            Self::Linear { pooling } => write!(f, "{} pooling", name(pooling)),
            Self::Mlp { pooling, units } => {
                write!(f, "{} pooling, head of {units} units", name(pooling))
            }
        }
    }
}

/// `[B, T, H]` to `[B, H]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pool {
    First,
    Last,
    Mean,
}

/// The head of a family's `ForSequenceClassification`: pool, dense layer, activation, perhaps a norm, dropout, output
/// layer.
#[derive(Debug, Clone, Copy)]
pub(super) struct FamilyHead {
    pub(super) pool: Pool,
    /// Name of the dense layer's parameters.
    pub(super) dense: &'static str,
    /// Whether the dense layer has a bias.
    pub(super) dense_bias: bool,
    pub(super) activation: Activation,
    /// After the activation.
    pub(super) norm: Option<HeadNorm>,
    /// Dropout before the dense layer too.
    pub(super) dropout_before: bool,
    /// Name of the output layer's parameters.
    pub(super) output: &'static str,
}

/// Layer normalisation in a head.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeadNorm {
    pub(super) name: &'static str,
    pub(super) epsilon: f64,
    pub(super) bias: bool,
}

impl HeadNorm {
    pub(super) fn build(
        self,
        builder: &Builder,
        size: i64,
        init: Init,
    ) -> Result<LayerNorm, ModelError> {
        LayerNorm::optional_bias(builder, self.name, size, self.epsilon, self.bias, init)
    }
}

/// A head with its weights. They stay in float32 whatever the encoder computes with: they cost nothing, and
/// logits are what a teacher is for.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pool: Pool,
    dense: Option<Dense>,
    output: Linear,
}

#[derive(Debug, Clone)]
struct Dense {
    linear: Linear,
    activation: Activation,
    norm: Option<LayerNorm>,
    dropout_before: bool,
}

impl Head {
    /// Takes the parameters from `builder`, or those it lacks from `init`.
    pub(super) fn new(
        builder: &Builder,
        kind: HeadKind,
        family: FamilyHead,
        hidden: i64,
        classes: i64,
        init: Init,
    ) -> Result<Self, ModelError> {
        let bias = if matches!(init, Init::Required) { init } else { Init::Zeros };
        let linear =
            |name: &str, input, output| Linear::new(builder, name, input, output, init, bias);
        let pool = |pooling| match pooling {
            Pooling::Mean => Pool::Mean,
            Pooling::Cls if family.pool == Pool::Last => Pool::Last,
            Pooling::Cls => Pool::First,
        };
        Ok(match kind {
            HeadKind::Family => Self {
                pool: family.pool,
                dense: Some(Dense {
                    linear: if family.dense_bias {
                        linear(family.dense, hidden, hidden)?
                    } else {
                        Linear::without_bias(builder, family.dense, hidden, hidden, init)?
                    },
                    activation: family.activation,
                    norm: family.norm.map(|norm| norm.build(builder, hidden, init)).transpose()?,
                    dropout_before: family.dropout_before,
                }),
                output: linear(family.output, hidden, classes)?,
            },
            HeadKind::Linear { pooling } => Self {
                pool: pool(pooling),
                dense: None,
                output: linear("classifier", hidden, classes)?,
            },
            HeadKind::Mlp { pooling, units } => Self {
                pool: pool(pooling),
                dense: Some(Dense {
                    linear: linear("classifier.dense", hidden, units as i64)?,
                    activation: Activation::Relu,
                    norm: None,
                    dropout_before: true,
                }),
                output: linear("classifier.output", units as i64, classes)?,
            },
        })
    }

    /// `[B, T, H]` to `[B, C]` raw logits, with dropout of probability `p` on the way.
    pub(super) fn forward(
        &self,
        hidden: &Tensor,
        batch: &TokenBatch,
        p: f64,
    ) -> Result<Tensor, ModelError> {
        let mut pooled = self.pool(hidden, batch)?;
        if let Some(dense) = &self.dense {
            if dense.dropout_before {
                pooled = dropout(pooled, p)?;
            }
            pooled = dense.activation.apply(&dense.linear.forward(&pooled)?)?;
            if let Some(norm) = &dense.norm {
                pooled = norm.forward(&pooled)?;
            }
        }
        self.output.forward(&dropout(pooled, p)?)
    }

    /// `[B, T, H]` to `[B, H]`.
    pub(super) fn pool(&self, hidden: &Tensor, batch: &TokenBatch) -> Result<Tensor, ModelError> {
        match self.pool {
            Pool::First => Ok(hidden.f_select(1, 0)?),
            Pool::Last => last_tokens(hidden, &batch.lengths),
            Pool::Mean => mean_over_tokens(hidden, batch.mask.as_ref()),
        }
    }

    /// The same head elsewhere.
    pub(super) fn to_device(&self, device: Device) -> Result<Self, ModelError> {
        let dense = |dense: &Dense| {
            let norm = dense.norm.as_ref().map(|norm| norm.to_device(device)).transpose()?;
            Ok::<_, ModelError>(Dense { linear: dense.linear.to_device(device)?, norm, ..*dense })
        };
        Ok(Self {
            pool: self.pool,
            dense: self.dense.as_ref().map(dense).transpose()?,
            output: self.output.to_device(device)?,
        })
    }
}

/// The state of each example's last token: `[B, T, H]` to `[B, H]`.
fn last_tokens(hidden: &Tensor, lengths: &[usize]) -> Result<Tensor, ModelError> {
    let (_, t, width) = hidden.size3()?;
    let rows = lengths.iter().enumerate().map(|(i, length)| i as i64 * t + *length as i64 - 1);
    let rows = Tensor::f_from_slice(&rows.collect::<Vec<_>>())?.f_to_device(hidden.device())?;
    Ok(hidden.f_reshape([-1, width])?.f_index_select(0, &rows)?)
}

/// The mean over each example's tokens, padding left out.
fn mean_over_tokens(hidden: &Tensor, mask: Option<&Tensor>) -> Result<Tensor, ModelError> {
    let dim = [1i64].as_slice();
    let Some(mask) = mask else {
        return Ok(hidden.f_mean_dim(dim, false, None)?);
    };
    let mask = mask.f_unsqueeze(2)?.f_to_kind(Kind::Float)?;
    let sum = hidden.f_mul(&mask)?.f_sum_dim_intlist(dim, false, None)?;
    Ok(sum.f_div(&mask.f_sum_dim_intlist(dim, false, None)?)?)
}
