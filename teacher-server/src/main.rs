//! `teacher-server`: see `teacher-server --help`.

use std::process::ExitCode;

use clap::Parser as _;
use mimalloc::MiMalloc;
use teacher_server::cli::Cli;

/// Of everything, libtorch's tensors too, for the feature `override` replaces the C library's `malloc`. Many threads
/// allocate text, tokens, rows and messages at once, and no free memory stays between tensors for good; see `environment`.
#[global_allocator]
static HEAP: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    lectern::commands::run(|| cli.execute())
}
