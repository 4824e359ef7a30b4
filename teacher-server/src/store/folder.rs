//! The databases of a folder: told apart by name, and opened without that counting as a use.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use lectern::wire::Fingerprint;

use super::database::{Database, DatabaseError, EXTENSION};

/// The unit of `st_blocks`, whatever the file system's own is; see stat(2).
const BLOCK_BYTES: u64 = 512;

/// A database as far as it can be told without opening it.
#[derive(Debug)]
pub struct Listed {
    /// The file.
    pub path: PathBuf,
    /// Whose rows it holds: its name.
    pub fingerprint: Fingerprint,
    /// Its length.
    pub bytes: u64,
    /// When a server last opened, wrote or closed it: the file's time.
    pub used: SystemTime,
}

impl Listed {
    /// Opens the database for `look`. The engine writes to every file that it opens, so the file's time is
    /// set back afterwards: what keeps house must not make the unused seem used.
    pub fn look<T>(&self, look: impl FnOnce(Result<Database, DatabaseError>) -> T) -> T {
        let seen = look(Database::open(&self.path));
        // If this fails, the database merely seems to have been used.
        let file = File::options().write(true).open(&self.path);
        let _restored = file.and_then(|file| file.set_modified(self.used));
        seen
    }

    /// How long ago it was used.
    pub fn unused_for(&self) -> Duration {
        self.used.elapsed().unwrap_or_default()
    }
}

/// What the databases in `folder` take on the disk, in bytes. The engine makes files longer than it fills
/// them; what it has not written yet takes nothing.
pub(super) fn taken(folder: &Path) -> Result<u64, DatabaseError> {
    let blocks = |listed: Listed| {
        let about = fs::metadata(&listed.path);
        about.map_or(0, |about| about.blocks() * BLOCK_BYTES)
    };
    Ok(list(folder)?.into_iter().map(blocks).sum())
}

/// Where the database of the teacher `fingerprint` stands, or would.
pub fn path_of(folder: &Path, fingerprint: &Fingerprint) -> PathBuf {
    folder.join(format!("{fingerprint}.{EXTENSION}"))
}

/// The databases in `folder`, by fingerprint; none in a folder that does not exist.
pub fn list(folder: &Path) -> Result<Vec<Listed>, DatabaseError> {
    let cannot_read = |source| DatabaseError::Io { path: folder.to_owned(), source };
    let entries = match fs::read_dir(folder) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(cannot_read)?,
    };
    let mut listed = Vec::new();
    for entry in entries {
        let path = entry.map_err(cannot_read)?.path();
        let name = path.file_stem().and_then(|name| name.to_str());
        let fingerprint = name.and_then(|name| name.parse::<Fingerprint>().ok());
        // What else lies here is none of ours.
        let Some(fingerprint) = fingerprint.filter(|it| path_of(folder, it) == path) else {
            continue;
        };
        let about = fs::metadata(&path).and_then(|about| Ok((about.len(), about.modified()?)));
        let (bytes, used) = about.map_err(cannot_read)?;
        listed.push(Listed { path, fingerprint, bytes, used });
    }
    listed.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(listed)
}
