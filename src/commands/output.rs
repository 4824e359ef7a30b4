//! Folders that results go to: results of an earlier run are never mixed or lost.

use std::{fs, io, path::Path};

use anyhow::{Context as _, bail};

use crate::files::remove_unfinished;

/// In the output folder while a training is under way.
pub const CHECKPOINT: &str = "checkpoint.safetensors";

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

/// Refuses an output folder that is not this training's to write to. `what` is what people call it, `finished` the file
/// that a training leaves when it is over.
pub fn check_output(folder: &Path, resume: bool, what: &str, finished: &str) -> anyhow::Result<()> {
    let has = |name: &str| folder.join(name).exists();
    match (resume, has(CHECKPOINT)) {
        (false, false) => Ok(check_free(folder)?),
        (false, true) => bail!(
            "{}: holds a {what} that was not finished; go on with --resume, or choose another --output",
            folder.display()
        ),
        (true, false) if has(finished) => {
            bail!("{}: nothing to resume, this {what} was finished", folder.display())
        }
        (true, unfinished) => {
            remove_unfinished(folder)
                .with_context(|| format!("cannot tidy {}", folder.display()))?;
            if unfinished { Ok(()) } else { Ok(check_free(folder)?) }
        }
    }
}

/// Makes `folder`, or takes it if it is empty.
pub fn claim_folder(folder: &Path) -> io::Result<()> {
    check_free(folder)?;
    fs::create_dir_all(folder).map_err(|cause| named(folder, &cause))
}

fn named(folder: &Path, cause: &io::Error) -> io::Error {
    io::Error::new(cause.kind(), format!("{}: {cause}", folder.display()))
}
