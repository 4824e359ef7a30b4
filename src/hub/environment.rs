//! The hub that the environment names, by the variables of Python's `huggingface_hub`.

use std::{env, ffi::OsString, fs, path::PathBuf};

use super::{Hub, HubError};

const HUB: &str = "https://huggingface.co";

impl Hub {
    /// Reads `HF_ENDPOINT`, `HF_HOME`, `HF_HUB_CACHE`, `HF_TOKEN`, `HF_TOKEN_PATH` and `HF_HUB_OFFLINE`.
    pub fn from_env() -> Result<Self, HubError> {
        Self::from_variables(|name| env::var_os(name).filter(|value| !value.is_empty()))
    }

    /// The same from any variables.
    pub(super) fn from_variables(
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, HubError> {
        let path = |name: &str| variable(name).map(PathBuf::from);
        let text = |name: &str| variable(name).and_then(|value| value.into_string().ok());
        let home = path("HF_HOME")
            .or_else(|| path("XDG_CACHE_HOME").map(|caches| caches.join("huggingface")))
            .or_else(|| path("HOME").map(|home| home.join(".cache/huggingface")));
        let in_home = |name: &str| home.as_ref().map(|home| home.join(name));
        let cache = path("HF_HUB_CACHE").or_else(|| in_home("hub")).ok_or(HubError::NoHome)?;
        let token = text("HF_TOKEN").or_else(|| {
            let path = path("HF_TOKEN_PATH").or_else(|| in_home("token"))?;
            fs::read_to_string(path).ok()
        });
        let token = token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty());
        let yes = |value: String| ["1", "ON", "YES", "TRUE"].contains(&&*value.to_uppercase());
        Ok(Self {
            endpoint: text("HF_ENDPOINT")
                .map_or_else(|| HUB.to_owned(), |url| url.trim_end_matches('/').to_owned()),
            cache: std::path::absolute(&cache)
                .map_err(|source| HubError::Cache { path: cache, source })?,
            token,
            offline: text("HF_HUB_OFFLINE").is_some_and(yes),
        })
    }
}
