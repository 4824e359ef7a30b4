//! Files from the Python package index, by name and pinned by SHA-256. `pip` carries them, so
//! that its mirrors, proxies and certificates apply; finished ones are kept in `.cache/packages`.

use std::{
    fs,
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

use crate::{folder, python, workspace};

/// One file of a release; its name holds the package, the version and the platform.
pub(crate) struct Package {
    pub(crate) file: &'static str,
    pub(crate) sha256: &'static str,
}

impl Package {
    /// Downloads the file unless it is there, and answers its path.
    pub(crate) fn fetch(&self) -> Result<PathBuf> {
        let packages = workspace::cache().join("packages");
        let path = packages.join(self.file);
        if path.exists() {
            if folder::sha256(&path)? == self.sha256 {
                return Ok(path);
            }
            println!("{} is damaged: fetching it again", path.display());
            fs::remove_file(&path)?;
        }
        println!("fetching {}", self.file);
        let mut pip = python::pip()?;
        pip.args(["download", "--no-deps", "--disable-pip-version-check"]);
        pip.args(self.selection()).arg("--dest").arg(&packages);
        if !io::stderr().is_terminal() {
            pip.arg("--quiet");
        }
        ensure!(pip.status()?.success(), "pip could not download {}: see above", self.file);
        let found = folder::sha256(&path).context("pip chose another file")?;
        ensure!(
            found == self.sha256,
            "{} has SHA-256 {found} instead of {}: it is not the file this project was tested with",
            path.display(),
            self.sha256,
        );
        Ok(path)
    }

    /// The arguments that make pip choose exactly this file, whatever Python it runs on.
    fn selection(&self) -> Vec<String> {
        let Some(wheel) = self.file.strip_suffix(".whl") else {
            let requirement = self.file.trim_end_matches(".tar.gz").replacen('-', "==", 1);
            return vec!["--no-binary=:all:".into(), requirement];
        };
        let parts: Vec<_> = wheel.split('-').collect();
        let mut args = vec!["--only-binary=:all:".into(), parts[..2].join("==")];
        if let [.., python, abi, platforms] = parts[..] {
            let numbered = python.strip_prefix("cp3");
            args.extend(numbered.map(|minor| format!("--python-version=3.{minor}")));
            args.extend(numbered.map(|_| format!("--abi={abi}")));
            args.extend(platforms.split('.').map(|platform| format!("--platform={platform}")));
        }
        args
    }
}

/// Unpacks members of an archive into a folder. `picks` are pairs of origin and target; an origin
/// that ends with `/` stands for every member below it.
pub(crate) fn unpack(archive: &Path, into: &Path, picks: &[(&str, &str)]) -> Result<()> {
    // Python's zlib is native; a Rust one in an unoptimised build takes minutes for libtorch.
    let mut unpack = python::command()?;
    unpack.args(["-c", include_str!("unpack.py")]).arg(archive).arg(into);
    unpack.args(picks.iter().map(|(from, to)| format!("{from}={to}")));
    ensure!(unpack.status()?.success(), "unpacking {} failed: see above", archive.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wheel_s_name_selects_it_on_any_python() {
        let file = "torch-2.13.0-cp311-cp311-manylinux_2_28_x86_64.whl";
        let expected = [
            "--only-binary=:all:",
            "torch==2.13.0",
            "--python-version=3.11",
            "--abi=cp311",
            "--platform=manylinux_2_28_x86_64",
        ];
        assert_eq!(Package { file, sha256: "" }.selection(), expected);
    }

    #[test]
    fn a_source_archive_is_selected_without_a_platform() {
        let package = Package { file: "vaderSentiment-2.5.tar.gz", sha256: "" };
        assert_eq!(package.selection(), ["--no-binary=:all:", "vaderSentiment==2.5"]);
    }
}
