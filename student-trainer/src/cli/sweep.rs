//! The flags of `sweep`.

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use anyhow::bail;
use clap::Args;
use lectern::commands::{DEVICE_VARIABLE, parse_device};

use crate::sweep::{Failure, SweepConfig, dry_run, sweep};

#[derive(Debug, Args)]
pub(super) struct SweepArgs {
    /// The runs as TOML: output, parallel, [base], [grid], [[runs]]
    #[arg(value_name = "FILE.toml")]
    file: PathBuf,
    /// Say what would be done with each run, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Threads of each run [default: the number of cores, shared by the runs that go on at a time]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// `cpu` or `cuda:N`, for every run
    #[arg(long, env = DEVICE_VARIABLE, default_value = "cpu")]
    device: String,
}

impl SweepArgs {
    pub(super) fn execute(self) -> anyhow::Result<()> {
        if self.dry_run {
            write!(io::stdout(), "{}", dry_run(&self.file)?)?;
            return Ok(());
        }
        if let Err(cause) = parse_device(&self.device) {
            bail!(lectern::commands::Usage(format!("--device {}: {cause}", self.device)));
        }
        let Self { file, threads, device, .. } = self;
        let summary = sweep(&SweepConfig { file, threads, device })?;
        if let Some(comparison) = &summary.comparison {
            write!(io::stdout(), "{}", comparison.to_markdown())?;
        }
        if summary.failures.is_empty() {
            return Ok(());
        }
        let line = |Failure { name, cause, log }: &Failure| {
            format!("\n  {name}: {cause}\n    (all of it: {})", log.display())
        };
        let lines: String = summary.failures.iter().map(line).collect();
        bail!("{} of {} runs failed:{lines}", summary.failures.len(), summary.runs)
    }
}
