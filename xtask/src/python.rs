//! Python for errands: pip as a downloader, and virtual environments with pinned packages.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};

use crate::workspace;

/// `python3` from the search path.
pub(crate) fn command() -> Result<Command> {
    if !runs(Path::new("python3"), "") {
        bail!("python3 is needed to fetch packages: install Python 3.9 or later with pip");
    }
    Ok(Command::new("python3"))
}

/// `python3 -m pip`.
pub(crate) fn pip() -> Result<Command> {
    let mut pip = command()?;
    ensure!(
        runs(Path::new("python3"), "import pip"),
        "python3 has no pip: install it (Debian, Ubuntu: apt install python3-pip)"
    );
    pip.args(["-m", "pip"]);
    Ok(pip)
}

/// The interpreter of a virtual environment in `.cache/venv-NAME` with `requirements`, each of them
/// `name==version`; made when it is not there, is for another list, or has lost something.
pub(crate) fn environment(name: &str, requirements: &[&str]) -> Result<PathBuf> {
    let home = workspace::cache().join(format!("venv-{name}"));
    let (python, seal) = (home.join("bin/python"), home.join("requirements.txt"));
    let list = requirements.join("\n");
    // A list of strings looks the same in Rust and in Python.
    let probe = format!(
        "import importlib.metadata as found\n\
         for name, version in (pin.split('==') for pin in {requirements:?}):\n\
         \tassert found.version(name) == version"
    );
    if fs::read_to_string(&seal).is_ok_and(|sealed| sealed == list) && runs(&python, &probe) {
        return Ok(python);
    }
    println!("making {}", home.display());
    let made = command()?.args(["-m", "venv", "--clear"]).arg(&home).status()?;
    ensure!(
        made.success(),
        "python3 cannot make virtual environments (Debian, Ubuntu: apt install python3-venv)"
    );
    let installed = Command::new(&python)
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
        .args(requirements)
        .status()?;
    ensure!(installed.success(), "pip could not install {}: see above", requirements.join(" "));
    // Written last: an environment without it is made again.
    fs::write(&seal, list).with_context(|| format!("writing {}", seal.display()))?;
    Ok(python)
}

fn runs(python: &Path, code: &str) -> bool {
    let mut probe = Command::new(python);
    probe.args(["-c", code]).stdout(Stdio::null()).stderr(Stdio::null());
    probe.status().is_ok_and(|status| status.success())
}
