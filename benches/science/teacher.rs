//! The teacher server, as a process of its own.

use std::{net::TcpListener, path::Path, process::Child};

use anyhow::{Context as _, Result};

use crate::roles::Role;

/// A teacher server, until this is dropped.
pub(crate) struct Teacher {
    process: Child,
    pub(crate) url: String,
}

impl Teacher {
    /// Serves `model` on a free port with all cores, its rows stored in `rows`.
    pub(crate) fn start(model: &Path, rows: &Path) -> Result<Self> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let mut command = Role::Teacher.command()?;
        command
            .args(["serve", "--listen", &address, "--model"])
            .arg(model)
            .arg("--store")
            .arg(rows);
        // Students wait for it by themselves.
        let process = command.spawn().context("cannot start the teacher server")?;
        Ok(Self { process, url: format!("http://{address}") })
    }
}

impl Drop for Teacher {
    fn drop(&mut self) {
        let _ended = self.process.kill();
        let _status = self.process.wait();
    }
}
