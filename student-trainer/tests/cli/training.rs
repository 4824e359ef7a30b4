//! Training, judging and labelling that go well.

use std::{fs, io::Write as _, process::Stdio, thread, time::Duration};

use serde_json::{Value, json};

use crate::support::{
    Data, LABELS, Teacher, command, json_lines, rows, stderr, stdout, student_trainer,
};

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
fn a_student_answers_as_its_task_asks() {
    let data = Data::new();
    let rows = |target: fn(usize) -> Value| -> String {
        let row = |(i, (word, _)): (usize, &(&str, &str))| {
            format!("{}\n", json!({"text": format!("a {word} film"), "label": target(i)}))
        };
        LABELS.iter().enumerate().map(row).collect()
    };
    let answer = |run: &str| {
        let input = data.write("input.jsonl", "{\"text\": \"a great film\"}\n");
        let run = data.path(run);
        json_lines(&stdout(&student_trainer(&["predict", "--run", &run, &input]))).remove(0)
    };
    // The third row has both labels, the first none.
    let sets = data.write("sets.jsonl", &rows(|i| json!(["bad", "good"][..i])));
    let run = data.path("labels");
    stdout(&data.train(&[
        ("--train", &sets),
        ("--dev", &sets),
        ("--output", &run),
        ("--task", "multi-label"),
        ("--epochs", "60"),
    ]));
    let labelled = answer("labels");
    assert_eq!(labelled["labels"], json!(["bad", "good"]), "{labelled}");
    let probabilities = labelled["probabilities"].as_object().unwrap();
    assert!(probabilities.values().all(|p| p.as_f64().unwrap() > 0.5), "{labelled}");

    let numbers = data.write("numbers.jsonl", &rows(|i| json!(i)));
    let run = data.path("numbers");
    stdout(&data.train(&[
        ("--train", &numbers),
        ("--dev", &numbers),
        ("--output", &run),
        ("--task", "regression"),
        ("--epochs", "60"),
    ]));
    let value = answer("numbers")["value"].as_f64().unwrap();
    // Nearer to its own number than to any other's.
    assert!((value - 2.0).abs() < 0.5, "{value}");
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
fn a_killed_run_goes_on_to_the_same_weights_to_the_byte() {
    let (data, teacher) = (Data::new(), Teacher::start());
    let settings = format!(
        "train = {:?}\ndev = {:?}\nteacher = {:?}\nstudent = 'bilstm-paper'\nepochs = 14\nmin-count = 1\n\
         batch-size = 3\naccumulate = 2\nema-decay = 0.9\nschedule = 'cosine'\ncheckpoint-every = 4\n",
        data.path("train.jsonl"),
        data.path("dev.jsonl"),
        teacher.url,
    );
    let file = data.write("run.toml", &settings);
    let run = |output: &str| {
        let output = data.path(output);
        command(&["train", "--config", &file, "--output", &output, "--threads", "1", "--resume"])
    };
    let lines = |output: &str| {
        let path = format!("{}/metrics.jsonl", data.path(output));
        json_lines(fs::read_to_string(path).unwrap_or_default().trim_end_matches(|c| c != '\n'))
    };
    stdout(&run("whole").output().unwrap());
    for epochs in [1, 5] {
        let mut child = run("killed").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while lines("killed").len() < epochs {
            assert!(child.try_wait().unwrap().is_none(), "it ended before it could be killed");
            thread::sleep(Duration::from_millis(1));
        }
        // SIGKILL.
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let refused = data.train(&[("--output", &data.path("killed"))]);
    assert!(stderr(&refused).contains("go on with --resume"), "{}", stderr(&refused));
    let other = run("killed").args(["--lr", "0.5"]).output().unwrap();
    assert!(stderr(&other).contains("lr: 0.002, now 0.5"), "{}", stderr(&other));

    let resumed = run("killed").output().unwrap();
    stdout(&resumed);
    assert!(stderr(&resumed).contains("resuming"), "{}", stderr(&resumed));
    for name in ["best.safetensors", "last.safetensors"] {
        let read = |output: &str| fs::read(format!("{}/{name}", data.path(output))).unwrap();
        // Not assert_eq: it would print megabytes.
        assert!(read("whole") == read("killed"), "{name} differs");
    }
    let kept = |output: &str| -> Vec<Value> {
        let fields =
            ["epoch", "step", "train_loss", "dev_loss", "dev_accuracy", "best", "examples"];
        lines(output).iter().flat_map(|line| fields.map(|name| line[name].clone())).collect()
    };
    assert_eq!(kept("whole"), kept("killed"));
    assert!(!data.run().join("checkpoint.safetensors").exists());
    let over = run("killed").output().unwrap();
    assert!(stderr(&over).contains("nothing to resume"), "{}", stderr(&over));
}

#[test]
fn several_seeds_are_several_runs_and_one_mean() {
    let data = Data::new();
    let printed = stdout(&data.train(&[("--seeds", "3,5"), ("--epochs", "2")]));
    let summary: Value = serde_json::from_str(&printed).unwrap();
    let accuracy = |seed: &str| {
        let path = data.run().join(seed).join("summary.json");
        let summary: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        summary["dev"]["accuracy"].as_f64().unwrap()
    };
    let (one, other) = (accuracy("seed-3"), accuracy("seed-5"));
    let mean = summary["dev"]["accuracy"]["mean"].as_f64().unwrap();
    assert!((mean - f64::midpoint(one, other)).abs() < 1e-12, "{summary}");
    let weights = |seed: &str| fs::read(data.run().join(seed).join("last.safetensors")).unwrap();
    assert!(weights("seed-3") != weights("seed-5"));

    // One seed is as the same run alone.
    let alone = data.path("alone");
    stdout(&data.train(&[("--seed", "5"), ("--epochs", "2"), ("--output", &alone)]));
    assert!(fs::read(format!("{alone}/last.safetensors")).unwrap() == weights("seed-5"));

    // A run that is missing is made again, those that are there are not.
    fs::remove_dir_all(data.run().join("seed-3")).unwrap();
    let args = data.arguments(&[("--seeds", "3,5"), ("--epochs", "2")]);
    let again = command(&args.iter().map(String::as_str).collect::<Vec<_>>())
        .arg("--resume")
        .output()
        .unwrap();
    assert_eq!(stdout(&again), printed);
    assert!(stderr(&again).contains("finished before"), "{}", stderr(&again));
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
