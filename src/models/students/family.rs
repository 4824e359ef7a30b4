//! Which families there are: from `model.json` to a model.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    super::{Builder, Init, ModelError},
    StudentModel, Table,
    average::{Average, AverageConfig},
    bigru::BiGruConfig,
    bilstm::BiLstmConfig,
    dpcnn::{Dpcnn, DpcnnConfig},
    fasttext::{FastText, FastTextConfig},
    recurrent::{Cell, Recurrent, RecurrentConfig},
    textcnn::{TextCnn, TextCnnConfig},
    transformer::{Transformer, TransformerConfig},
};

/// The families of students with their sizes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "family", rename_all = "lowercase")]
pub enum Family {
    /// See [`bilstm`](super::bilstm).
    BiLstm(BiLstmConfig),
    /// See [`bigru`](super::bigru).
    BiGru(BiGruConfig),
    /// See [`textcnn`](super::textcnn).
    TextCnn(TextCnnConfig),
    /// See [`dpcnn`](super::dpcnn).
    Dpcnn(DpcnnConfig),
    /// See [`fasttext`](super::fasttext).
    FastText(FastTextConfig),
    /// See [`average`](super::average).
    Average(AverageConfig),
    /// See [`transformer`](super::transformer).
    Transformer(Box<TransformerConfig>),
}

impl Family {
    /// Size of the word vectors, but of a Transformer, which has the encoder's.
    pub const fn table_mut(&mut self) -> Option<&mut Table> {
        match self {
            Self::BiLstm(config) | Self::BiGru(config) => Some(&mut config.table),
            Self::TextCnn(config) => Some(&mut config.table),
            Self::Dpcnn(config) => Some(&mut config.table),
            Self::FastText(config) => Some(&mut config.table),
            Self::Average(config) => Some(&mut config.table),
            Self::Transformer(_) => None,
        }
    }

    /// Sizes of a recurrent family, which can compare two texts.
    pub const fn recurrent_mut(&mut self) -> Option<&mut RecurrentConfig> {
        match self {
            Self::BiLstm(config) | Self::BiGru(config) => Some(config),
            _ => None,
        }
    }

    /// `builder` for a fresh model. What a Transformer's encoder lacks there has a start too, as all else has by
    /// [`build`](Self::build).
    pub(in super::super) fn starting(&self, builder: Builder) -> Result<Builder, ModelError> {
        match self {
            Self::Transformer(config) => config.starting(builder),
            _ => Ok(builder),
        }
    }

    /// Takes the parameters from `builder`; with `fresh`, those that it lacks start as the family's paper
    /// or PyTorch's own layers do, else all must be there.
    pub(in super::super) fn build(
        &self,
        builder: &Builder,
        classes: usize,
        fresh: bool,
    ) -> Result<Box<dyn StudentModel>, ModelError> {
        Ok(match self {
            Self::BiLstm(config) => {
                Box::new(Recurrent::new(builder, Cell::Lstm, *config, classes, fresh)?)
            }
            Self::BiGru(config) => {
                Box::new(Recurrent::new(builder, Cell::Gru, *config, classes, fresh)?)
            }
            Self::TextCnn(config) => {
                Box::new(TextCnn::new(builder, config.clone(), classes, fresh)?)
            }
            Self::Dpcnn(config) => Box::new(Dpcnn::new(builder, *config, classes, fresh)?),
            Self::FastText(config) => Box::new(FastText::new(builder, *config, classes, fresh)?),
            Self::Average(config) => Box::new(Average::new(builder, *config, classes, fresh)?),
            Self::Transformer(config) => {
                Box::new(Transformer::new(builder, config, classes, fresh)?)
            }
        })
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::BiLstm(config) => write!(f, "bilstm, {config}"),
            Self::BiGru(config) => write!(f, "bigru, {config}"),
            Self::TextCnn(config) => write!(f, "textcnn, {config}"),
            Self::Dpcnn(config) => write!(f, "dpcnn, {config}"),
            Self::FastText(config) => write!(f, "fasttext, {config}"),
            Self::Average(config) => write!(f, "average, {config}"),
            Self::Transformer(config) => write!(f, "transformer, {config}"),
        }
    }
}

/// What parameters of a model are that its file lacks: `otherwise` of a fresh one, an error of a saved one.
pub(super) const fn init(fresh: bool, otherwise: Init) -> Init {
    if fresh { otherwise } else { Init::Required }
}

/// As PyTorch starts a layer whose outputs are sums of `inputs` products: uniform within `1/√inputs`.
pub(super) fn uniform(fresh: bool, inputs: i64) -> Init {
    init(fresh, Init::Uniform(1.0 / (inputs as f64).sqrt()))
}
