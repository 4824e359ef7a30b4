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

/// What people call a model: the last part of its folder's path, or `org/name` of a folder in the Hugging Face
/// hub's cache, `models--org--name/snapshots/COMMIT`.
pub(super) fn name(folder: &Path) -> Option<String> {
    let whole = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    let last = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let snapshots = whole.parent().filter(|parent| parent.ends_with("snapshots"));
    let repository = snapshots.and_then(Path::parent).and_then(last);
    match repository.as_deref().and_then(|name| name.strip_prefix("models--")) {
        Some(name) => Some(name.replacen("--", "/", 1)),
        None => last(&whole),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_the_hubs_cache_is_called_by_its_repository() {
        let named = |path| name(Path::new(path)).unwrap();
        assert_eq!(named("/absent/hub/models--org--a-name/snapshots/0123456"), "org/a-name");
        assert_eq!(named("/absent/snapshots/teacher"), "teacher");
    }
}
