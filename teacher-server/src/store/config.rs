//! Which tiers a store has: what `--store` says, checked before anything is opened.

use std::{env, ffi::OsString, path::PathBuf};

use super::shared::{SharedUrl, SharedUrlError};

/// The tiers of a store.
#[derive(Debug, Clone, Default)]
pub struct StoreConfig {
    /// Budget of the memory tier; 0 for none.
    pub memory_bytes: u64,
    /// Folder of the disk tier; `None` for none.
    pub folder: Option<PathBuf>,
    /// What all databases in the folder may take on the disk; `None` for as much as there is.
    pub folder_bytes: Option<u64>,
    /// Redis of the shared tier; `None` for none.
    pub shared: Option<SharedUrl>,
}

/// Values of `--store` that mean nothing together or alone.
#[derive(Debug, thiserror::Error)]
pub enum StoreFlagError {
    /// Two folders.
    #[error("{first} and --store {second}: rows are kept in one folder; give one")]
    Folders {
        /// The folder given first.
        first: String,
        /// The folder given next.
        second: String,
    },
    /// Two servers.
    #[error("{first} and --store {second}: rows are shared in one Redis; give one")]
    Urls {
        /// The one given first, without its password.
        first: String,
        /// The one given next, without its password.
        second: String,
    },
    /// A URL that is none.
    #[error(transparent)]
    Url(#[from] SharedUrlError),
    /// `none` and something.
    #[error("none means that rows are kept in memory alone; give it alone, or not at all")]
    None,
    /// No folder to fall back to.
    #[error("is needed: the environment names no home folder; give a folder, or none")]
    NoHome,
}

impl StoreConfig {
    /// The tiers that the values of `--store` name; without any, rows are kept in [`default_folder`].
    pub fn from_flags(values: &[String], memory_bytes: u64) -> Result<Self, StoreFlagError> {
        let mut config = Self { memory_bytes, ..Self::default() };
        match values {
            [] => config.folder = Some(default_folder().ok_or(StoreFlagError::NoHome)?),
            [only] if only == "none" => {}
            values => values.iter().try_for_each(|value| config.add(value))?,
        }
        Ok(config)
    }

    fn add(&mut self, value: &str) -> Result<(), StoreFlagError> {
        if value == "none" {
            return Err(StoreFlagError::None);
        }
        if value.contains("://") {
            let url: SharedUrl = value.parse()?;
            return match self.shared.replace(url.clone()) {
                None => Ok(()),
                Some(first) => {
                    Err(StoreFlagError::Urls { first: first.to_string(), second: url.to_string() })
                }
            };
        }
        match self.folder.replace(value.into()) {
            None => Ok(()),
            Some(first) => Err(StoreFlagError::Folders {
                first: first.display().to_string(),
                second: value.to_owned(),
            }),
        }
    }
}

/// Where rows are kept unless told otherwise: `$XDG_CACHE_HOME/lectern/rows` or
/// `~/.cache/lectern/rows`; `None` where the environment names no home.
pub fn default_folder() -> Option<PathBuf> {
    Some(cache_folder(env::var_os("XDG_CACHE_HOME"), env::home_dir())?.join("lectern/rows"))
}

/// By the XDG Base Directory Specification, which wants relative paths ignored.
fn cache_folder(cache_home: Option<OsString>, home: Option<PathBuf>) -> Option<PathBuf> {
    let cache_home = cache_home.map(PathBuf::from).filter(|folder| folder.is_absolute());
    cache_home.or_else(|| Some(home.filter(|home| home.is_absolute())?.join(".cache")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(values: &[&str]) -> Result<StoreConfig, StoreFlagError> {
        let values: Vec<_> = values.iter().map(ToString::to_string).collect();
        StoreConfig::from_flags(&values, 1 << 20)
    }

    #[test]
    fn flags_name_the_tiers() {
        assert_eq!(from(&["none"]).unwrap().folder, None);
        assert_eq!(from(&["rows"]).unwrap().folder, Some("rows".into()));
        assert_eq!(from(&[]).unwrap().folder, default_folder());
        let shared = |values| from(values).unwrap().shared.map(|url| url.to_string());
        assert_eq!(shared(&["rows"]), None);
        let both = ["redis://:secret@cache", "rows"];
        assert_eq!(shared(&both), Some("redis://cache:6379/0".to_owned()));
        assert_eq!(from(&both).unwrap().folder, Some("rows".into()));
        assert_eq!(from(&both[..1]).unwrap().folder, None);
    }

    #[test]
    fn flags_that_mean_nothing_together_are_refused() {
        let two = from(&["a", "b"]).unwrap_err().to_string();
        assert!(two.contains("a and --store b"), "{two}");
        let two = from(&["redis://:secret@a", "redis://b"]).unwrap_err().to_string();
        assert!(two.contains("redis://a:6379/0 and --store redis://b:6379/0"), "{two}");
        assert!(from(&["rediss://a"]).unwrap_err().to_string().contains("TLS"));
        for values in [["none", "a"], ["a", "none"]] {
            assert!(matches!(from(&values), Err(StoreFlagError::None)));
        }
    }

    #[test]
    fn the_default_is_in_the_cache_of_the_user() {
        let folder = |cache: &str, home: &str| cache_folder(Some(cache.into()), Some(home.into()));
        assert_eq!(folder("/var/cache", "/home/me"), Some("/var/cache".into()));
        assert_eq!(folder("relative", "/home/me"), Some("/home/me/.cache".into()));
        assert_eq!(folder("", "/home/me"), Some("/home/me/.cache".into()));
        assert_eq!(folder("", ""), None);
    }
}
