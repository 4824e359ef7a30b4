//! Folders that are made whole or not at all: filled beside their place, sealed by a list of
//! their files, then renamed. A folder without a true seal is made again.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};

use crate::workspace;

const SEAL: &str = ".seal";

/// How closely a seal is compared with what lies in the folder.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Look {
    /// File sizes: milliseconds.
    Sizes,
    /// SHA-256 of every file.
    Contents,
}

/// Says why `folder` is not what `recipe` makes, or `Ok` when it is.
pub(crate) fn check(folder: &Path, recipe: &str, look: Look) -> Result<()> {
    let seal = fs::read_to_string(folder.join(SEAL)).context("it was never finished")?;
    let mut lines = seal.lines();
    ensure!(lines.next() == Some(recipe), "it was made by another recipe");
    for line in lines {
        let mut fields = line.splitn(3, ' ');
        let (Some(sha256), Some(size), Some(name)) = (fields.next(), fields.next(), fields.next())
        else {
            bail!("its list of files is damaged");
        };
        let path = folder.join(name);
        let found = fs::metadata(&path).with_context(|| format!("{name} is missing"))?.len();
        ensure!(found.to_string() == size, "{name} has {found} bytes instead of {size}");
        if look == Look::Contents {
            ensure!(self::sha256(&path)? == sha256, "the content of {name} has changed");
        }
    }
    Ok(())
}

/// The recipe that `folder` was made by, if it was ever finished.
pub(crate) fn recipe(folder: &Path) -> Option<String> {
    fs::read_to_string(folder.join(SEAL)).ok()?.lines().next().map(str::to_owned)
}

/// Makes `folder` by `fill`, unless it is there already; answers whether it had to.
pub(crate) fn ensure_made(
    folder: &Path,
    recipe: &str,
    look: Look,
    fill: impl FnOnce(&Path) -> Result<()>,
) -> Result<bool> {
    if check(folder, recipe, look).is_ok() {
        return Ok(false);
    }
    let _turn = wait_for_turn()?;
    match check(folder, recipe, look) {
        Ok(()) => return Ok(false),
        Err(why) if folder.exists() => println!("making {} again: {why}", folder.display()),
        Err(_) => println!("making {}", folder.display()),
    }
    let partial = folder.with_added_extension("partial");
    remove(&partial)?;
    fs::create_dir_all(&partial)?;
    fill(&partial).with_context(|| format!("making {}", folder.display()))?;
    seal(&partial, recipe)?;
    remove(folder)?;
    fs::rename(&partial, folder)?;
    Ok(true)
}

/// SHA-256 of a file as lower-case hexadecimal digits.
pub(crate) fn sha256(path: &Path) -> Result<String> {
    let mut hasher = Sha256::new();
    let mut file = File::open(path).with_context(|| format!("reading {}", path.display()))?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match io::Read::read(&mut file, &mut buffer)? {
            0 => break,
            read => hasher.update(&buffer[..read]),
        }
    }
    let mut digits = String::new();
    for byte in hasher.finalize() {
        write!(digits, "{byte:02x}")?;
    }
    Ok(digits)
}

fn seal(folder: &Path, recipe: &str) -> Result<()> {
    let mut text = Vec::new();
    writeln!(text, "{recipe}")?;
    for path in files_below(folder)? {
        let (size, sha256) = (fs::metadata(&path)?.len(), sha256(&path)?);
        let name = path.strip_prefix(folder)?.to_str().context("a file name is not UTF-8")?;
        writeln!(text, "{sha256} {size} {name}")?;
    }
    let mut file = File::create(folder.join(SEAL))?;
    file.write_all(&text)?;
    Ok(file.sync_all()?)
}

/// Regular files in path order; links are not followed, what they point to is listed itself.
fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    let mut files = Vec::new();
    for entry in entries {
        match entry.file_type()? {
            kind if kind.is_dir() => files.extend(files_below(&entry.path())?),
            kind if kind.is_file() => files.push(entry.path()),
            _ => {}
        }
    }
    Ok(files)
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Two `cargo xtask` at once must not fill the same folder; the lock ends with the process.
fn wait_for_turn() -> Result<File> {
    fs::create_dir_all(workspace::cache())?;
    let lock = File::create(workspace::cache().join("lock"))?;
    if lock.try_lock().is_err() {
        println!("waiting for another `cargo xtask` to finish its set-up");
        lock.lock()?;
    }
    Ok(lock)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(folder: &Path, recipe: &str, content: &str) -> bool {
        let fill = |partial: &Path| Ok(fs::write(partial.join("file"), content)?);
        ensure_made(folder, recipe, Look::Contents, fill).unwrap()
    }

    #[test]
    fn a_finished_folder_is_left_alone_and_a_damaged_one_made_again() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("folder");
        assert!(make(&folder, "one", "abc"));
        assert!(!make(&folder, "one", "never written"));

        fs::write(folder.join("file"), "abd").unwrap();
        assert!(check(&folder, "one", Look::Sizes).is_ok());
        let why = check(&folder, "one", Look::Contents).unwrap_err().to_string();
        assert_eq!(why, "the content of file has changed");
        assert!(make(&folder, "one", "abc"));

        fs::remove_file(folder.join(SEAL)).unwrap();
        assert!(make(&folder, "one", "abc"));
        assert!(make(&folder, "two", "abc"));
    }

    #[test]
    fn a_failed_filling_leaves_the_old_folder_in_place() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("folder");
        make(&folder, "one", "abc");
        assert!(ensure_made(&folder, "two", Look::Sizes, |_| bail!("no network")).is_err());
        assert!(check(&folder, "one", Look::Contents).is_ok());
    }

    /// Expected value: FIPS 180-2, appendix B.1.
    #[test]
    fn sha256_of_abc_is_the_standards_own() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "abc").unwrap();
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(file.path()).unwrap(), expected);
    }
}
