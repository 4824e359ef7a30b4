//! Which token pads: batches of a foreign module must be padded with the id that it was exported with.

use std::{fs, path::Path};

use serde_json::Value;

use super::{TextError, Tokenizer};

/// Where the files of a tokenizer folder may name their padding token; the first that does is believed.
const NAMED_IN: [(&str, &str); 3] = [
    ("tokenizer_config.json", "/pad_token"),
    ("special_tokens_map.json", "/pad_token"),
    ("tokenizer.json", "/padding/pad_token"),
];

/// What families without any of these files' word for it pad with.
const USUAL: [&str; 2] = ["[PAD]", "<pad>"];

impl Tokenizer {
    /// The id of the padding token, where it has one of a usual name.
    pub(crate) fn padding(&self) -> Option<i64> {
        USUAL.iter().find_map(|token| self.id_of(token))
    }
}

/// The id of the padding token of the tokenizer in `folder`.
pub(crate) fn padding_id(folder: &Path, tokenizer: &Tokenizer) -> Result<i64, TextError> {
    let named = NAMED_IN.iter().find_map(|(file, pointer)| {
        let text = fs::read_to_string(folder.join(file)).ok()?;
        let json: Value = serde_json::from_str(&text).ok()?;
        let token = json.pointer(pointer)?;
        // A string, or an added token in full.
        token.as_str().or_else(|| token.get("content")?.as_str()).map(str::to_owned)
    });
    let candidates = named.map_or_else(|| USUAL.map(str::to_owned).to_vec(), |token| vec![token]);
    let known = candidates.iter().find_map(|token| tokenizer.id_of(token));
    known.ok_or_else(|| TextError::NoPadding { folder: folder.to_owned(), candidates })
}
