//! Runs side by side, and sweeps of them, as a user meets them.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::support::{Data, Teacher, command, stderr, stdout, student_trainer};

fn json(path: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn a_run_folder_alone_is_enough_to_compare_judge_and_label() {
    let (data, teacher) = (Data::new(), Teacher::start());
    let test = data.path("test.jsonl");
    stdout(&data.train(&[("--teacher", &teacher.url), ("--test", &test), ("--seed", "2")]));
    let hard = data.path("hard");
    stdout(&data.train(&[("--test", &test), ("--output", &hard)]));
    drop(teacher);
    // On another machine there is the run folder and nothing else.
    let elsewhere = Data::new();
    let run = elsewhere.path("moved");
    fs::rename(data.run(), &run).unwrap();
    let hard_there = elsewhere.path("hard");
    fs::rename(hard, &hard_there).unwrap();
    drop(data);

    let (tables, numbers) = (elsewhere.path("tables.md"), elsewhere.path("numbers.json"));
    let args = ["compare", &hard_there, &run, "--output", &tables, "--output", &numbers];
    let printed = stdout(&student_trainer(&args));
    assert_eq!(printed, fs::read_to_string(tables).unwrap());
    assert!(printed.contains("3 examples of test") && printed.contains("neutral"), "{printed}");
    let (numbers, summary) = (json(&numbers), json(&format!("{run}/summary.json")));
    let row = &numbers["runs"][1];
    assert_eq!(
        (&row["name"], &row["seed"], &row["loss"]),
        (&"run".into(), &"2".into(), &"kl".into())
    );
    for key in ["accuracy", "macro_f1", "agreement_with_teacher", "ece"] {
        assert!(row[key].is_number(), "{key}: {row}");
        assert_eq!(row[key], summary["test"][key], "{key}");
    }
    for key in ["parameters", "weights_bytes", "predict_examples_per_second"] {
        assert_eq!(row[key].as_f64(), summary[key].as_f64(), "{key}");
    }
    assert!(numbers["runs"][0]["agreement_with_teacher"].is_null());
    assert_eq!(
        summary["weights_bytes"],
        fs::metadata(format!("{run}/best.safetensors")).unwrap().len()
    );
    let dev = stdout(&student_trainer(&["compare", &run, "--split", "dev"]));
    assert!(dev.contains("6 examples of dev"), "{dev}");

    stdout(&student_trainer(&["predict", "--run", &run, &elsewhere.path("test.jsonl")]));
    let usage = student_trainer(&["compare", &run, "--output", "table.txt"]);
    assert_eq!(usage.status.code(), Some(2));
    assert!(stderr(&usage).contains(".json nor in .md"), "{}", stderr(&usage));
}

/// A sweep's file in the data's folder.
fn sweep_file(data: &Data, head: &str, rest: &str) -> String {
    let [train, dev, output] = ["train.jsonl", "dev.jsonl", "sweep"].map(|name| data.path(name));
    data.write(
        "sweep.toml",
        &format!(
            "output = {output:?}\n{head}\n[base]\ntrain = {train:?}\ndev = {dev:?}\nstudent = 'bilstm-paper'\n\
             min-count = 1\nbatch-size = 6\n{rest}"
        ),
    )
}

#[test]
fn a_sweep_does_each_run_once_and_one_that_fails_takes_no_other_with_it() {
    let data = Data::new();
    // Opened before anything starts, understood by the run.
    let names = data.write("names.txt", "negative\npositive\n");
    let rest = format!(
        "[grid]\nepochs = [2]\nseed = [1, 2]\n[[runs]]\nname = 'bad'\nlabel-names = {names:?}\n\
         [[runs]]\nname = 'long'\nepochs = 3\n"
    );
    let file = sweep_file(&data, "parallel = 2", &rest);
    let listed = stdout(&student_trainer(&["sweep", &file, "--dry-run"]));
    assert_eq!(listed.lines().filter(|line| line.starts_with("new ")).count(), 4, "{listed}");
    assert!(!Path::new(&data.path("sweep")).exists());

    let output = student_trainer(&["sweep", &file]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("1 of 4 runs failed"), "{said}");
    let failed = said.lines().filter(|line| line.trim_start().starts_with("bad: ")).count();
    assert!(failed == 1 && said.contains("label \"neutral\""), "{said}");
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("| epochs=2 |") && table.contains("| long"), "{table}");
    assert_eq!(table, fs::read_to_string(data.path("sweep/comparison.md")).unwrap());
    let log = fs::read_to_string(data.path("sweep/epochs=2/seed-2.log")).unwrap();
    assert!(log.contains("run complete"), "{log}");
    let seeds = json(&data.path("sweep/comparison.json"))["runs"][0]["runs"].clone();
    assert_eq!(seeds, 2);

    let weights = data.path("sweep/long/best.safetensors");
    let written = || fs::metadata(&weights).unwrap().modified().unwrap();
    let before = written();
    let listed = stdout(&student_trainer(&["sweep", &file, "--dry-run"]));
    assert_eq!(listed.lines().filter(|line| line.starts_with("finished ")).count(), 3, "{listed}");
    let again = student_trainer(&["sweep", &file]);
    assert_eq!((again.status.code(), written()), (Some(1), before));
    assert!(stderr(&again).contains("finished=3"), "{}", stderr(&again));

    let file = sweep_file(&data, "", "[[runs]]\nname = 'long'\nepochs = 4\n");
    let other = student_trainer(&["sweep", &file]);
    assert_eq!(other.status.code(), Some(1));
    assert!(stderr(&other).contains("epochs is 3 there and 4 here"), "{}", stderr(&other));
    assert_eq!(written(), before);
}

#[test]
fn a_sweep_with_a_mistake_in_any_run_begins_none() {
    let data = Data::new();
    let file = sweep_file(&data, "", "[grid]\nepochs = [1, 0]\n");
    let output = student_trainer(&["sweep", &file]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("epochs=0: --epochs 0"), "{}", stderr(&output));
    assert!(!Path::new(&data.path("sweep")).exists());
}

#[test]
fn a_sweep_that_is_ended_ends_its_runs() {
    let data = Data::new();
    let file = sweep_file(&data, "parallel = 2", "[grid]\nseed = [1, 2, 3]\nepochs = [1000000]\n");
    let sweep =
        command(&["sweep", &file]).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let metrics = ["1", "2"]
        .map(|seed| data.path(&format!("sweep/epochs=1000000/seed-{seed}/metrics.jsonl")));
    let deadline = Instant::now() + Duration::from_mins(2);
    while !metrics.iter().all(|path| fs::metadata(path).is_ok_and(|file| file.len() > 0)) {
        assert!(Instant::now() < deadline, "the runs do not begin");
        thread::sleep(Duration::from_millis(50));
    }
    let id = sweep.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    let output = sweep.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains("2 runs were ended and 1 not begun"), "{said}");
    // Nobody writes there any more.
    let size = || metrics.each_ref().map(|path| fs::metadata(path).unwrap().len());
    let ended = size();
    thread::sleep(Duration::from_millis(500));
    assert_eq!(size(), ended);
}

#[test]
fn a_sweep_that_was_ended_goes_on_to_the_same_weights() {
    let data = Data::new();
    let file = sweep_file(&data, "", "[[runs]]\nname = 'long'\nepochs = 40\n");
    let args = ["sweep", &file, "--threads", "1"];
    let mut sweep = command(&args).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let (metrics, log) = (data.path("sweep/long/metrics.jsonl"), data.path("sweep/long.log"));
    while !fs::metadata(&metrics).is_ok_and(|file| file.len() > 0) {
        assert!(sweep.try_wait().unwrap().is_none(), "it ended before it could be killed");
        thread::sleep(Duration::from_millis(2));
    }
    let id = sweep.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    sweep.wait().unwrap();
    assert!(Path::new(&data.path("sweep/long/checkpoint.safetensors")).exists());
    stdout(&student_trainer(&args));
    assert!(fs::read_to_string(log).unwrap().contains("resuming"));

    stdout(&data.train(&[("--epochs", "40"), ("--output", &data.path("whole"))]));
    let weights = |run: &str| fs::read(data.path(run)).unwrap();
    assert!(weights("sweep/long/last.safetensors") == weights("whole/last.safetensors"));
}
