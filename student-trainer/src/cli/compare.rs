//! The flags of `compare`.

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use clap::{Args, ValueEnum};

use crate::compare::{CompareConfig, compare};

#[derive(Debug, Args)]
pub(super) struct CompareArgs {
    /// Run folders, or folders of the runs of several seeds (seed-1, seed-2, ...), which are one row
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Run that the others are tested against [default: the first]
    #[arg(long, value_name = "RUN")]
    baseline: Option<PathBuf>,
    /// Set that is compared [default: test, or dev where a run has none]
    #[arg(long, value_enum)]
    split: Option<Split>,
    /// Also write to FILE, as JSON or Markdown by its ending; may be repeated
    #[arg(long, value_name = "FILE.json|FILE.md")]
    output: Vec<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Split {
    Dev,
    Test,
}

impl CompareArgs {
    pub(super) fn execute(self) -> anyhow::Result<()> {
        let split = self.split.map(|split| match split {
            Split::Dev => "dev".to_owned(),
            Split::Test => "test".to_owned(),
        });
        let Self { runs, baseline, output, .. } = self;
        let comparison = compare(&CompareConfig { runs, baseline, split, output })?;
        write!(io::stdout(), "{}", comparison.to_markdown())?;
        Ok(())
    }
}
