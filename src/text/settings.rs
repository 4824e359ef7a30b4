//! The JSON files that stand beside a vocabulary: which kind of tokenizer it is, its options, and its
//! special tokens, read as `transformers` 5 reads them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::{Map, Value};
use tokenizers::AddedToken;

use super::{
    TextError,
    error::read,
    family::{Family, Role},
};

/// What a folder says about its tokenizer.
#[derive(Debug)]
pub(super) struct Settings {
    path: PathBuf,
    values: Map<String, Value>,
    /// Tokens by the ids that they must have.
    by_id: BTreeMap<u32, AddedToken>,
}

/// A token as these files hold it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Stated {
    Text(String),
    Token {
        content: String,
        #[serde(default)]
        single_word: bool,
        #[serde(default)]
        lstrip: bool,
        #[serde(default)]
        rstrip: bool,
        normalized: Option<bool>,
        special: Option<bool>,
    },
}

impl Stated {
    /// The token; `special` where it does not say so itself.
    fn token(self, special: bool) -> AddedToken {
        match self {
            Self::Text(content) => AddedToken::from(content, special),
            Self::Token { content, single_word, lstrip, rstrip, normalized, special: own } => {
                let special = own.unwrap_or(special);
                AddedToken::from(content, special)
                    .single_word(single_word)
                    .lstrip(lstrip)
                    .rstrip(rstrip)
                    .normalized(normalized.unwrap_or(!special))
            }
        }
    }
}

impl Settings {
    /// Reads `tokenizer_config.json` and, unless it lists all added tokens itself, what older folders
    /// have beside it: `special_tokens_map.json` and `added_tokens.json`. All may be missing.
    pub(super) fn read(folder: &Path) -> Result<Self, TextError> {
        let path = folder.join("tokenizer_config.json");
        let mut values: Map<String, Value> = read_optional(&path)?;
        let mut by_id = BTreeMap::new();
        if let Some(listed) = values.remove("added_tokens_decoder") {
            let listed: BTreeMap<u32, Stated> =
                serde_json::from_value(listed).map_err(TextError::malformed(&path))?;
            by_id.extend(listed.into_iter().map(|(id, stated)| (id, stated.token(false))));
        } else {
            values.extend(read_optional::<Map<_, _>>(&folder.join("special_tokens_map.json"))?);
            let added: BTreeMap<String, u32> = read_optional(&folder.join("added_tokens.json"))?;
            by_id.extend(added.into_iter().map(|(token, id)| (id, AddedToken::from(token, false))));
        }
        let mut settings = Self { path, values, by_id };
        let special: Vec<AddedToken> = (Role::ALL.into_iter())
            .filter_map(|role| settings.stated(role).transpose())
            .chain(settings.extra()?.into_iter().flatten().map(Ok))
            .collect::<Result<_, _>>()?;
        for token in settings.by_id.values_mut() {
            if special.iter().any(|other| other.content == token.content) && !token.special {
                *token = AddedToken { special: true, normalized: false, ..token.clone() };
            }
        }
        Ok(settings)
    }

    /// The kind of tokenizer: the class that `tokenizer_config.json` names, else that of the encoder.
    /// Nothing where neither is named.
    pub(super) fn family(&self, folder: &Path) -> Result<Option<Family>, TextError> {
        // What newer folders name where the class says nothing of the kind.
        let general = ["TokenizersBackend", "PreTrainedTokenizer", "PreTrainedTokenizerFast"];
        let unknown = |path: &Path, kind: &str| TextError::UnknownKind {
            path: path.to_owned(),
            kind: kind.to_owned(),
        };
        let class = self.values.get("tokenizer_class").and_then(Value::as_str);
        if let Some(class) = class.filter(|class| !general.contains(class)) {
            return Family::of_class(class).map(Some).ok_or_else(|| unknown(&self.path, class));
        }
        let path = folder.join("config.json");
        let config: Map<String, Value> = read_optional(&path)?;
        let Some(model) = config.get("model_type").and_then(Value::as_str) else { return Ok(None) };
        Family::of_model(model).map(Some).ok_or_else(|| unknown(&path, model))
    }

    /// An option that is true, false or not there.
    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        self.values.get(name).and_then(Value::as_bool)
    }

    /// The special token of `role` and whether the folder itself names it; nothing where neither it nor
    /// the family does.
    pub(super) fn special(
        &self,
        role: Role,
        family: Family,
    ) -> Result<Option<(AddedToken, bool)>, TextError> {
        if let Some(stated) = self.stated(role)? {
            return Ok(Some((stated, true)));
        }
        Ok(family.token(role).map(|token| {
            let strips = role == Role::Mask && family.mask_strips_left();
            (AddedToken::from(token, true).lstrip(strips), false)
        }))
    }

    /// The token that the folder names for `role`.
    pub(super) fn stated(&self, role: Role) -> Result<Option<AddedToken>, TextError> {
        let Some(value) = self.values.get(role.key()).filter(|value| !value.is_null()) else {
            return Ok(None);
        };
        let malformed = TextError::malformed(&self.path);
        let stated = Stated::deserialize(value)
            .map_err(|cause| malformed(format!("`{}`: {cause}", role.key())))?;
        let token = stated.token(true);
        let listed = self.by_id.values().find(|listed| listed.content == token.content);
        Ok(Some(AddedToken { special: true, ..listed.cloned().unwrap_or(token) }))
    }

    /// Further special tokens that the folder names.
    pub(super) fn extra(&self) -> Result<Option<Vec<AddedToken>>, TextError> {
        let value = ["extra_special_tokens", "additional_special_tokens"]
            .into_iter()
            .find_map(|key| self.values.get(key).filter(|value| value.is_array()));
        let Some(value) = value else { return Ok(None) };
        let tokens = Vec::<Stated>::deserialize(value).map_err(TextError::malformed(&self.path))?;
        Ok(Some(tokens.into_iter().map(|token| token.token(true)).collect()))
    }

    /// The added tokens whose ids the folder states, in the order of their ids.
    pub(super) const fn by_id(&self) -> &BTreeMap<u32, AddedToken> {
        &self.by_id
    }

    /// The file that an error about these settings names.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// A JSON file that may be missing.
fn read_optional<T: for<'de> Deserialize<'de> + Default>(path: &Path) -> Result<T, TextError> {
    if path.is_file() {
        serde_json::from_str(&read(path)?).map_err(TextError::malformed(path))
    } else {
        Ok(T::default())
    }
}
