//! `student-trainer`: see `student-trainer --help`.

use std::process::ExitCode;

use clap::Parser as _;
use student_trainer::cli::Cli;

fn main() -> ExitCode {
    let cli = Cli::parse();
    lectern::commands::run(|| cli.execute())
}
