//! What `config.json` of a Hugging Face folder says of a teacher: its shape, its labels, and how it is to
//! be read.

use std::{collections::HashMap, fs, path::Path};

use serde_json::Value;

use super::{ModelError, Pooling, TeacherSettings, bert::BertConfig, folder::malformed};
use crate::data::LabelSet;

/// The shape of the encoder; an error for any family but BERT.
pub(super) fn bert_config(folder: &Path, config: &Value) -> Result<BertConfig, ModelError> {
    let path = folder.join("config.json");
    match config.get("model_type").and_then(Value::as_str) {
        Some("bert") => {}
        Some(other) => {
            let cause =
                format!("model_type {other:?} is not supported; this version reads \"bert\"");
            return Err(malformed(&path, cause));
        }
        None => return Err(malformed(&path, "has no model_type; expected \"bert\"")),
    }
    let shape: BertConfig = serde_json::from_value(config.clone())
        .map_err(|cause| malformed(&path, cause.to_string()))?;
    shape.check().map_err(|cause| malformed(&path, cause))?;
    Ok(shape)
}

/// Pooling and maximum length, as Lectern or `transformers` wrote them.
pub(super) fn settings(folder: &Path, config: &Value) -> Result<TeacherSettings, ModelError> {
    if let Some(ours) = config.get("lectern") {
        return serde_json::from_value(ours.clone()).map_err(|cause| {
            malformed(&folder.join("config.json"), format!("`lectern`: {cause}"))
        });
    }
    let positions = bert_config(folder, config)?.max_position_embeddings as usize;
    let stated = fs::read_to_string(folder.join("tokenizer_config.json"))
        .ok()
        .and_then(|text| serde_json::from_str::<Value>(&text).ok())
        // `transformers` writes a number beyond u64 where there is no limit.
        .and_then(|config| config.get("model_max_length")?.as_u64());
    let max_length = stated.map_or(positions, |stated| positions.min(stated as usize));
    Ok(TeacherSettings { pooling: Pooling::Pooler, max_length })
}

/// The labels in the order of the logits.
pub(super) fn labels(folder: &Path, config: &Value) -> Result<LabelSet, ModelError> {
    let path = folder.join("config.json");
    let names: HashMap<String, String> = config
        .get("id2label")
        .and_then(|names| serde_json::from_value(names.clone()).ok())
        .ok_or_else(|| {
            malformed(&path, "has no `id2label`: an encoder, not a classifier; fine-tune it first")
        })?;
    let in_order = (0..names.len())
        .map(|id| {
            names.get(&id.to_string()).cloned().ok_or_else(|| {
                malformed(
                    &path,
                    format!("`id2label` has {} names but none for id {id}", names.len()),
                )
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    LabelSet::new(in_order).map_err(|cause| malformed(&path, format!("`id2label`: {cause}")))
}
