//! Folders that results go to: results of an earlier run are never mixed or lost.

use std::{fs, io, path::Path};

/// Refuses a `folder` that holds anything; for before the expensive work.
pub fn check_free(folder: &Path) -> io::Result<()> {
    let mut files = match fs::read_dir(folder) {
        Ok(files) => files,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(cause) => return Err(named(folder, &cause)),
    };
    if files.next().is_none() {
        return Ok(());
    }
    let taken = "holds another run; choose another --output or move it away";
    Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{}: {taken}", folder.display())))
}

/// Makes `folder`, or takes it if it is empty.
pub fn claim_folder(folder: &Path) -> io::Result<()> {
    check_free(folder)?;
    fs::create_dir_all(folder).map_err(|cause| named(folder, &cause))
}

fn named(folder: &Path, cause: &io::Error) -> io::Error {
    io::Error::new(cause.kind(), format!("{}: {cause}", folder.display()))
}
