//! Models by their names on the Hugging Face hub, fetched into the cache that all Hugging Face programs
//! of a machine share. Knows files and HTTP, not what is in the files.

mod environment;
mod error;
mod files;
mod name;
mod progress;
#[cfg(test)]
mod tests;

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use hf_hub::{
    Cache, Repo, RepoType,
    api::sync::{Api, ApiBuilder, ApiError},
};
use tracing::{info, warn};

pub use self::error::HubError;
use self::{files::Missing, name::Name, progress::Log};

/// How often a broken download is taken up again before it is an error.
const RETRIES: usize = 3;

/// What errors call the answer that names all files of a repository.
const LISTING: &str = "its list of files";

/// Where the hub is, and how it may be used.
#[derive(Clone)]
pub struct Hub {
    /// `HF_ENDPOINT`.
    endpoint: String,
    /// `HF_HUB_CACHE`, else `hub` in `HF_HOME`.
    cache: PathBuf,
    /// `HF_TOKEN`, else what `hf auth login` left in `HF_HOME`.
    token: Option<String>,
    /// `HF_HUB_OFFLINE`: what is not in the cache does not exist.
    offline: bool,
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        // Without the token, which is nobody else's business.
        let mut out = f.debug_struct("Hub");
        out.field("endpoint", &self.endpoint).field("cache", &self.cache);
        out.field("offline", &self.offline).finish_non_exhaustive()
    }
}

/// The folder that `model` means, by the environment's hub. See [`Hub::resolve`].
pub fn resolve(model: &Path) -> Result<PathBuf, HubError> {
    if model.is_dir() {
        return Ok(model.to_owned());
    }
    Hub::from_env()?.resolve(model)
}

impl Hub {
    /// The folder that `model` means: a local one of that path, else that of `org/name` or
    /// `org/name@revision` in the cache, after whatever it lacks was fetched from the hub: configuration,
    /// tokenizer and weights, nothing else. A hub that cannot be reached is no error where the cache has
    /// everything.
    pub fn resolve(&self, model: &Path) -> Result<PathBuf, HubError> {
        if model.exists() {
            return Ok(model.to_owned());
        }
        let no_folder = || HubError::NoFolder(model.to_owned());
        let name = model.to_str().and_then(Name::parse).ok_or_else(no_folder)?;
        if self.offline {
            let not_cached = |Missing { file, commit }| HubError::NotCached {
                name: name.to_string(),
                file,
                commit,
                cache: self.cache.clone(),
            };
            return self.cached(&name)?.map_err(not_cached);
        }
        match self.fetch(&name) {
            Err(error @ HubError::Unreachable { .. }) => {
                let Ok(folder) = self.cached(&name)? else { return Err(error) };
                warn!(%error, folder = %folder.display(), "going on with what the cache has");
                Ok(folder)
            }
            fetched => fetched,
        }
    }

    /// The folder of a name that is whole in the cache, or what it lacks.
    fn cached(&self, name: &Name) -> Result<Result<PathBuf, Missing>, HubError> {
        let repo = self.cache().repo(name.repo());
        let reference =
            self.cache.join(name.repo().folder_name()).join("refs").join(&name.revision);
        let commit = match fs::read_to_string(reference) {
            Ok(commit) => commit.trim().to_owned(),
            // A revision may be a commit itself.
            Err(_) => name.revision.clone(),
        };
        let folder = repo.pointer_path(&commit);
        if !folder.is_dir() {
            return Ok(Err(Missing { file: None, commit }));
        }
        let present = fs::read_dir(&folder)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|source| HubError::Cache { path: folder.clone(), source })?;
        let present: Vec<_> =
            present.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        let wanted = match files::wanted(&present) {
            Ok(wanted) => wanted,
            Err(file) => return Ok(Err(Missing { file: Some(file.to_owned()), commit })),
        };
        let shards = files::shards(&folder, &wanted).map_err(HubError::index(name, &commit))?;
        let lacks = |file: &String| !folder.join(file).is_file();
        Ok(match wanted.into_iter().chain(shards).find(lacks) {
            Some(file) => Err(Missing { file: Some(file), commit }),
            None => Ok(folder),
        })
    }

    /// Asks the hub which commit the name means and fetches those of its files that the cache lacks.
    fn fetch(&self, name: &Name) -> Result<PathBuf, HubError> {
        let api = ApiBuilder::from_cache(self.cache())
            .with_endpoint(self.endpoint.clone())
            .with_token(self.token.clone())
            .with_user_agent("lectern", env!("CARGO_PKG_VERSION"))
            .with_progress(false)
            .with_retries(RETRIES)
            .build()
            .map_err(self.failed(name, LISTING))?;
        let info = api.repo(name.repo()).info().map_err(self.failed(name, LISTING))?;
        let commit = info.sha;
        if !name::is_commit(&commit) {
            return Err(HubError::Strange {
                name: name.to_string(),
                endpoint: self.endpoint.clone(),
            });
        }
        let listed: Vec<_> = info.siblings.into_iter().map(|file| file.rfilename).collect();
        let wanted = files::wanted(&listed).map_err(|file| HubError::Lacks {
            name: name.to_string(),
            commit: commit.clone(),
            file,
        })?;
        let folder = self.cache().repo(name.repo()).pointer_path(&commit);
        self.fetch_files(&api, name, &folder, &commit, &wanted)?;
        let shards = files::shards(&folder, &wanted).map_err(HubError::index(name, &commit))?;
        self.fetch_files(&api, name, &folder, &commit, &shards)?;
        // Last, so that a name never means a folder that is not whole.
        let cache = self.cache().repo(name.repo());
        cache
            .create_ref(&commit)
            .map_err(|source| HubError::Cache { path: self.cache.clone(), source })?;
        info!(model = %name, commit, folder = %folder.display(), "from the hub");
        Ok(folder)
    }

    /// Every file from one commit, even if the branch moves meanwhile.
    fn fetch_files(
        &self,
        api: &Api,
        name: &Name,
        folder: &Path,
        commit: &str,
        files: &[String],
    ) -> Result<(), HubError> {
        let pinned = Repo::with_revision(name.repo.clone(), RepoType::Model, commit.to_owned());
        let pinned = api.repo(pinned);
        for file in files {
            while !folder.join(file).is_file() {
                match pinned.download_with_progress(file, Log::default()) {
                    Ok(_) => break,
                    // The library gives up after some seconds; a large file takes longer.
                    Err(ApiError::LockAcquisition(_)) => {
                        info!(file, "waiting for another process that fetches it");
                    }
                    Err(error) => return Err(self.failed(name, file)(error)),
                }
            }
        }
        Ok(())
    }

    fn cache(&self) -> Cache {
        Cache::new(self.cache.clone())
    }

    /// Turns what the library says about `file` into what to do about it.
    fn failed(&self, name: &Name, file: &str) -> impl FnOnce(ApiError) -> HubError {
        let (name, file, endpoint) = (name.to_string(), file.to_owned(), self.endpoint.clone());
        move |error| HubError::of(error, name, file, endpoint)
    }
}
