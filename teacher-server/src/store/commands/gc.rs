//! Gives disk space back: whole databases that nobody needs, and the holes in the others.

use std::{fs, io::Write, path::Path, time::Duration};

use indicatif::BinaryBytes;

use super::{
    super::{database::DatabaseError, folder::Listed},
    StoreCommandError, select,
};

/// What is to go.
#[derive(Debug, Clone, Default)]
pub struct Gc {
    /// The database of this teacher.
    pub teacher: Option<String>,
    /// Those that no server has used for so long.
    pub unused_for: Option<Duration>,
    /// Only say what would go.
    pub dry_run: bool,
}

/// Removes what `what` names from `folder` and compacts the rest. What a server is using stays.
pub fn gc(folder: &Path, what: &Gc, out: &mut dyn Write) -> Result<(), StoreCommandError> {
    let databases = select::all(folder)?;
    let named = match &what.teacher {
        Some(teacher) => Some(select::one(folder, Some(teacher))?.path),
        None => None,
    };
    let mut freed = 0;
    for listed in databases {
        let is_named = named.as_ref() == Some(&listed.path);
        let is_unused = what.unused_for.is_some_and(|limit| listed.unused_for() >= limit);
        freed += if is_named || is_unused {
            remove(&listed, is_named, what.dry_run, out)?
        } else {
            compact(&listed, what.dry_run, out)?
        };
    }
    let would = if what.dry_run { "would be " } else { "" };
    writeln!(out, "{} {would}freed", BinaryBytes(freed))?;
    Ok(())
}

/// The bytes freed. A database that was asked for by name and is in use is an error.
fn remove(
    listed: &Listed,
    is_named: bool,
    dry_run: bool,
    out: &mut dyn Write,
) -> Result<u64, StoreCommandError> {
    let short = listed.fingerprint.short();
    listed.look(|database| {
        let title = match &database {
            Ok(database) => format!("{} ({short})", database.card().name),
            Err(DatabaseError::InUse { .. }) if !is_named => {
                writeln!(out, "{short} is in use by a server and stays")?;
                return Ok(0);
            }
            Err(DatabaseError::InUse { .. }) => return database.map(|_| 0).map_err(Into::into),
            // Whatever it is, it holds nothing that could be read.
            Err(_) => format!("{short}, unreadable,"),
        };
        let size = BinaryBytes(listed.bytes);
        if dry_run {
            writeln!(out, "{title} would be removed: {size}")?;
        } else {
            fs::remove_file(&listed.path)
                .map_err(|source| DatabaseError::Io { path: listed.path.clone(), source })?;
            writeln!(out, "{title} removed: {size}")?;
        }
        Ok(listed.bytes)
    })
}

/// The bytes freed; how many there are to free is only known afterwards.
fn compact(listed: &Listed, dry_run: bool, out: &mut dyn Write) -> Result<u64, StoreCommandError> {
    let short = listed.fingerprint.short();
    listed.look(|database| {
        let mut database = match database {
            Ok(database) => database,
            Err(DatabaseError::InUse { .. }) => {
                writeln!(out, "{short} is in use by a server and stays as it is")?;
                return Ok(0);
            }
            Err(cause) => {
                writeln!(out, "{short} stays as it is: {cause}")?;
                return Ok(0);
            }
        };
        let name = database.card().name.clone();
        if dry_run {
            writeln!(out, "{name} ({short}) would be compacted")?;
            return Ok(0);
        }
        database.compact()?;
        let freed = listed.bytes.saturating_sub(database.bytes()?);
        writeln!(out, "{name} ({short}) compacted: {} freed", BinaryBytes(freed))?;
        Ok(freed)
    })
}
