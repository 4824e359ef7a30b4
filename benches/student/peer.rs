//! PyTorch as a process of its own, asked for one turn at a time.

use std::{
    io::{BufRead as _, BufReader, Lines, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context as _, Result};

/// A script of `benches` that does one turn for each line it gets, and says how long it took.
pub(crate) struct PyTorch {
    process: Child,
    ask: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl PyTorch {
    pub(crate) fn start(python: &str, script: &str, arguments: &[String]) -> Result<Self> {
        let benches = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches");
        let mut process = Command::new(python)
            .arg(benches.join(script))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let ask = process.stdin.take().context("no stdin")?;
        let answers = BufReader::new(process.stdout.take().context("no stdout")?).lines();
        Ok(Self { process, ask, answers })
    }

    /// Seconds of one turn.
    pub(crate) fn turn(&mut self) -> Result<f64> {
        writeln!(self.ask, "turn")?;
        let seconds = self.answers.next().context("the PyTorch side ended early")??;
        Ok(seconds.parse()?)
    }
}

impl Drop for PyTorch {
    fn drop(&mut self) {
        let _ended = self.process.kill();
        let _status = self.process.wait();
    }
}
