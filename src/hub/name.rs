//! Names on the hub, `org/name` or `org/name@revision`, and the folders they have in the cache.

use std::{fmt, path::Path};

use hf_hub::{Repo, RepoType};

/// A repository and its revision: a branch, a tag or a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    pub(super) repo: String,
    pub(super) revision: String,
}

impl Name {
    /// Reads `org/name` or `org/name@revision`; the revision is `main` by default.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (repo, revision) = text.split_once('@').unwrap_or((text, "main"));
        let (org, name) = repo.split_once('/')?;
        let plain = |part: &str| {
            part.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
                && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
                && !part.contains("..")
        };
        let whole = plain(org) && plain(name) && revision.split('/').all(plain);
        whole.then(|| Self { repo: repo.to_owned(), revision: revision.to_owned() })
    }

    pub(super) fn repo(&self) -> Repo {
        Repo::with_revision(self.repo.clone(), RepoType::Model, self.revision.clone())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}@{}", self.repo, self.revision)
    }
}

/// Whether the text can name a commit.
pub(super) fn is_commit(text: &str) -> bool {
    text.len() >= 7 && text.chars().all(|c| c.is_ascii_hexdigit())
}

/// The repository whose files a folder of the cache holds; nothing for any other folder.
pub fn repository_of(folder: &Path) -> Option<String> {
    let snapshots = folder.parent()?;
    if snapshots.file_name()? != "snapshots" {
        return None;
    }
    let repo = snapshots.parent()?.file_name()?.to_str()?;
    Some(repo.strip_prefix("models--")?.replacen("--", "/", 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_org_and_name_make_a_name_of_the_hub() {
        let parsed = |text| Name::parse(text).map(|name| name.to_string());
        assert_eq!(parsed("google-bert/bert-base-chinese").unwrap(), "google-bert/bert-base-chinese@main");
        assert_eq!(parsed("org/name@refs/pr/1").unwrap(), "org/name@refs/pr/1");
        for no_name in [
            "teacher", "./runs/a", "/abs/folder", "../up", "a/b/c", "a/", "/b", "a/b@", "a/b@../c",
            "a/../b", "a b/c", "-a/b", "a/b@x//y",
        ] {
            assert_eq!(parsed(no_name), None, "{no_name}");
        }
    }

    #[test]
    fn a_folder_of_the_cache_is_called_by_its_repository() {
        let folder = Path::new("/cache/hub/models--org--a-name/snapshots/0123456");
        assert_eq!(repository_of(folder).unwrap(), "org/a-name");
        assert_eq!(repository_of(Path::new("/runs/snapshots/teacher")), None);
        assert_eq!(repository_of(Path::new("teacher")), None);
    }
}
