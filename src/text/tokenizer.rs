//! A model's own tokenizer, read from its folder, with truncation at the model's maximum length.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tokenizers::{
    AddedToken, PostProcessorWrapper, TruncationParams, TruncationStrategy,
    models::wordpiece::WordPiece, normalizers::BertNormalizer,
    pre_tokenizers::bert::BertPreTokenizer, processors::bert::BertProcessing,
};

/// Why a text or a tokenizer cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// Neither of the files that a tokenizer can be read from.
    #[error("{0}: holds neither tokenizer.json nor vocab.txt; copy one from the model's source")]
    Missing(PathBuf),
    /// A file that cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
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
        token: &'static str,
    },
    /// The tokenizer refused a text.
    #[error("text cannot be tokenised: {0}")]
    Text(String),
}

/// One example as a model reads it: special tokens in place, truncated, not padded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tokens {
    /// `[T]` token ids.
    pub ids: Vec<i64>,
    /// `[T]` 0 for the first text, 1 for the second.
    pub type_ids: Vec<i64>,
    /// Tokens were cut off to keep the maximum length.
    pub truncated: bool,
}

impl Tokens {
    /// `T`, at least 1.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether the text became no token at all; models take at least one.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

/// A tokenizer with truncation. Cloning is cheap beside a model, and one clone per thread beats one
/// shared instance, whose cache is behind a lock.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    json: String,
}

impl Tokenizer {
    /// Reads `tokenizer.json`, or builds WordPiece from `vocab.txt` and `tokenizer_config.json`.
    ///
    /// Inputs longer than `max_length` tokens, special tokens included, lose tokens at the end of the
    /// longer text.
    pub fn from_folder(folder: &Path, max_length: usize) -> Result<Self, TextError> {
        let path = folder.join("tokenizer.json");
        if path.is_file() {
            return Self::from_file(&path, max_length);
        }
        let path = folder.join("vocab.txt");
        if path.is_file() {
            return Self::new(
                word_piece(&path, &folder.join("tokenizer_config.json"))?,
                max_length,
            );
        }
        Err(TextError::Missing(folder.to_owned()))
    }

    /// Reads a `tokenizer.json` of any kind.
    pub fn from_file(path: &Path, max_length: usize) -> Result<Self, TextError> {
        let json = read(path)?;
        let inner = json.parse::<tokenizers::Tokenizer>().map_err(|cause| {
            TextError::Malformed { path: path.to_owned(), cause: cause.to_string() }
        })?;
        Self::new(inner, max_length)
    }

    /// Puts truncation at `max_length` on a tokenizer and takes its padding away: batches pad.
    pub fn new(mut inner: tokenizers::Tokenizer, max_length: usize) -> Result<Self, TextError> {
        inner.with_padding(None);
        let failed = |cause: tokenizers::Error| TextError::Text(cause.to_string());
        inner
            .with_truncation(Some(TruncationParams {
                max_length,
                strategy: TruncationStrategy::LongestFirst,
                ..TruncationParams::default()
            }))
            .map_err(failed)?;
        let json = inner.to_string(false).map_err(failed)?;
        Ok(Self { inner, json })
    }

    /// The whole tokenizer as `tokenizer.json` holds it, truncation included; part of a fingerprint.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// Number of token ids, added tokens included.
    pub fn vocabulary_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// Tokenises one example, with the special tokens that the model was trained with.
    pub fn encode(&self, text: &str, text_pair: Option<&str>) -> Result<Tokens, TextError> {
        let encoded = match text_pair {
            None => self.inner.encode_fast(text, true),
            Some(pair) => self.inner.encode_fast((text, pair), true),
        }
        .map_err(|cause| TextError::Text(cause.to_string()))?;
        Ok(Tokens {
            ids: encoded.get_ids().iter().map(|&id| i64::from(id)).collect(),
            type_ids: encoded.get_type_ids().iter().map(|&id| i64::from(id)).collect(),
            truncated: !encoded.get_overflowing().is_empty(),
        })
    }
}

/// BERT's tokenizer as `transformers` builds it from a bare vocabulary.
fn word_piece(vocab: &Path, config: &Path) -> Result<tokenizers::Tokenizer, TextError> {
    let malformed = |path: &Path, cause: &dyn std::fmt::Display| TextError::Malformed {
        path: path.to_owned(),
        cause: cause.to_string(),
    };
    let settings: serde_json::Value = if config.is_file() {
        serde_json::from_str(&read(config)?).map_err(|cause| malformed(config, &cause))?
    } else {
        serde_json::Value::Null
    };
    let flag = |name: &str| settings.get(name).and_then(serde_json::Value::as_bool);
    let lowercase = flag("do_lower_case").unwrap_or(true);

    let model = WordPiece::from_file(&vocab.to_string_lossy())
        .unk_token("[UNK]".to_owned())
        .build()
        .map_err(|cause| malformed(vocab, &cause))?;
    let mut tokenizer = tokenizers::Tokenizer::new(model);
    let id = |token: &'static str| {
        tokenizer
            .token_to_id(token)
            .ok_or_else(|| TextError::NoToken { path: vocab.to_owned(), token })
    };
    let ends =
        BertProcessing::new(("[SEP]".to_owned(), id("[SEP]")?), ("[CLS]".to_owned(), id("[CLS]")?));
    id("[UNK]")?;
    tokenizer.with_normalizer(Some(BertNormalizer::new(
        true,
        flag("tokenize_chinese_chars").unwrap_or(true),
        flag("strip_accents"),
        lowercase,
    )));
    tokenizer.with_pre_tokenizer(Some(BertPreTokenizer));
    tokenizer.with_post_processor(Some(PostProcessorWrapper::from(ends)));
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        .into_iter()
        .filter(|token| tokenizer.token_to_id(token).is_some())
        .map(|token| AddedToken::from(token, true))
        .collect::<Vec<_>>();
    tokenizer.add_special_tokens(&special);
    Ok(tokenizer)
}

fn read(path: &Path) -> Result<String, TextError> {
    fs::read_to_string(path).map_err(|source| TextError::Read { path: path.to_owned(), source })
}
