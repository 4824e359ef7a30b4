//! A child process that answers each line with one line of JSON, so that turns can alternate.

use std::{
    io::{BufRead as _, BufReader, Lines, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context as _, Result};
use serde::de::DeserializeOwned;

/// A child process with both ends of the talk. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Dialogue {
    process: Child,
    ask: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Dialogue {
    pub(crate) fn start(mut command: Command) -> Result<Self> {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {command:?}"))?;
        let ask = process.stdin.take();
        let answers = process.stdout.take().context("a child without an output")?;
        Ok(Self { process, ask, answers: BufReader::new(answers).lines() })
    }

    /// This program in another role, on `core` alone if one is given, with more in its environment.
    pub(crate) fn with_myself(
        role: &str,
        task: &str,
        core: Option<usize>,
        environment: Vec<(&'static str, &'static str)>,
    ) -> Result<Self> {
        let myself = std::env::current_exe()?;
        let mut command = match core {
            None => Command::new(myself),
            Some(core) => {
                let mut pinned = Command::new("taskset");
                pinned.args(["--cpu-list", &core.to_string()]).arg(myself);
                pinned
            }
        };
        command.args([role, task]).envs(environment);
        Self::start(command)
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Says `line` and reads the answer.
    pub(crate) fn ask<T: DeserializeOwned>(&mut self, line: &str) -> Result<T> {
        let ask = self.ask.as_mut().context("the talk has ended")?;
        writeln!(ask, "{line}")?;
        self.hear()
    }

    /// Reads an answer that needs no question.
    pub(crate) fn hear<T: DeserializeOwned>(&mut self) -> Result<T> {
        let line = self.answers.next().context("the child ended without an answer")??;
        serde_json::from_str(&line).with_context(|| format!("the child said {line:?}"))
    }

    /// Ends the talk, reads the last answer and waits for the child to end.
    pub(crate) fn end<T: DeserializeOwned>(mut self) -> Result<T> {
        drop(self.ask.take());
        let last = self.hear()?;
        self.process.wait()?;
        Ok(last)
    }
}

impl Drop for Dialogue {
    fn drop(&mut self) {
        let _ended = self.process.kill();
        let _status = self.process.wait();
    }
}
