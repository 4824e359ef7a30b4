//! How a program starts and ends: logs on standard error, exit code 0, 1 or 2.

use std::{
    error::Error,
    fmt,
    io::{self, IsTerminal as _},
    process::ExitCode,
};

use tracing_subscriber::EnvFilter;

use super::CommandError;

/// A flag or a combination of flags that cannot be meant; exit code 2.
#[derive(Debug)]
pub struct Usage(pub String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Usage {}

/// Runs a program: logs go to standard error at the level of `RUST_LOG` (default `info`), a failure is
/// printed with its causes.
pub fn run(program: impl FnOnce() -> anyhow::Result<()>) -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    match program() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::from(if error.is::<Usage>() { 2 } else { 1 })
        }
    }
}

/// Whoever read the output has seen enough, as `head` does.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref::<CommandError>(),
        Some(CommandError::Write { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe
    )
}

#[expect(clippy::print_stderr, reason = "the program's last words, whatever RUST_LOG says")]
fn report(error: &anyhow::Error) {
    let mut said = plain(error);
    eprintln!("error: {said}");
    for cause in error.chain().skip(1) {
        let text = plain(cause);
        // Many errors repeat their cause's words.
        if !said.contains(&text) {
            eprintln!("  because: {text}");
        }
        said = text;
    }
}

/// An error without the C++ frames that libtorch appends to its own.
fn plain(error: impl fmt::Display) -> String {
    let text = error.to_string();
    match text.split_once("\nException raised from") {
        Some((message, _frames)) => message.to_owned(),
        None => text,
    }
}
