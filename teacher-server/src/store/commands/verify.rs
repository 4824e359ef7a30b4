//! Whether every stored row is what was written.

use std::{io::Write, path::Path};

use indicatif::HumanCount;
use lectern::{commands::Progress, wire::ContentHash};

use super::{
    super::{database::Database, folder::Listed},
    CHUNK_ROWS, StoreCommandError, select,
};

/// Reads every row of the teacher `wanted`, or of all, and checks its checksum and its shape. With
/// `repair`, bad rows are dropped; without, they are an error in the end.
pub fn verify(
    folder: &Path,
    wanted: Option<&str>,
    repair: bool,
    out: &mut dyn Write,
) -> Result<(), StoreCommandError> {
    let mut bad = 0;
    let mut failure = None;
    for listed in select::one_or_all(folder, wanted)? {
        // One database that is in use or damaged must not hide what is in the others.
        match verify_one(&listed, repair, out) {
            Ok(found) => bad += found,
            Err(cause) => {
                writeln!(out, "{}: not verified", listed.fingerprint.short())?;
                failure.get_or_insert(cause);
            }
        }
    }
    match failure {
        Some(cause) => Err(cause),
        None if bad > 0 && !repair => Err(StoreCommandError::Bad { bad }),
        None => Ok(()),
    }
}

fn verify_one(
    listed: &Listed,
    repair: bool,
    out: &mut dyn Write,
) -> Result<u64, StoreCommandError> {
    listed.look(|database| {
        let mut database = database?;
        if repair {
            database.check()?;
        }
        let (rows, corrupt) = read_all(&database)?;
        if repair {
            database.remove(&corrupt)?;
        }
        let card = database.card();
        let what_became = if repair && !corrupt.is_empty() { ", dropped" } else { "" };
        let (rows, bad) = (HumanCount(rows), HumanCount(corrupt.len() as u64));
        let short = card.fingerprint.short();
        writeln!(out, "{} ({short}): {rows} rows, {bad} bad{what_became}", card.name)?;
        Ok(corrupt.len() as u64)
    })
}

/// The number of rows, and those that are not believed.
fn read_all(database: &Database) -> Result<(u64, Vec<ContentHash>), StoreCommandError> {
    let mut progress = Progress::new("verify", database.len()? as usize);
    let (mut rows, mut corrupt) = (0, Vec::new());
    for chunk in database.chunks(CHUNK_ROWS) {
        let chunk = chunk?;
        let read = chunk.rows.len() + chunk.corrupt.len();
        progress.advance(read, String::new);
        rows += read as u64;
        corrupt.extend(chunk.corrupt);
    }
    Ok((rows, corrupt))
}
