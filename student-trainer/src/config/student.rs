//! Which student a run trains and how it reads text: flags to sizes, checked against the family.

use std::path::PathBuf;

use clap::ValueEnum;
use lectern::{
    commands::Usage,
    models::{
        Family,
        bilstm::BiLstmConfig,
        students::{
            Channels, EncoderSizes, Table, average::AverageConfig, bigru::BiGruConfig,
            dpcnn::DpcnnConfig, fasttext::FastTextConfig, textcnn::TextCnnConfig,
        },
    },
    text::WordKind,
};
use serde::{Deserialize, Serialize};

use super::{TrainOptions, at_least, share};

/// The students there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StudentKind {
    /// Embedding 300, BiLSTM 300, linear 192, ReLU, scores, maximum over time
    Bilstm,
    /// Tang et al. 2019: embedding 300, BiLSTM 150, last states, linear 200, ReLU, scores
    BilstmPaper,
    /// As bilstm-paper with a GRU
    Bigru,
    /// Kim 2014: filters of widths 3, 4 and 5, maximum over time
    Textcnn,
    /// Johnson and Zhang 2017: convolutions that halve the text
    Dpcnn,
    /// Joulin et al. 2016: mean of the vectors of words and hashed bigrams
    Fasttext,
    /// Mean of word vectors, linear 192, ReLU, scores
    Average,
    /// Some layers of an encoder, see --init-from and --layers, or a fresh one, see --encoder-config
    Transformer,
}

/// How pairs of texts are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PairReading {
    /// Each text alone, then their vectors, product and distance are classified
    Compare,
    /// As one text
    Join,
}

/// What a word is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WordOption {
    /// jieba if most letters of the training file are Chinese characters, else unicode
    Auto,
    /// Split at white space and punctuation; each Chinese character is a word
    Unicode,
    /// Each character is a word
    Characters,
    /// Chinese words by jieba
    Jieba,
}

/// What training does to given word vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VectorsMode {
    /// They stay as they are
    Static,
    /// They are trained with the rest
    Tuned,
    /// Two tables side by side, one of each kind
    Both,
}

impl From<VectorsMode> for Channels {
    fn from(mode: VectorsMode) -> Self {
        match mode {
            VectorsMode::Static => Self::Static,
            VectorsMode::Tuned => Self::Tuned,
            VectorsMode::Both => Self::Both,
        }
    }
}

impl WordOption {
    /// The kind of word, where the texts need not be asked.
    pub const fn kind(self) -> Option<WordKind> {
        match self {
            Self::Auto => None,
            Self::Unicode => Some(WordKind::Unicode),
            Self::Characters => Some(WordKind::Characters),
            Self::Jieba => Some(WordKind::Jieba),
        }
    }
}

/// A student, as far as it is known without the data.
#[derive(Debug, Clone)]
pub struct StudentSettings {
    /// Family and sizes.
    pub shape: Shape,
    /// How pairs are read if there are any.
    pub pairs: PairReading,
    /// What its word vectors start from, and what training does to them.
    pub channels: Channels,
    /// Numbers of a word vector, as far as they were asked for.
    pub embedding: Option<i64>,
    /// Pretrained vectors.
    pub vectors: Option<WordVectorFile>,
    /// How texts become tokens.
    pub input: Input,
}

/// A student's layers.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// On word vectors, of which there are not yet any.
    Words(Family),
    /// Some layers of an encoder.
    Encoder {
        /// Its folder.
        folder: PathBuf,
        /// Counted from 0.
        layers: Vec<usize>,
        /// Probability.
        dropout: f64,
    },
    /// An encoder with fresh weights.
    Described {
        /// A `config.json`, or the folder of one.
        config: PathBuf,
        /// What differs from it.
        sizes: EncoderSizes,
        /// Probability.
        dropout: f64,
    },
}

/// Pretrained word vectors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WordVectorFile {
    /// The vectors.
    pub path: PathBuf,
    /// Their words, where they are apart.
    pub words: Option<PathBuf>,
}

/// How texts become tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// By a given tokenizer, a file or a model's folder.
    Tokenizer(PathBuf),
    /// By that of an encoder, whose word embeddings the student starts from, or whose layers it takes.
    Encoder(PathBuf),
    /// By the words of the training texts.
    Words {
        /// What a word is.
        words: WordOption,
        /// Most ids.
        size: usize,
        /// How often a word without a vector must occur.
        min_count: usize,
    },
}

use StudentKind::{Average, Bigru, Bilstm, BilstmPaper, Dpcnn, Fasttext, Textcnn, Transformer};

/// Families on word vectors.
const ON_WORDS: &[StudentKind] = &[Bilstm, BilstmPaper, Bigru, Textcnn, Dpcnn, Fasttext, Average];
const RECURRENT: &[StudentKind] = &[Bilstm, BilstmPaper, Bigru];

impl StudentKind {
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    fn list(kinds: &[Self]) -> String {
        kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ")
    }
}

impl TrainOptions {
    /// Fills in the student's defaults; whether files are there is for later.
    pub(super) fn resolve_student(&mut self) -> Result<StudentSettings, Usage> {
        let kind = *self.student.get_or_insert(Bilstm);
        self.check_flags_of(kind)?;
        let exclude = |one: &str, other: &str| {
            Err(Usage(format!(
                "--{one} and --{other} exclude each other: both say what a token is"
            )))
        };
        match (&self.init_embeddings, &self.tokenizer, self.words, &self.vectors) {
            (Some(_), Some(_), ..) => return exclude("init-embeddings", "tokenizer"),
            (Some(_), _, Some(_), _) => return exclude("init-embeddings", "words"),
            (_, Some(_), Some(_), _) => return exclude("tokenizer", "words"),
            (Some(_), .., Some(_)) => {
                return Err(Usage(
                    "--init-embeddings and --vectors exclude each other: both are what word vectors \
                     start from"
                        .to_owned(),
                ));
            }
            _ => {}
        }
        if self.vectors_words.is_some() && self.vectors.is_none() {
            return Err(Usage("--vectors-words belongs to --vectors FILE.npy".to_owned()));
        }
        if self.vectors_mode.is_some() && self.vectors.is_none() && self.init_embeddings.is_none() {
            return Err(Usage(
                "--vectors-mode says what becomes of given vectors: give --vectors or \
                 --init-embeddings"
                    .to_owned(),
            ));
        }
        let pairs = match kind {
            Bilstm | BilstmPaper | Bigru => *self.pairs.get_or_insert(PairReading::Compare),
            _ => PairReading::Join,
        };
        let shape = self.shape(kind)?;
        let has_vectors = self.vectors.is_some();
        if has_vectors || self.init_embeddings.is_some() {
            let paper = kind == BilstmPaper && has_vectors;
            let default = if paper { VectorsMode::Both } else { VectorsMode::Tuned };
            self.vectors_mode.get_or_insert(default);
        }
        Ok(StudentSettings {
            shape,
            pairs,
            channels: self.vectors_mode.map(Channels::from).unwrap_or_default(),
            embedding: self.embedding,
            vectors: self
                .vectors
                .clone()
                .map(|path| WordVectorFile { path, words: self.vectors_words.clone() }),
            input: self.input()?,
        })
    }

    /// Refuses sizes and inputs that mean nothing for `kind`.
    fn check_flags_of(&self, kind: StudentKind) -> Result<(), Usage> {
        let with_hidden = [RECURRENT, &[Transformer]].concat();
        let with_inner = [RECURRENT, &[Average, Transformer]].concat();
        let with_layers = [RECURRENT, &[Dpcnn, Transformer]].concat();
        let with_tokenizer = [ON_WORDS, &[Transformer]].concat();
        for (flag, given, wanted) in [
            ("embedding", self.embedding.is_some(), ON_WORDS),
            ("hidden", self.hidden.is_some(), with_hidden.as_slice()),
            ("inner", self.inner.is_some(), &with_inner),
            ("filters", self.filters.is_some(), &[Textcnn, Dpcnn]),
            ("filter-widths", self.filter_widths.is_some(), &[Textcnn]),
            ("num-layers", self.num_layers.is_some(), &with_layers),
            ("buckets", self.buckets.is_some(), &[Fasttext]),
            ("pairs", self.pairs.is_some(), RECURRENT),
            ("heads", self.heads.is_some(), &[Transformer]),
            ("encoder-config", self.encoder_config.is_some(), &[Transformer]),
            ("init-from", self.init_from.is_some(), &[Transformer]),
            ("layers", self.layers.is_some(), &[Transformer]),
            ("tokenizer", self.tokenizer.is_some(), &with_tokenizer),
            ("words", self.words.is_some(), &with_tokenizer),
            ("vectors", self.vectors.is_some(), ON_WORDS),
            ("init-embeddings", self.init_embeddings.is_some(), ON_WORDS),
        ] {
            if given && !wanted.contains(&kind) {
                let (kind, wanted) = (kind.name(), StudentKind::list(wanted));
                return Err(Usage(format!("--{flag} belongs to --student {wanted}, not {kind}")));
            }
        }
        Ok(())
    }

    fn shape(&mut self, kind: StudentKind) -> Result<Shape, Usage> {
        let mut family = match kind {
            Bilstm => Family::BiLstm(BiLstmConfig::original(0)),
            BilstmPaper => Family::BiLstm(BiLstmConfig::paper(0)),
            Bigru => Family::BiGru(BiGruConfig::gru(0)),
            Textcnn => Family::TextCnn(TextCnnConfig::kim(0)),
            Dpcnn => Family::Dpcnn(DpcnnConfig::small(0)),
            Fasttext => Family::FastText(FastTextConfig::small(0)),
            Average => Family::Average(AverageConfig::original(0)),
            Transformer => return self.transformer(),
        };
        let dropout = &mut self.student_dropout;
        match &mut family {
            Family::BiLstm(config) | Family::BiGru(config) => {
                size("hidden", &mut self.hidden, &mut config.hidden)?;
                size("inner", &mut self.inner, &mut config.inner)?;
                count("num-layers", &mut self.num_layers, &mut config.layers)?;
                probability(dropout, &mut config.dropout)?;
            }
            Family::TextCnn(config) => {
                size("filters", &mut self.filters, &mut config.filters)?;
                let widths = self.filter_widths.get_or_insert(config.widths.clone());
                let mut distinct = widths.clone();
                distinct.sort_unstable();
                distinct.dedup();
                if widths.is_empty() || distinct.len() < widths.len() || distinct[0] < 1 {
                    return Err(Usage(
                        "--filter-widths: must be distinct and at least 1".to_owned(),
                    ));
                }
                config.widths.clone_from(widths);
                probability(dropout, &mut config.dropout)?;
            }
            Family::Dpcnn(config) => {
                size("filters", &mut self.filters, &mut config.filters)?;
                count("num-layers", &mut self.num_layers, &mut config.layers)?;
                probability(dropout, &mut config.dropout)?;
            }
            Family::FastText(config) => {
                size("buckets", &mut self.buckets, &mut config.buckets)?;
                probability(dropout, &mut config.dropout)?;
            }
            Family::Average(config) => {
                size("inner", &mut self.inner, &mut config.inner)?;
                probability(dropout, &mut config.dropout)?;
            }
            Family::Transformer(_) => {}
        }
        if let Some(Table { embedding, .. }) = family.table_mut() {
            if self.vectors.is_none() {
                size("embedding", &mut self.embedding, embedding)?;
            } else if let Some(asked) = self.embedding {
                at_least("embedding", asked.max(0) as usize, 1)?;
            }
        }
        Ok(Shape::Words(family))
    }

    fn input(&mut self) -> Result<Input, Usage> {
        if let Some(folder) = self.init_from.as_ref().or(self.init_embeddings.as_ref()) {
            return Ok(Input::Encoder(folder.clone()));
        }
        let of_config = self.folder_of_config();
        if let Some(path) = self.tokenizer.as_deref().or(of_config) {
            return Ok(Input::Tokenizer(path.to_owned()));
        }
        let size = *self.vocabulary_size.get_or_insert(30_000);
        Ok(Input::Words {
            words: *self.words.get_or_insert(WordOption::Unicode),
            size: at_least("vocabulary-size", size, 4)?,
            min_count: *self.min_count.get_or_insert(2),
        })
    }
}

/// Fills in a flag's default or takes its value.
fn size(flag: &str, given: &mut Option<i64>, size: &mut i64) -> Result<(), Usage> {
    *size = *given.get_or_insert(*size);
    at_least(flag, (*size).max(0) as usize, 1).map(drop)
}

fn count(flag: &str, given: &mut Option<usize>, count: &mut usize) -> Result<(), Usage> {
    *count = at_least(flag, *given.get_or_insert(*count), 1)?;
    Ok(())
}

pub(super) fn probability(given: &mut Option<f64>, probability: &mut f64) -> Result<(), Usage> {
    *probability = share("student-dropout", *given.get_or_insert(*probability))?;
    if *probability < 1.0 {
        Ok(())
    } else {
        Err(Usage("--student-dropout 1: would leave nothing".to_owned()))
    }
}
