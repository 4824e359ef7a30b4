//! Which of a folder's databases is meant.

use std::path::Path;

use super::{
    super::{
        database::DatabaseError,
        folder::{Listed, list},
    },
    StoreCommandError,
};

/// A database with what it takes to name it.
struct Candidate {
    listed: Listed,
    /// The teacher's name; of a database that cannot be opened, why.
    name: Result<String, &'static str>,
}

impl Candidate {
    fn new(listed: Listed) -> Self {
        let name = listed.look(|database| match database {
            Ok(database) => Ok(database.card().name.clone()),
            Err(DatabaseError::InUse { .. }) => Err("in use"),
            Err(_) => Err("unreadable"),
        });
        Self { listed, name }
    }

    /// Whether `wanted` is the teacher's name or the start of its fingerprint.
    fn is(&self, wanted: &str) -> bool {
        let digits = wanted.to_ascii_lowercase();
        let of_fingerprint = self.listed.fingerprint.as_str().starts_with(&digits);
        self.name.as_ref().is_ok_and(|name| name == wanted)
            || (!digits.is_empty() && of_fingerprint)
    }

    fn title(&self) -> String {
        let short = self.listed.fingerprint.short();
        match &self.name {
            Ok(name) => format!("{name} ({short})"),
            Err(why) => format!("{short} ({why})"),
        }
    }
}

/// The databases of `folder`, at least one.
pub(super) fn all(folder: &Path) -> Result<Vec<Listed>, StoreCommandError> {
    let listed = list(folder)?;
    if listed.is_empty() {
        return Err(StoreCommandError::Nothing { folder: folder.to_owned() });
    }
    Ok(listed)
}

/// The only database of `folder`, or the one of the teacher `wanted`: its name or the first digits of its
/// fingerprint.
pub(super) fn one(folder: &Path, wanted: Option<&str>) -> Result<Listed, StoreCommandError> {
    let candidates: Vec<_> = all(folder)?.into_iter().map(Candidate::new).collect();
    let titles: Vec<_> = candidates.iter().map(Candidate::title).collect();
    let fits = |candidate: &Candidate| wanted.is_none_or(|wanted| candidate.is(wanted));
    let mut fitting: Vec<_> = candidates.into_iter().filter(fits).collect();
    let (folder, teachers) = (folder.to_owned(), titles.join(", "));
    match (fitting.pop(), wanted) {
        (Some(only), _) if fitting.is_empty() => Ok(only.listed),
        (None, None) => Err(StoreCommandError::Nothing { folder }),
        (Some(_), None) => Err(StoreCommandError::Several { folder, teachers }),
        (last, Some(wanted)) => {
            let (wanted, found) = (wanted.to_owned(), fitting.len() + usize::from(last.is_some()));
            Err(StoreCommandError::Teacher { folder, wanted, found, teachers })
        }
    }
}

/// The databases a command is about: that of the teacher `wanted`, or all.
pub(super) fn one_or_all(
    folder: &Path,
    wanted: Option<&str>,
) -> Result<Vec<Listed>, StoreCommandError> {
    match wanted {
        Some(_) => Ok(vec![one(folder, wanted)?]),
        None => all(folder),
    }
}
