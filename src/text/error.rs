//! Why a text or a tokenizer cannot be used.

use std::{fmt::Display, fs, io, path::Path, path::PathBuf};

/// Why a text or a tokenizer cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// None of the files that a tokenizer of the folder's kind can be read from.
    #[error("{folder}: holds neither tokenizer.json nor {files}; copy it from the model's source")]
    Missing {
        /// The model's folder.
        folder: PathBuf,
        /// What would do.
        files: &'static str,
    },
    /// A kind of tokenizer that exists only in Python.
    #[error(
        "{path}: a tokenizer of {kind:?} cannot be built from its vocabulary here; make its \
         tokenizer.json with transformers: AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)"
    )]
    UnknownKind {
        /// The file that names it.
        path: PathBuf,
        /// `tokenizer_class` or `model_type`.
        kind: String,
    },
    /// A file that cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A file that is no tokenizer.
    #[error("{path}: not a tokenizer: {cause}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The library's words.
        cause: String,
    },
    /// A special token that the vocabulary lacks.
    #[error("{path}: has no {token:?} token")]
    NoToken {
        /// The vocabulary.
        path: PathBuf,
        /// The token.
        token: String,
    },
    /// A tokenizer of a model that was never trained to fill gaps.
    #[error("{folder}: its tokenizer has no mask token, {names}, which pre-training needs")]
    NoMask {
        /// The model's folder.
        folder: PathBuf,
        /// What was looked for.
        names: String,
    },
    /// An added token whose id is not the one that the model was trained with.
    #[error(
        "{path}: says that {token:?} has id {stated}, but after the vocabulary it would get {found:?}; \
         the files of this folder are not of one tokenizer"
    )]
    WrongId {
        /// The file that states it.
        path: PathBuf,
        /// The token.
        token: String,
        /// Its id there.
        stated: u32,
        /// Its id by the vocabulary.
        found: Option<u32>,
    },
    /// No token to pad batches with.
    #[error(
        "{folder}: no padding token: its tokenizer knows none of {candidates:?}; name it as `pad_token` \
         in tokenizer_config.json"
    )]
    NoPadding {
        /// The tokenizer's folder.
        folder: PathBuf,
        /// What was looked up.
        candidates: Vec<String>,
    },
    /// A text that a transductive teacher was not built on.
    #[error(
        "this teacher is transductive: it answers for the {documents} documents it was built on, and \
         {text:?} is none of them; rebuild it with this text among its documents"
    )]
    UnknownDocument {
        /// How many it knows.
        documents: usize,
        /// The beginning of the text.
        text: String,
    },
    /// Word vectors that cannot be read.
    #[error("{path}: {cause}")]
    Vectors {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        cause: String,
    },
    /// The tokenizer refused a text.
    #[error("text cannot be tokenised: {0}")]
    Text(String),
}

impl TextError {
    /// Turns a library's error about `path` into ours.
    pub(super) fn malformed<C: Display>(path: &Path) -> impl Fn(C) -> Self {
        move |cause| Self::Malformed { path: path.to_owned(), cause: cause.to_string() }
    }
}

/// The text of a file.
pub(super) fn read(path: &Path) -> Result<String, TextError> {
    fs::read_to_string(path).map_err(|source| TextError::Read { path: path.to_owned(), source })
}
