//! Names on the hub: `org/name` or `org/name@revision`.

use std::fmt;

use hf_hub::{Repo, RepoType};

/// A repository and its revision: a branch, a tag or a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_org_and_name_make_a_name_of_the_hub() {
        let parsed = |text| Name::parse(text).map(|name| name.to_string());
        assert_eq!(
            parsed("google-bert/bert-base-chinese").unwrap(),
            "google-bert/bert-base-chinese@main"
        );
        assert_eq!(parsed("org/name@refs/pr/1").unwrap(), "org/name@refs/pr/1");
        for no_name in [
            "teacher",
            "./runs/a",
            "/abs/folder",
            "../up",
            "a/b/c",
            "a/",
            "/b",
            "a/b@",
            "a/b@../c",
            "a/../b",
            "a b/c",
            "-a/b",
            "a/b@x//y",
        ] {
            assert_eq!(parsed(no_name), None, "{no_name}");
        }
    }
}
