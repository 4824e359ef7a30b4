//! The token that stands where one is hidden.

use std::path::Path;

use super::{TextError, Tokenizer, family::Role, settings::Settings};

/// What tokenizers call it whose folder says nothing.
const NAMES: [&str; 2] = ["[MASK]", "<mask>"];

/// Id of the mask token: the one that the folder's `tokenizer_config.json` or `special_tokens_map.json` names, else the
/// one with a usual name.
pub fn mask_token(folder: &Path, tokenizer: &Tokenizer) -> Result<i64, TextError> {
    let stated = Settings::read(folder)?.stated(Role::Mask)?;
    let id = match &stated {
        Some(token) => tokenizer.inner.token_to_id(&token.content),
        None => NAMES.iter().find_map(|name| tokenizer.inner.token_to_id(name)),
    };
    id.map(i64::from).ok_or_else(|| TextError::NoMask {
        folder: folder.to_owned(),
        names: stated.map_or_else(|| NAMES.join(" or "), |token| token.content),
    })
}
