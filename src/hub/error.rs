//! Why a name of the hub does not become a folder.

use std::{io, path::PathBuf};

use hf_hub::api::sync::ApiError;

use super::name::Name;
use crate::models::ModelError;

/// Why a name of the hub does not become a folder.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// Neither a folder nor a name.
    #[error(
        "{0}: no such folder, and no name on the Hugging Face hub, which has the form org/name or \
         org/name@revision"
    )]
    NoFolder(PathBuf),
    /// Nowhere to keep files.
    #[error("no place for the cache of the Hugging Face hub; set HF_HOME")]
    NoHome,
    /// The cache cannot be read or written.
    #[error("{path}: {source}; HF_HUB_CACHE names another place for the cache")]
    Cache {
        /// The cache, or the folder in it.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Offline, and not there.
    #[error(
        "{name}: {} is not in the cache {cache}, and HF_HUB_OFFLINE forbids to fetch it; run once \
         without HF_HUB_OFFLINE, or give a local folder",
        wanted(file.as_deref(), commit)
    )]
    NotCached {
        /// What was asked for.
        name: String,
        /// The file that the commit lacks; none, if nothing of it is there.
        file: Option<String>,
        /// The commit.
        commit: String,
        /// Where it was looked for.
        cache: PathBuf,
    },
    /// An answer other than the file.
    #[error("{name}: {endpoint} answered {status} for {file}; {}", remedy(*status))]
    Refused {
        /// What was asked for.
        name: String,
        /// Who was asked.
        endpoint: String,
        /// What was asked for.
        file: String,
        /// The HTTP status.
        status: u16,
    },
    /// No answer.
    #[error(
        "{name}: {file} cannot be had from {endpoint}: {cause}; check the network, HF_ENDPOINT and \
         HTTPS_PROXY, or give a local folder"
    )]
    Unreachable {
        /// What was asked for.
        name: String,
        /// Who was asked.
        endpoint: String,
        /// What was asked for.
        file: String,
        /// The library's words.
        cause: String,
    },
    /// A download that was begun and failed.
    #[error(
        "{name}: {file} from {endpoint} is not whole: {cause}; run the command again, it goes on where \
         it stopped; if that fails too, remove the `.part` files from the cache"
    )]
    Broken {
        /// What was asked for.
        name: String,
        /// Who was asked.
        endpoint: String,
        /// What was asked for.
        file: String,
        /// The library's words.
        cause: String,
    },
    /// An answer that no hub gives.
    #[error("{name}: {endpoint} does not answer as a Hugging Face hub does; check HF_ENDPOINT")]
    Strange {
        /// What was asked for.
        name: String,
        /// Who was asked.
        endpoint: String,
    },
    /// A repository that holds no model.
    #[error("{name}: has no {file} at commit {commit}; name a repository that holds an encoder")]
    Lacks {
        /// What was asked for.
        name: String,
        /// Its commit.
        commit: String,
        /// What is not there.
        file: &'static str,
    },
    /// An index of shards that cannot be understood.
    #[error("{name}: at commit {commit}: {source}")]
    Index {
        /// What was asked for.
        name: String,
        /// Its commit.
        commit: String,
        /// The cause, with the file.
        source: Box<ModelError>,
    },
}

fn wanted(file: Option<&str>, commit: &str) -> String {
    file.map_or_else(|| format!("revision {commit}"), |file| format!("{file} of commit {commit}"))
}

const fn remedy(status: u16) -> &'static str {
    match status {
        401 | 403 => {
            "the name does not exist, or its reader must say who he is: set HF_TOKEN to the token of \
             someone who may read it"
        }
        404 => "check name and revision; no local folder has that name either",
        429 => "it was asked too often: wait, or set HF_TOKEN",
        _ => "try again later",
    }
}

impl HubError {
    /// What the library's error about `file` means.
    pub(super) fn of(error: ApiError, name: String, file: String, endpoint: String) -> Self {
        match error {
            ApiError::RequestError(cause) => match *cause {
                ureq::Error::StatusCode(status) => Self::Refused { name, endpoint, file, status },
                ureq::Error::Json(_) => Self::Strange { name, endpoint },
                cause => Self::Unreachable { name, endpoint, file, cause: cause.to_string() },
            },
            ApiError::MissingHeader(_)
            | ApiError::InvalidHeader(_)
            | ApiError::ParseIntError(_) => Self::Strange { name, endpoint },
            ApiError::TooManyRetries(cause) => {
                Self::Broken { name, endpoint, file, cause: cause.to_string() }
            }
            cause => Self::Broken { name, endpoint, file, cause: cause.to_string() },
        }
    }

    pub(super) fn index(name: &Name, commit: &str) -> impl FnOnce(ModelError) -> Self {
        let (name, commit) = (name.to_string(), commit.to_owned());
        move |source| Self::Index { name, commit, source: Box::new(source) }
    }
}
