//! The encoder families, each in a file that reads like its paper. A family is a configuration, read from
//! `config.json`, that builds an encoder; nothing outside this module knows which family it has.
//!
//! `B` examples, `T` tokens, `H` hidden size.

mod albert;
mod attention;
mod bert;
mod deberta;
mod distilbert;
mod electra;
mod embeddings;
mod modernbert;
mod mpnet;
mod post_norm;
mod roberta;
mod stack;
mod xlnet;

use std::{fmt::Debug, ops::Range, path::Path};

use dyn_clone::{DynClone, clone_trait_object};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tch::Tensor;

use super::{
    Builder, Init, ModelError, Permutation, TokenBatch, folder::malformed, head::FamilyHead,
    linear::Kernels, masked_lm::MaskedHead,
};

/// Every `model_type` that can be read, and what reads it.
const FAMILIES: &[(&str, Read)] = &[
    ("albert", boxed::<albert::AlbertConfig>),
    ("bert", boxed::<bert::BertConfig>),
    ("deberta-v2", boxed::<deberta::DebertaConfig>),
    ("distilbert", boxed::<distilbert::DistilBertConfig>),
    ("electra", boxed::<electra::ElectraConfig>),
    ("modernbert", boxed::<modernbert::ModernBertConfig>),
    ("mpnet", boxed::<mpnet::MpNetConfig>),
    ("roberta", boxed::<roberta::RobertaConfig>),
    ("xlm-roberta", boxed::<roberta::RobertaConfig>),
    ("xlnet", boxed::<xlnet::XlNetConfig>),
];

type Read = fn(&Path, &Value) -> Result<Box<dyn Architecture>, ModelError>;

/// What others need to know of an encoder before it is built.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts {
    /// What all names of the encoder's tensors begin with in a `ForSequenceClassification` checkpoint, with the
    /// dot: `bert.`. A bare encoder's checkpoint lacks it.
    pub(super) prefix: &'static str,
    /// What names of the parameters of a layer begin with, before the number and a dot: `bert.encoder.layer.`.
    pub(super) layers: &'static str,
    /// Number of layers.
    pub(super) depth: usize,
    /// `H`.
    pub(super) width: i64,
    /// Rows of the word table.
    pub(super) vocabulary: i64,
    /// Longest input in tokens; `None` where positions are relative and nothing ends.
    pub(super) longest_input: Option<usize>,
    /// Standard deviation of new weights.
    pub(super) initializer_range: f64,
    /// The class of `transformers` for encoder and head: `BertForSequenceClassification`.
    pub(super) classifier_class: &'static str,
    /// The class of `transformers` for the encoder alone.
    pub(super) encoder_class: &'static str,
}

/// What `config.json` says of an encoder, and how the family names and lays out its parameters.
pub(super) trait Architecture: Debug + DynClone + Send {
    /// Names and sizes.
    fn facts(&self) -> Facts;

    /// The head that the family's `ForSequenceClassification` has.
    fn head(&self) -> FamilyHead;

    /// Takes the encoder's parameters from `builder`.
    fn build(&self, builder: &Builder) -> Result<Box<dyn Encoder>, ModelError>;

    /// The head that the family's `ForMaskedLM` has; `None` for a family that is pre-trained in another way.
    fn masked_head(&self) -> Option<MaskedHead> {
        None
    }

    /// [`build`](Self::build) for permutation language modelling; `None` for a family without a query stream.
    fn build_two_streams(
        &self,
        _builder: &Builder,
    ) -> Result<Option<Box<dyn TwoStreams>>, ModelError> {
        Ok(None)
    }

    /// Everything in the configuration that changes what is computed, for the fingerprint.
    fn computation(&self) -> Value;

    /// What a parameter of a fresh encoder starts as.
    fn initial(&self, name: &str, shape: &[i64]) -> Init {
        initial(name, shape, self.facts().initializer_range)
    }

    /// Id of the padding token, where positions are counted from after it; `None` where they are from 0.
    fn padding(&self) -> Option<i64> {
        None
    }

    /// Name of the table of word embeddings.
    fn word_table(&self) -> String {
        format!("{}embeddings.word_embeddings.weight", self.facts().prefix)
    }

    /// The layer that a parameter belongs to, the first if several share it; `None` for embeddings, what is added
    /// to every layer's scores, and heads.
    fn layer_of(&self, name: &str) -> Option<usize> {
        name.strip_prefix(self.facts().layers)?.split('.').next()?.parse().ok()
    }

    /// The layers before which the encoder can be cut in two that share no parameter of a layer: every one, unless
    /// layers share theirs. 0 and the depth are always among them.
    fn cuts(&self) -> Vec<usize> {
        (0..=self.facts().depth).collect()
    }
}

/// An encoder with its weights: `[B, T]` tokens to `[B, T, H]` hidden states, float32. Rows of padding hold
/// values without meaning, and never change another row.
///
/// `dropout` is the probability on embeddings, attention and residual branches; 0 outside training.
pub(super) trait Encoder: Debug + DynClone + Send {
    /// What enters the first layer, `[B, T, H]`. The word table's gradient is sparse: it holds the rows of this
    /// batch alone.
    fn embed(&self, batch: &TokenBatch, dropout: f64) -> Result<Tensor, ModelError>;

    /// `[B, T, H]` through some of the layers, in order; the last one's output is the encoder's.
    fn layers(
        &self,
        range: Range<usize>,
        hidden: Tensor,
        batch: &TokenBatch,
        dropout: f64,
    ) -> Result<Tensor, ModelError>;

    /// Number of layers.
    fn depth(&self) -> usize;

    /// Operations of the matrix products of one forward pass over `[B, T]` tokens, padding included.
    fn flops(&self, examples: usize, tokens: usize) -> f64;

    /// The encoder, laid out to be served; takes the trained one apart layer by layer, so that no more than one
    /// layer exists twice.
    fn served(self: Box<Self>, kernels: &Kernels) -> Result<Box<dyn Encoder>, ModelError>;

    /// All of it: `[B, T, H]`.
    fn forward(&self, batch: &TokenBatch, dropout: f64) -> Result<Tensor, ModelError> {
        self.layers(0..self.depth(), self.embed(batch, dropout)?, batch, dropout)
    }
}

clone_trait_object!(Architecture);
clone_trait_object!(Encoder);
clone_trait_object!(TwoStreams);

/// An encoder that can also predict tokens from those before them in any order: beside the states of what a place
/// holds it computes states that know the place alone.
pub(super) trait TwoStreams: Debug + DynClone + Send {
    /// The query stream's state of each target, `[B, P, H]`. With dropout as in [`Encoder`].
    fn queries(
        &self,
        batch: &TokenBatch,
        permutation: &Permutation,
        dropout: f64,
    ) -> Result<Tensor, ModelError>;

    /// The word table, `[V, H]`, which is the output layer's weight too.
    fn words(&self) -> &Tensor;
}

/// Reads the architecture that `config.json` of `folder` describes.
pub(super) fn architecture(
    folder: &Path,
    config: &Value,
) -> Result<Box<dyn Architecture>, ModelError> {
    architecture_of(&folder.join("config.json"), config)
}

/// Reads the architecture that the file at `path` describes.
pub(super) fn architecture_of(
    path: &Path,
    config: &Value,
) -> Result<Box<dyn Architecture>, ModelError> {
    let known = || FAMILIES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let Some(stated) = config.get("model_type").and_then(Value::as_str) else {
        return Err(malformed(path, format!("has no model_type; expected one of {}", known())));
    };
    match FAMILIES.iter().find(|(name, _)| *name == stated) {
        Some((_, read)) => read(path, config),
        None => Err(malformed(
            path,
            format!("model_type {stated:?} is not supported; this version reads {}", known()),
        )),
    }
}

/// What parameters start as by `_init_weights` of `transformers`: matrices and tables normal with deviation `std`, norms so
/// that they change nothing, other biases 0. A table's row for padding is like its others, for nothing looks at it.
fn initial(name: &str, shape: &[i64], std: f64) -> Init {
    match (name.rsplit('.').next(), shape) {
        (Some("bias"), _) => Init::Zeros,
        (_, [_]) => Init::Ones,
        _ => Init::Normal(std),
    }
}

/// A configuration that can say what is wrong with its numbers.
trait Checked {
    fn check(&self) -> Result<(), String>;
}

fn boxed<C: Architecture + Checked + DeserializeOwned + 'static>(
    path: &Path,
    config: &Value,
) -> Result<Box<dyn Architecture>, ModelError> {
    let architecture: C =
        serde_path_to_error::deserialize(config).map_err(|cause| malformed(path, named(&cause)))?;
    architecture.check().map_err(|cause| malformed(path, cause))?;
    Ok(Box::new(architecture))
}

/// The words of a JSON error, with the field it is about.
fn named(cause: &serde_path_to_error::Error<serde_json::Error>) -> String {
    match cause.path().to_string() {
        path if path == "." => cause.inner().to_string(),
        path => format!("`{path}`: {}", cause.inner()),
    }
}

/// Numbers of a configuration that must be positive, with their names.
fn all_positive<const N: usize>(numbers: [(&str, i64); N]) -> Result<(), String> {
    match numbers.iter().find(|(_, value)| *value <= 0) {
        Some((name, value)) => Err(format!("`{name}` is {value}, must be positive")),
        None => Ok(()),
    }
}

/// A width that heads share evenly.
fn divides(heads: i64, (name, width): (&str, i64)) -> Result<(), String> {
    if width % heads == 0 {
        Ok(())
    } else {
        Err(format!("`{name}` {width} is no multiple of {heads} heads"))
    }
}

/// A configuration as JSON: its own fields with their defaults filled in.
fn as_json(config: &impl Serialize) -> Value {
    serde_json::to_value(config).unwrap_or_default()
}

const fn layer_norm_eps() -> f64 {
    1e-12
}

const fn initializer_range() -> f64 {
    0.02
}
