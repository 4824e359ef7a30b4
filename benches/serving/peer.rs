//! Who the cold server is compared with: PyTorch in a process of its own, or what `--peer` names.

use std::{path::Path, process::Command, str::FromStr, time::Duration};

use anyhow::{Context as _, Result, bail};
use lectern::{models::Arithmetic, wire::Fingerprint};
use serde::Deserialize;
use student_trainer::labels::{TeacherUrl, describe};

use crate::{dialogue::Dialogue, students};

/// What `--peer` says.
#[derive(Debug, Clone)]
pub(crate) struct PeerSpec {
    name: String,
    place: Place,
}

#[derive(Debug, Clone)]
enum Place {
    /// A command in the shell's language.
    Command(String),
    /// A server that is running already.
    Grpc(TeacherUrl),
}

impl FromStr for PeerSpec {
    type Err = anyhow::Error;

    fn from_str(given: &str) -> Result<Self> {
        let (name, place) =
            given.split_once('=').context("not NAME=COMMAND or NAME=grpc://HOST:PORT")?;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(plain) {
            bail!("the name {name:?} is not made of letters, digits and _");
        }
        let place = match place.strip_prefix("grpc://") {
            Some(address) => Place::Grpc(format!("http://{address}").parse()?),
            None => Place::Command(place.to_owned()),
        };
        Ok(Self { name: name.to_owned(), place })
    }
}

impl PeerSpec {
    /// PyTorch over length-sorted batches, with the interpreter in `LECTERN_BENCH_PYTHON`; `name`d in the measures.
    pub(crate) fn pytorch(name: &str, device: &str, arithmetic: Arithmetic) -> Result<Self> {
        let python = std::env::var("LECTERN_BENCH_PYTHON")
            .context("set LECTERN_BENCH_PYTHON, or run `cargo xtask bench serving`")?;
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/pytorch_sorted.py");
        let flags = format!("--device {device} --dtype {arithmetic}");
        let place = Place::Command(format!("'{python}' '{script}' {flags}"));
        Ok(Self { name: name.to_owned(), place })
    }
}

/// A peer that is ready.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) name: String,
    /// What it says of itself.
    pub(crate) description: String,
    side: Side,
}

#[derive(Debug)]
enum Side {
    Command(Dialogue),
    Grpc(TeacherUrl, Fingerprint),
}

/// The first line of a peer.
#[derive(Deserialize)]
struct Ready {
    ready: String,
}

/// One turn of a peer.
#[derive(Deserialize)]
struct Turn {
    examples: usize,
    seconds: f64,
}

impl Peer {
    /// Starts a command, or finds a server, and waits until it is ready.
    pub(crate) fn start(
        spec: &PeerSpec,
        model: &Path,
        headlines: &Path,
        threads: usize,
    ) -> Result<Self> {
        let (description, side) = match &spec.place {
            Place::Command(line) => {
                let mut command = Command::new("sh");
                // The shell gives way to the command, so that a kill reaches it.
                command.args(["-c", &format!("exec {line} \"$@\""), "sh"]);
                command.arg(model).arg(headlines).arg(threads.to_string());
                let mut talk = Dialogue::start(command)?;
                let ready: Ready = talk.hear().with_context(|| format!("peer {}", spec.name))?;
                (ready.ready, Side::Command(talk))
            }
            Place::Grpc(url) => {
                let card = describe(url, Duration::from_mins(1))?;
                (card.architecture, Side::Grpc(url.clone(), card.fingerprint))
            }
        };
        Ok(Self { name: spec.name.clone(), description, side })
    }

    /// Examples a second of one turn: a command labels the headlines of its file, a server `fresh` ones
    /// of the same lengths.
    pub(crate) fn turn(&mut self, fresh: impl FnOnce() -> Vec<Vec<String>>) -> Result<f64> {
        let turn = match &mut self.side {
            Side::Command(talk) => talk.ask("run")?,
            Side::Grpc(url, fingerprint) => {
                let students = fresh();
                let examples = students.iter().map(Vec::len).sum();
                let seconds = students::label(url, fingerprint, students)?.as_secs_f64();
                Turn { examples, seconds }
            }
        };
        Ok(turn.examples as f64 / turn.seconds)
    }
}
