//! Which files of a repository make a model folder.

use std::path::Path;

use crate::models::{INDEX_SUFFIX, ModelError, WEIGHTS, shard_names};

/// What a cached model lacks; no file, if it was never fetched.
pub(super) struct Missing {
    pub(super) file: Option<String>,
    pub(super) commit: String,
}

/// Read beside `tokenizer.json`, or instead of it.
const TOKENIZER: [&str; 3] =
    ["tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"];

/// What a tokenizer can be built from, where there is no `tokenizer.json`.
const VOCABULARIES: [&str; 6] = [
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "spm.model",
];

/// Those of the files `listed` that a model is read from, without the shards that an index names; or
/// what is not there and must be.
pub(super) fn wanted(listed: &[String]) -> Result<Vec<String>, &'static str> {
    let has = |name: &&str| listed.iter().any(|file| file == name);
    let mut wanted = vec!["config.json".to_owned()];
    if !has(&"config.json") {
        return Err("config.json");
    }
    let whole = ["tokenizer.json"];
    let vocabularies: &[&str] = if has(&whole[0]) { &whole } else { &VOCABULARIES };
    let vocabularies: Vec<_> = vocabularies.iter().filter(|name| has(name)).collect();
    if vocabularies.is_empty() {
        return Err("tokenizer.json or a vocabulary");
    }
    let beside = TOKENIZER.iter().filter(|name| has(name));
    wanted.extend(vocabularies.into_iter().chain(beside).map(|name| (*name).to_owned()));
    let weights =
        WEIGHTS.iter().flat_map(|name| [(*name).to_owned(), format!("{name}{INDEX_SUFFIX}")]);
    let weights = weights.into_iter().find(|name| listed.contains(name));
    wanted.push(weights.ok_or("model.safetensors, pytorch_model.bin or an index of either")?);
    Ok(wanted)
}

/// The shards that the index among `wanted` names, if there is one.
pub(super) fn shards(folder: &Path, wanted: &[String]) -> Result<Vec<String>, ModelError> {
    match wanted.iter().find(|name| name.ends_with(INDEX_SUFFIX)) {
        Some(index) => shard_names(&folder.join(index)),
        None => Ok(Vec::new()),
    }
}
