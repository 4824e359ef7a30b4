//! The program as a child process, a small data set, and a teacher in this process.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use student_trainer::labels::describe;
use teacher_server::serve::{Listening, ServeConfig};
use tempfile::TempDir;
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_student-trainer"));
    command.args(args).env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

pub(crate) fn student_trainer(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

/// Standard output of a command that must succeed.
pub(crate) fn stdout(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", stderr(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The tiny teacher of the fixtures, served until this is dropped. Its labels are negative, neutral
/// and positive.
pub(crate) struct Teacher {
    pub(crate) url: String,
    _stop: DropGuard,
}

impl Teacher {
    pub(crate) fn start() -> Self {
        let model =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/bert/with_pooler");
        let config = ServeConfig {
            max_batch_tokens: Some(512),
            drain: Duration::from_secs(1),
            ..ServeConfig::new(&model)
        };
        let (stop, (tell, told)) = (CancellationToken::new(), mpsc::channel());
        let stopped = stop.clone();
        thread::spawn(move || {
            tokio::runtime::Runtime::new().unwrap().block_on(async {
                let listening = Listening::bind(config).await.unwrap();
                tell.send(listening.address()).unwrap();
                listening.serve(stopped).await.unwrap();
            });
        });
        let url = format!("http://{}", told.recv().unwrap());
        describe(&url.parse().unwrap(), Duration::from_mins(1)).unwrap();
        Self { url, _stop: stop.drop_guard() }
    }
}

/// A folder with a small data set whose labels one word tells.
pub(crate) struct Data(TempDir);

pub(crate) const LABELS: [(&str, &str); 3] =
    [("dull", "negative"), ("new", "neutral"), ("great", "positive")];

impl Data {
    pub(crate) fn new() -> Self {
        let data = Self(tempfile::tempdir().unwrap());
        for (file, subjects) in
            [("train", "film movie story plot cast scene"), ("dev", "film play"), ("test", "plot")]
        {
            data.write(&format!("{file}.jsonl"), &rows(subjects, &LABELS));
        }
        data
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn run(&self) -> PathBuf {
        self.0.path().join("run")
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.0.path().join(name), text).unwrap();
        self.path(name)
    }

    /// A short `train` without a teacher; `changes` replace a value or add a flag.
    pub(crate) fn train(&self, changes: &[(&str, &str)]) -> Output {
        command(&[]).args(self.arguments(changes)).output().unwrap()
    }

    /// The arguments of that `train`.
    pub(crate) fn arguments(&self, changes: &[(&str, &str)]) -> Vec<String> {
        let (train, dev, run) =
            (self.path("train.jsonl"), self.path("dev.jsonl"), self.path("run"));
        let mut flags = vec![
            ("--train", train.as_str()),
            ("--dev", &dev),
            ("--output", &run),
            ("--student", "bilstm-paper"),
            ("--min-count", "1"),
            ("--epochs", "3"),
            ("--batch-size", "6"),
            ("--threads", "1"),
        ];
        for change in changes {
            flags.retain(|(name, _)| name != &change.0);
            flags.push(*change);
        }
        let flags = flags.into_iter().flat_map(|(flag, value)| [flag, value]);
        std::iter::once("train").chain(flags).map(str::to_owned).collect()
    }

    /// What `train` says when it is refused before it trains: nothing may be left of it.
    pub(crate) fn refused(&self, changes: &[(&str, &str)], code: i32) -> String {
        let output = self.train(changes);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{changes:?}: {said}");
        assert!(output.stdout.is_empty() && !self.run().exists(), "{changes:?}");
        said
    }
}

pub(crate) fn rows(subjects: &str, labels: &[(&str, &str)]) -> String {
    let row = |subject: &str| {
        let line = |(word, label): &(&str, &str)| {
            format!("{}\n", json!({"text": format!("the {subject} is {word}"), "label": label}))
        };
        labels.iter().map(line).collect::<String>()
    };
    subjects.split(' ').map(row).collect()
}

pub(crate) fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
