//! `student-trainer` as a user meets it: exit codes, messages, and what is left on disk. Its teacher
//! is a real server in this process.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::{
    fs,
    io::Write as _,
    net::TcpListener,
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

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_student-trainer"));
    command.args(args).env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

fn student_trainer(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

/// Standard output of a command that must succeed.
fn stdout(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", stderr(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The tiny teacher of the fixtures, served until this is dropped. Its labels are negative, neutral
/// and positive.
struct Teacher {
    url: String,
    _stop: DropGuard,
}

impl Teacher {
    fn start() -> Self {
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
struct Data(TempDir);

const LABELS: [(&str, &str); 3] = [("dull", "negative"), ("new", "neutral"), ("great", "positive")];

impl Data {
    fn new() -> Self {
        let data = Self(tempfile::tempdir().unwrap());
        for (file, subjects) in
            [("train", "film movie story plot cast scene"), ("dev", "film play"), ("test", "plot")]
        {
            data.write(&format!("{file}.jsonl"), &rows(subjects, &LABELS));
        }
        data
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn run(&self) -> PathBuf {
        self.0.path().join("run")
    }

    fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.0.path().join(name), text).unwrap();
        self.path(name)
    }

    /// A short `train` without a teacher; `changes` replace a value or add a flag.
    fn train(&self, changes: &[(&str, &str)]) -> Output {
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
        let flags: Vec<_> = flags.into_iter().flat_map(|(flag, value)| [flag, value]).collect();
        command(&["train"]).args(flags).output().unwrap()
    }

    /// What `train` says when it is refused before it trains: nothing may be left of it.
    fn refused(&self, changes: &[(&str, &str)], code: i32) -> String {
        let output = self.train(changes);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{changes:?}: {said}");
        assert!(output.stdout.is_empty() && !self.run().exists(), "{changes:?}");
        said
    }
}

fn rows(subjects: &str, labels: &[(&str, &str)]) -> String {
    let row = |subject: &str| {
        let line = |(word, label): &(&str, &str)| {
            format!("{}\n", json!({"text": format!("the {subject} is {word}"), "label": label}))
        };
        labels.iter().map(line).collect::<String>()
    };
    subjects.split(' ').map(row).collect()
}

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_student_of_hard_labels_is_trained_judged_and_labels_text() {
    let data = Data::new();
    let test = data.path("test.jsonl");
    let printed = stdout(&data.train(&[("--epochs", "12"), ("--test", &test)]));
    let summary: Value = serde_json::from_str(&printed).unwrap();
    let written = fs::read_to_string(data.run().join("summary.json")).unwrap();
    assert_eq!(summary, serde_json::from_str::<Value>(&written).unwrap());
    assert_eq!((&summary["wait_share"], &summary["stream"]), (&json!(0.0), &Value::Null));
    assert!(!data.run().join("teacher.json").exists());

    let (run, numbers) = (data.path("run"), data.path("numbers.json"));
    let report = stdout(&student_trainer(&[
        "evaluate",
        "--run",
        &run,
        "--data",
        &test,
        "--json",
        &numbers,
        "--threads",
        "1",
    ]));
    assert!(report.contains("macro avg") && report.contains("neutral"), "{report}");
    let numbers: Value = serde_json::from_str(&fs::read_to_string(numbers).unwrap()).unwrap();
    assert_eq!(numbers["accuracy"], summary["test"]["accuracy"]);
    assert_eq!(numbers["parameters"], summary["parameters"]);

    let input = data.write("input.jsonl", &rows("plot movie", &LABELS));
    let answers = stdout(&student_trainer(&["predict", "--run", &run, &input, "--threads", "1"]));
    let labels: Vec<_> = json_lines(&answers).iter().map(|line| line["label"].clone()).collect();
    let expected = ["negative", "neutral", "positive"];
    assert_eq!(labels, [expected, expected].concat());
}

#[test]
fn predict_reads_standard_input_and_keeps_what_was_answered_before_a_bad_line() {
    let data = Data::new();
    stdout(&data.train(&[("--epochs", "1")]));
    let mut child = command(&["predict", "--run", &data.path("run"), "--threads", "1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let input = b"{\"text\": \"a film\"}\n{\"text\": \"a plot\"}\nwords\n{\"text\": \"late\"}\n";
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(json_lines(&String::from_utf8_lossy(&output.stdout)).len(), 2);
    assert!(stderr(&output).contains("-:3: not valid JSON"), "{}", stderr(&output));
}

#[test]
fn the_same_command_twice_gives_the_same_weights_to_the_byte() {
    let (data, teacher) = (Data::new(), Teacher::start());
    let weights = |output: &str, teacher: &[(&str, &str)]| {
        let run = data.path(output);
        stdout(&data.train(&[&[("--output", run.as_str())], teacher].concat()));
        ["best", "last"].map(|name| fs::read(format!("{run}/{name}.safetensors")).unwrap())
    };
    let taught: &[_] = &[("--teacher", teacher.url.as_str()), ("--loss", "kl")];
    // Not assert_eq: it would print megabytes.
    assert!(weights("taught", taught) == weights("taught again", taught));
    assert!(weights("hard", &[]) == weights("hard again", &[]));
}

#[test]
fn a_file_of_settings_does_what_flags_do_and_flags_win() {
    let data = Data::new();
    let settings = format!(
        "train = {:?}\ndev = {:?}\nstudent = 'bilstm-paper'\nepochs = 9\nmin-count = 1\n",
        data.path("train.jsonl"),
        data.path("dev.jsonl")
    );
    let (file, run) = (data.write("run.toml", &settings), data.path("run"));
    let args = ["train", "--config", &file, "--output", &run, "--epochs", "2", "--threads", "1"];
    stdout(&student_trainer(&args));
    let metrics = fs::read_to_string(data.run().join("metrics.jsonl")).unwrap();
    assert_eq!(metrics.lines().count(), 2);
}

#[test]
fn settings_that_cannot_be_meant_end_with_code_2() {
    let data = Data::new();
    for (flag, value, said) in [
        ("--epochs", "0", "--epochs 0"),
        ("--loss", "mse", "needs a teacher"),
        ("--loss", "hinge", "ce-mse"),
        ("--teacher", "localhost:50051", "http://"),
        ("--temperature", "2", "--loss kl"),
        ("--config", "nowhere.toml", "nowhere.toml"),
        ("--no-such-flag", "1", "--no-such-flag"),
    ] {
        let message = data.refused(&[(flag, value), ("--train", "nowhere.jsonl")], 2);
        assert!(message.contains(said), "{flag}: {message}");
    }
    let bare = student_trainer(&["train"]);
    assert_eq!(bare.status.code(), Some(2));
    assert!(stderr(&bare).contains("--train is missing"), "{}", stderr(&bare));
}

#[test]
fn data_that_cannot_be_used_is_named_with_file_and_line() {
    let data = Data::new();
    let row = |row: &str| format!("{}{row}\n", rows("film", &LABELS));
    let no_text = data.write("no_text.jsonl", &row("{\"text\": \"\", \"label\": \"negative\"}"));
    let no_label = data.write("no_label.jsonl", &row("{\"text\": \"a film\"}"));
    let unknown = data.write("unknown.jsonl", &row("{\"text\": \"a\", \"label\": \"mixed\"}"));
    let broken = data.write("broken.jsonl", &row("{\"text\": "));
    for (flag, file, said) in [
        ("--train", data.path("nowhere.jsonl"), "nowhere.jsonl does not exist"),
        ("--dev", data.write("empty.csv", "\n"), "empty.csv is empty"),
        ("--train", data.write("header.csv", "text,label\n"), "header.csv has no rows"),
        ("--train", no_text, "no_text.jsonl:4: no text"),
        ("--dev", no_label, "no_label.jsonl:4: no label"),
        ("--train", broken, "broken.jsonl:4: not valid JSON"),
        ("--test", unknown, "unknown.jsonl:4: label \"mixed\" is not one of"),
        (
            "--labels",
            data.write("labels.txt", "negative\npositive\n"),
            "train.jsonl:2: label \"neutral\"",
        ),
        ("--tokenizer", data.write("tokenizer.json", "{}"), "tokenizer.json: not a tokenizer"),
    ] {
        let message = data.refused(&[(flag, &file)], 1);
        assert!(message.contains(said), "{said}: {message}");
    }
}

#[test]
fn a_teacher_that_is_not_there_is_said_before_training() {
    let data = Data::new();
    // A port that was free a moment ago.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{closed}");
    let message = data.refused(&[("--teacher", &url), ("--teacher-patience", "0")], 1);
    assert!(message.contains(&format!("no teacher at {url}")), "{message}");
    assert!(message.contains("teacher-server serve"), "{message}");
}

#[test]
fn labels_that_differ_from_the_teachers_are_named_on_both_sides() {
    let (data, teacher) = (Data::new(), Teacher::start());
    let others = [LABELS[0], ("strange", "mixed"), LABELS[2]];
    let train = data.write("other.jsonl", &rows("film plot", &others));
    let files = [("--train", train.as_str()), ("--dev", &train), ("--teacher", &teacher.url)];
    let message = data.refused(&files, 1);
    assert!(message.contains("\"mixed\" only here, \"neutral\" only there"), "{message}");

    // Ids are matched once they have names.
    let ids = [("dull", "2"), ("new", "0"), ("great", "1")];
    let train = data.write("ids.jsonl", &rows("film plot", &ids));
    let files = [("--train", train.as_str()), ("--dev", &train), ("--teacher", &teacher.url)];
    let message = data.refused(&files, 1);
    assert!(message.contains("--labels FILE"), "{message}");
    let labels = data.write("labels.txt", "neutral\npositive\nnegative\n");
    stdout(&data.train(&[&files[..], &[("--labels", &labels)]].concat()));
    let written = fs::read_to_string(data.run().join("labels.json")).unwrap();
    let written: Vec<String> = serde_json::from_str(&written).unwrap();
    assert_eq!(written, ["negative", "neutral", "positive"]);
}

#[test]
fn an_output_folder_that_holds_another_run_is_left_as_it_is() {
    let data = Data::new();
    fs::create_dir(data.run()).unwrap();
    fs::write(data.run().join("notes.txt"), "mine").unwrap();
    let output = data.train(&[]);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains("holds another run") && said.contains("--output"), "{said}");
    let names: Vec<_> = fs::read_dir(data.run()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["notes.txt"]);
}

#[test]
fn a_broken_run_folder_is_named_with_its_tensors_and_shapes() {
    let data = Data::new();
    stdout(&data.train(&[("--epochs", "1")]));
    let (run, test) = (data.path("run"), data.path("test.jsonl"));
    let evaluate = |said: &[&str]| {
        let output = student_trainer(&["evaluate", "--run", &run, "--data", &test]);
        assert_eq!(output.status.code(), Some(1));
        for said in said {
            assert!(stderr(&output).contains(said), "{said}: {}", stderr(&output));
        }
    };
    fs::write(data.run().join("labels.json"), "[\"negative\", \"positive\"]").unwrap();
    evaluate(&["best.safetensors", "output.weight: expected shape [2, 200], found [3, 200]"]);
    fs::remove_file(data.run().join("labels.json")).unwrap();
    evaluate(&["labels.json"]);
}

#[test]
fn texts_over_the_limit_are_cut_and_said_once() {
    let data = Data::new();
    // All texts are of 4 words, as in "the film is new".
    let output = data.train(&[("--max-length", "3")]);
    stdout(&output);
    let said = stderr(&output);
    let lines: Vec<_> = said.lines().filter(|line| line.contains("cut off")).collect();
    // Once for the training file and once for the dev file, whatever the number of epochs.
    assert_eq!(lines.len(), 2, "{said}");

    let input = "{\"text\": \"a film\"}\n{\"text\": \"a film that is long\"}\n".repeat(2);
    let input = data.write("input.jsonl", &input);
    let output =
        student_trainer(&["predict", "--run", &data.path("run"), &input, "--threads", "1"]);
    let truncated = json_lines(&stdout(&output)).iter().filter(|l| l["truncated"] == true).count();
    assert_eq!(truncated, 2);
    let said = stderr(&output);
    assert_eq!(said.lines().filter(|line| line.contains("cut off")).count(), 1, "{said}");
    assert!(said.contains("truncated=2"), "{said}");
}
