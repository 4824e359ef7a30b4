//! What a process has used, as the kernel counts it.

use std::{fs, ops::Sub};

use anyhow::{Context as _, Result};

use crate::status::Status;

/// The unit of `/proc/PID/stat`: Linux shows 100 ticks a second on every machine that Rust runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Seconds of one core.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CpuTime {
    pub(crate) user: f64,
    pub(crate) system: f64,
}

impl CpuTime {
    /// Of all threads of a process, to a hundredth of a second.
    pub(crate) fn of(process: u32) -> Result<Self> {
        let path = format!("/proc/{process}/stat");
        let stat = fs::read_to_string(&path).with_context(|| path.clone())?;
        // The second field is the program's name in brackets and may hold anything.
        let fields = stat.rsplit_once(") ").context("no program name")?.1;
        let ticks: Vec<&str> = fields.split(' ').collect();
        // proc_pid_stat(5): fields 14 and 15, of which the first here is field 3.
        let seconds = |field: usize| -> Result<f64> {
            let ticks = ticks.get(field - 3).with_context(|| format!("{path}: field {field}"))?;
            Ok(ticks.parse::<f64>()? / TICKS_PER_SECOND)
        };
        Ok(Self { user: seconds(14)?, system: seconds(15)? })
    }
}

impl Sub for CpuTime {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self { user: self.user - earlier.user, system: self.system - earlier.system }
    }
}

/// Memory of a process that is in RAM, bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resident {
    pub(crate) all: u64,
    /// The part of it that is pages of files, programs and libraries among them, which the kernel shares
    /// between processes and takes back when it needs them.
    pub(crate) files: u64,
}

impl Resident {
    pub(crate) fn of(process: u32) -> Result<Self> {
        let status = Status::of(process)?;
        Ok(Self { all: status.bytes("VmRSS")?, files: status.bytes("RssFile")? })
    }
}
