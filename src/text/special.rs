//! The token that stands where one is hidden.

use std::path::Path;

use tokenizers::AddedToken;

use super::{TextError, Tokenizer, family::Role, settings::Settings};

/// What tokenizers call it whose folder says nothing.
const NAMES: [&str; 2] = ["[MASK]", "<mask>"];

/// Id of the mask token: the one that the folder's `tokenizer_config.json` or `special_tokens_map.json` names, else the
/// one with a usual name.
pub fn mask_token(folder: &Path, tokenizer: &Tokenizer) -> Result<i64, TextError> {
    let stated = stated(folder)?;
    let id = match &stated {
        Some(token) => tokenizer.id_of(token),
        None => NAMES.iter().find_map(|name| tokenizer.id_of(name)),
    };
    id.ok_or_else(|| TextError::NoMask {
        folder: folder.to_owned(),
        names: stated.unwrap_or_else(|| NAMES.join(" or ")),
    })
}

/// How a tokenizer spells its mask token: as the `folder` it is from says, else by a usual name. `None` where it has
/// neither token.
pub fn mask_spelling(
    folder: Option<&Path>,
    tokenizer: &Tokenizer,
) -> Result<Option<String>, TextError> {
    let stated = folder.map(stated).transpose()?.flatten();
    let mut names = stated.into_iter().chain(NAMES.map(str::to_owned));
    Ok(names.find(|name| tokenizer.id_of(name).is_some()))
}

fn stated(folder: &Path) -> Result<Option<String>, TextError> {
    Ok(Settings::read(folder)?.stated(Role::Mask)?.map(|token| token.content))
}

impl Tokenizer {
    /// The mask token, where the tokenizer has one of a usual name that is one token wherever it stands.
    pub fn mask_token(&self) -> Option<&'static str> {
        let added = self.inner.get_added_tokens_decoder();
        let is_added = |name: &&&str| added.values().any(|known| known.content == **name);
        NAMES.iter().find(is_added).copied()
    }

    /// The same, and `token` is one token wherever it stands in a text: the one of that spelling where there is one, else
    /// a new one after the last.
    pub fn with_mask(mut self, token: &str) -> Result<Self, TextError> {
        let added = self.inner.get_added_tokens_decoder();
        if !added.values().any(|known| known.content == token) {
            self.inner.add_special_tokens(&[AddedToken::from(token, true)]);
            self.json =
                self.inner.to_string(false).map_err(|cause| TextError::Text(cause.to_string()))?;
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::word_tokenizer;

    #[test]
    fn a_mask_is_one_token_wherever_it_stands() {
        let words = word_tokenizer(["a film [ mask ]"].into_iter(), 1, 100).unwrap();
        // Padding, unknown, five words in alphabetical order: [ ] a film mask; and a mask token.
        let own = Tokenizer::new(words, 8).unwrap();
        assert_eq!((own.vocabulary_size(), own.mask_token()), (8, Some("[MASK]")));
        assert_eq!(own.clone().with_mask("[MASK]").unwrap().json(), own.json());
        assert_eq!(own.encode("a [MASK], 电[MASK]", None).unwrap().ids, [4, 7, 1, 1, 7]);
        // Another spelling is one more.
        let masked = own.clone().with_mask("<mask>").unwrap();
        assert_eq!(masked.vocabulary_size(), 9);
        assert_eq!(masked.encode("a <mask>, 电<mask>", None).unwrap().ids, [4, 8, 1, 1, 8]);
        assert_eq!(masked.encode("[ mask ]", None).unwrap().ids, [2, 6, 3]);
        // It is kept with the tokenizer, and found again.
        let again = masked.json().parse::<tokenizers::Tokenizer>().unwrap();
        let again = Tokenizer::new(again, 8).unwrap().with_mask("<mask>").unwrap();
        assert_eq!(again.json(), masked.json());
        assert_eq!(again.encode("a <mask>", None).unwrap().ids, [4, 8]);
    }

    #[test]
    fn a_mask_is_spelt_as_the_folder_says_or_as_usual() {
        let folder = tempfile::tempdir().unwrap();
        let words = || word_tokenizer(["a film"].into_iter(), 1, 100).unwrap();
        let own = Tokenizer::new(words(), 8).unwrap();
        let spelling =
            |tokenizer: &Tokenizer| mask_spelling(Some(folder.path()), tokenizer).unwrap();
        assert_eq!(mask_spelling(None, &own).unwrap().as_deref(), Some("[MASK]"));
        assert_eq!(spelling(&own).as_deref(), Some("[MASK]"));
        std::fs::write(folder.path().join("tokenizer_config.json"), r#"{"mask_token": "[GAP]"}"#)
            .unwrap();
        assert_eq!(spelling(&own.clone().with_mask("[GAP]").unwrap()).as_deref(), Some("[GAP]"));
        // A folder that names a token which its tokenizer lacks.
        assert_eq!(spelling(&own).as_deref(), Some("[MASK]"));
        let bare = tokenizers::Tokenizer::new(words().get_model().clone());
        assert_eq!(spelling(&Tokenizer::new(bare, 8).unwrap()), None);
    }
}
