//! `teacher-server`: see `teacher-server --help`.

use std::process::ExitCode;

use clap::Parser as _;
use mimalloc::MiMalloc;
use teacher_server::cli::Cli;

/// What is not a tensor: text, tokens, rows, messages, by many threads at once. Tensors stay in glibc's heaps, of which
/// there are few, see `environment`.
#[global_allocator]
static HEAP: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    lectern::commands::run(|| cli.execute())
}
