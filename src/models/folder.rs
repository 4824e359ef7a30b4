//! The text files of a model folder, with errors that name the file.

use std::{fs, path::Path};

use serde::de::DeserializeOwned;

use super::ModelError;
use crate::files::write_atomically;

/// Reads a JSON file as `T`.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, ModelError> {
    let text = fs::read_to_string(path)
        .map_err(|source| ModelError::Read { path: path.to_owned(), source })?;
    serde_json::from_str(&text).map_err(|cause| {
        let what = if cause.is_data() { "cannot be understood" } else { "not JSON" };
        malformed(path, format!("{what}: {cause}"))
    })
}

/// Writes `name` in `folder`, whole or not at all.
pub(super) fn write_text(folder: &Path, name: &str, text: &str) -> Result<(), ModelError> {
    let path = folder.join(name);
    write_atomically(&path, text.as_bytes()).map_err(|source| ModelError::Read { path, source })
}

/// An error about what a file holds.
pub(super) fn malformed(path: &Path, cause: impl Into<String>) -> ModelError {
    ModelError::Malformed { path: path.to_owned(), cause: cause.into() }
}
