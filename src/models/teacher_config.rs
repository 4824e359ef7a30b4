//! What `config.json` of a Hugging Face folder says of a teacher: its shape, its labels, and how it is to
//! be read.

use std::{collections::HashMap, fs, path::Path};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{HeadKind, ModelError, encoders::Architecture, folder::malformed};
use crate::data::{LabelSet, Task};

/// What Lectern adds to `config.json`, under the key `lectern`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TeacherSettings {
    /// What turns hidden states into logits.
    #[serde(flatten)]
    pub head: HeadKind,
    /// Longest input in tokens.
    pub max_length: usize,
}

/// Longest input where neither the encoder nor the tokenizer has a limit.
const UNLIMITED: usize = 512;

/// Head and maximum length, as Lectern or `transformers` wrote them.
pub(super) fn settings(
    folder: &Path,
    config: &Value,
    architecture: &dyn Architecture,
) -> Result<TeacherSettings, ModelError> {
    if let Some(ours) = config.get("lectern") {
        return serde_json::from_value(ours.clone()).map_err(|cause| {
            malformed(&folder.join("config.json"), format!("`lectern`: {cause}"))
        });
    }
    let limits = [architecture.facts().longest_input, stated_max_length(folder)];
    let max_length = limits.into_iter().flatten().min();
    Ok(TeacherSettings { head: HeadKind::Family, max_length: max_length.unwrap_or(UNLIMITED) })
}

/// Longest input in tokens as the tokenizer of `folder` states it.
pub(super) fn stated_max_length(folder: &Path) -> Option<usize> {
    let text = fs::read_to_string(folder.join("tokenizer_config.json")).ok()?;
    let config: Value = serde_json::from_str(&text).ok()?;
    // `transformers` writes a number beyond u64 where there is no limit.
    config.get("model_max_length")?.as_u64().map(|stated| stated as usize)
}

/// What the outputs say. Where `problem_type` is absent, one output is a regression and several are the
/// labels of a single-label task, as `transformers` takes it.
pub(super) fn task(folder: &Path, config: &Value) -> Result<Task, ModelError> {
    let outputs = || config.get("id2label").and_then(Value::as_object).map(serde_json::Map::len);
    match config.get("problem_type") {
        None | Some(Value::Null) if outputs() == Some(1) => Ok(Task::Regression),
        None | Some(Value::Null) => Ok(Task::SingleLabel),
        Some(name) => name.as_str().and_then(Task::of_problem_type).ok_or_else(|| {
            let known = Task::ALL.map(Task::problem_type).join(", ");
            let cause = format!("problem_type {name} is not one of {known}");
            malformed(&folder.join("config.json"), cause)
        }),
    }
}

/// The task, and the labels in the order of the logits.
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
    LabelSet::of_task(task(folder, config)?, in_order)
        .map_err(|cause| malformed(&path, format!("`id2label`: {cause}")))
}
