//! A model's own tokenizer, read from its folder, with truncation at the model's maximum length.

use std::path::Path;

use tokenizers::{TruncationParams, TruncationStrategy};

use super::{Segmentation, TextError, error::read, folder, vocabulary::PADDING};

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
    pub(super) inner: tokenizers::Tokenizer,
    pub(super) json: String,
    segmentation: Segmentation,
}

impl Tokenizer {
    /// Reads `tokenizer.json`, or builds what the files of the folder's family say: WordPiece from
    /// `vocab.txt`, Unigram from a SentencePiece model, byte-level BPE from `vocab.json` and `merges.txt`.
    /// A padding token is not needed: batches are padded with zeros that no encoder looks at.
    ///
    /// Inputs longer than `max_length` tokens, special tokens included, lose tokens at the end of the
    /// longer text.
    pub fn from_folder(folder: &Path, max_length: usize) -> Result<Self, TextError> {
        let path = folder.join("tokenizer.json");
        if path.is_file() {
            return Self::from_file(&path, max_length);
        }
        Self::new(folder::tokenizer(folder)?, max_length)
    }

    /// Reads a `tokenizer.json` of any kind.
    pub fn from_file(path: &Path, max_length: usize) -> Result<Self, TextError> {
        let json = read(path)?;
        let inner = json.parse::<tokenizers::Tokenizer>().map_err(TextError::malformed(path))?;
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
        Ok(Self { inner, json, segmentation: Segmentation::None })
    }

    /// The same, and texts are cut into words before. Not part of [`json`](Self::json): who saves the tokenizer
    /// saves the segmentation with it.
    #[must_use]
    pub fn with_segmentation(self, segmentation: Segmentation) -> Self {
        Self { segmentation, ..self }
    }

    /// What cuts texts into words before.
    pub const fn segmentation(&self) -> Segmentation {
        self.segmentation
    }

    /// Every token by its id; an id without a token has an empty one.
    pub fn vocabulary(&self) -> Vec<String> {
        let mut tokens = vec![String::new(); self.vocabulary_size()];
        for (token, id) in self.inner.get_vocab(true) {
            if let Some(place) = tokens.get_mut(id as usize) {
                *place = token;
            }
        }
        tokens
    }

    /// The ids of special tokens and of padding, in order.
    pub fn special_ids(&self) -> Vec<usize> {
        let added = self.inner.get_added_tokens_decoder();
        let mut ids: Vec<usize> =
            added.iter().filter(|(_, token)| token.special).map(|(&id, _)| id as usize).collect();
        ids.extend(self.id_of(PADDING).map(|id| id as usize));
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// The whole tokenizer as `tokenizer.json` holds it, truncation included; part of a fingerprint.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// Number of token ids, added tokens included.
    pub fn vocabulary_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// Rows of a table that has one for every id: the highest and one more, for there may be gaps.
    pub(crate) fn rows(&self) -> usize {
        self.inner.get_vocab(true).into_values().max().map_or(0, |id| id as usize + 1)
    }

    /// The id of a token, by its exact spelling.
    pub(crate) fn id_of(&self, token: &str) -> Option<i64> {
        self.inner.token_to_id(token).map(i64::from)
    }

    /// Tokenises one example, with the special tokens that the model was trained with.
    pub fn encode(&self, text: &str, text_pair: Option<&str>) -> Result<Tokens, TextError> {
        let text = self.segmentation.apply(text);
        let encoded = match text_pair.map(|pair| self.segmentation.apply(pair)) {
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
