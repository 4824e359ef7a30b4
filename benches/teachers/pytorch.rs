//! The PyTorch side: `pytorch.py` for a whole training, or for turns of a few steps.

use std::{
    ffi::OsStr,
    io::{BufRead as _, BufReader, Lines, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use crate::tnews::Tnews;

/// The recipe of both sides, as flags of `teacher-server finetune`; `pytorch.py` has the same numbers.
pub(crate) const RECIPE: &str = "--head linear --pooling mean --freeze-embeddings --batch-size 32 --lr 1e-4 \
    --warmup 0.1 --weight-decay 0.01 --clip-norm 1 --dropout 0.1 --max-length 128 --epochs 2 --seed 1";

const EPOCHS: &str = "2";
const SEED: &str = "1";

fn script(python: &str, encoder: &Path, train: &Path) -> Command {
    let mut command = Command::new(python);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/teachers/pytorch.py"));
    command.args([encoder, train]).stdout(Stdio::piped());
    command
}

/// What a whole training came to.
#[derive(Deserialize)]
pub(crate) struct Trained {
    pub(crate) train_seconds: f64,
    pub(crate) dev: f64,
    pub(crate) test: f64,
}

/// Trains with the recipe.
pub(crate) fn train(python: &str, encoder: &Path, data: &Tnews, threads: usize) -> Result<Trained> {
    let mut command = script(python, encoder, &data.train);
    command.args([&data.dev, &data.test]).arg(threads.to_string()).args([EPOCHS, SEED]);
    let output = command.output()?;
    ensure!(
        output.status.success(),
        "pytorch.py failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).context("what pytorch.py printed")
}

/// A training that takes a few steps whenever it is asked.
pub(crate) struct Turns {
    process: Child,
    ask: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

/// One turn: seconds, and tokens without padding.
#[derive(Debug, Deserialize)]
pub(crate) struct Turn(pub(crate) f64, pub(crate) usize);

impl Turns {
    pub(crate) fn start(
        python: &str,
        encoder: &Path,
        data: &Tnews,
        threads: usize,
        steps: usize,
    ) -> Result<Self> {
        let mut command = script(python, encoder, &data.train);
        command.args(["-", "-"]).args([threads, steps].map(|n| n.to_string())).arg(SEED);
        let mut process = command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let ask = process.stdin.take().context("no stdin")?;
        let answers = BufReader::new(process.stdout.take().context("no stdout")?).lines();
        Ok(Self { process, ask, answers })
    }

    pub(crate) fn turn(&mut self) -> Result<Turn> {
        writeln!(self.ask, "turn")?;
        let line = self.answers.next().context("pytorch.py ended early")??;
        serde_json::from_str(&line).with_context(|| format!("pytorch.py said {line:?}"))
    }
}

impl Drop for Turns {
    fn drop(&mut self) {
        let _ended = self.process.kill();
        let _status = self.process.wait();
    }
}

/// `teacher-server finetune` with `flags`, in this process.
pub(crate) fn finetune<'a>(flags: impl IntoIterator<Item = &'a OsStr>) -> Result<()> {
    use clap::Parser as _;
    let words = ["teacher-server", "finetune"].map(OsStr::new).into_iter().chain(flags);
    teacher_server::cli::Cli::try_parse_from(words)?.execute()
}
