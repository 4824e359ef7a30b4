//! What the kernel says of a process.

use std::fs;

use anyhow::{Context as _, Result};

/// `/proc/PID/status` as it was once.
#[derive(Debug)]
pub(crate) struct Status {
    path: String,
    text: String,
}

impl Status {
    pub(crate) fn of(process: u32) -> Result<Self> {
        let path = format!("/proc/{process}/status");
        let text = fs::read_to_string(&path).with_context(|| path.clone())?;
        Ok(Self { path, text })
    }

    /// A field that is an amount of memory, as `proc_pid_status(5)` names it.
    pub(crate) fn bytes(&self, field: &str) -> Result<u64> {
        let line = self.text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
        let kibibytes = kibibytes.with_context(|| format!("{}: no {field}", self.path))?;
        Ok(kibibytes.trim().parse::<u64>()? << 10)
    }
}
