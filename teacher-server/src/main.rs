//! `teacher-server`: see `teacher-server --help`.

use std::process::ExitCode;

use clap::Parser as _;
use teacher_server::cli::Cli;

fn main() -> ExitCode {
    let cli = Cli::parse();
    lectern::commands::run(|| cli.execute())
}
