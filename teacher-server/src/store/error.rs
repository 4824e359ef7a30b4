//! What can be wrong with a database, and what to do about it.

use std::{
    fmt::Display,
    io,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
};

use lectern::wire::Fingerprint;

use super::database::{EXTENSION, FORMAT};

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// Another process has it.
    #[error(
        "{} is in use, most likely by another teacher-server; stop that one, or give this one a \
         folder of its own with --store DIR, or let both share their rows with --store redis://HOST",
        path.display()
    )]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// Its bytes are not what was written.
    #[error(
        "{} is damaged ({cause}); see what is left with `teacher-server store verify`, or delete \
         the file: its rows are computed again",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was noticed.
        cause: String,
    },
    /// It was written by another version of this program.
    #[error(
        "{} is of format {found}, and this version reads {FORMAT}; export it with the version that \
         wrote it and import the export, or delete the file: its rows are computed again",
        path.display()
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// The version found.
        found: u32,
    },
    /// Its name is not that of the teacher whose rows it holds.
    #[error(
        "{} holds rows of the teacher {found}; give the file that name, followed by .{EXTENSION}",
        path.display()
    )]
    OtherTeacher {
        /// The file.
        path: PathBuf,
        /// The teacher.
        found: Fingerprint,
    },
    /// The file or the folder cannot be read or written.
    #[error(
        "cannot use {}: {source}; make room or give access, or put the store elsewhere with \
         --store DIR, or keep rows in memory alone with --store none",
        path.display()
    )]
    Io {
        /// The file or the folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// The file at `path` is not what was written.
pub(super) fn damaged(path: &Path, cause: &dyn Display) -> DatabaseError {
    DatabaseError::Damaged { path: path.to_owned(), cause: cause.to_string() }
}

/// Runs `use_it` and says of its errors which file they are about. The engine trusts its pages and may
/// panic over a file that something else wrote to; here that is an error like any other.
pub(super) fn guarded<T>(
    path: &Path,
    use_it: impl FnOnce() -> Result<T, redb::Error>,
) -> Result<T, DatabaseError> {
    match panic::catch_unwind(AssertUnwindSafe(use_it)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(redb::Error::DatabaseAlreadyOpen)) => {
            Err(DatabaseError::InUse { path: path.to_owned() })
        }
        // So the engine calls a file that does not begin as its files do.
        Ok(Err(redb::Error::Io(source))) if source.kind() != io::ErrorKind::InvalidData => {
            Err(DatabaseError::Io { path: path.to_owned(), source })
        }
        // The file may be whole; only this handle of it is done with.
        Ok(Err(error @ redb::Error::PreviousIo)) => {
            Err(DatabaseError::Io { path: path.to_owned(), source: io::Error::other(error) })
        }
        Ok(Err(error)) => Err(damaged(path, &error)),
        Err(_) => Err(damaged(path, &"a page is not what was written")),
    }
}
