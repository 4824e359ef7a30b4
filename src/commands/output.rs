//! Folders that results go to.

use std::{fs, io, path::Path};

/// Makes `folder`, or takes it if it is empty: results of an earlier run are never mixed or lost.
pub fn claim_folder(folder: &Path) -> io::Result<()> {
    let named =
        |cause: io::Error| io::Error::new(cause.kind(), format!("{}: {cause}", folder.display()));
    fs::create_dir_all(folder).map_err(named)?;
    if fs::read_dir(folder).map_err(named)?.next().is_some() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            format!(
                "{}: holds another run; choose another --output or move it away",
                folder.display()
            ),
        ));
    }
    Ok(())
}
