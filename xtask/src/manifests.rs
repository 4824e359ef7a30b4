//! `cargo xtask manifests`: deploy/ against the Kubernetes schemas, which a package ships, and
//! against the programs' own flags.

use std::process::Command;

use anyhow::{Result, ensure};

use crate::{libtorch, python, workspace};

/// The schemas of Kubernetes 1.37 and what reads them.
const SCHEMAS: [&str; 2] = ["kubernetes-validate==1.37.0", "PyYAML==6.0.3"];

/// Checks every manifest, the compose file and the Containerfiles' commands.
pub(crate) fn run() -> Result<()> {
    let python = python::environment("kubernetes", &SCHEMAS)?;
    libtorch::ensure_any()?;
    let programs = workspace::build_programs()?;
    let check = workspace::root().join("deploy/check.py");
    let status = Command::new(python).arg("-B").arg(check).arg(programs).status()?;
    ensure!(status.success(), "deploy/ is not in order: see above");
    Ok(())
}
