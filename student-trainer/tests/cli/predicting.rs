//! `predict` over inputs of more than one window.

use std::io::Write as _;

use serde_json::{Value, json};

use crate::support::{Data, command, json_lines, stderr, stdout, student_trainer};

/// Texts of many lengths, each with what its words say.
fn long_input(lines: usize) -> String {
    let line = |i: usize| {
        let word = ["dull", "new", "great"][i % 3];
        let padding = "film ".repeat(i * 7 % 11);
        format!("{}\n", json!({"text": format!("{padding}is {word}")}))
    };
    (0..lines).map(line).collect()
}

#[test]
fn many_workers_answer_in_the_order_of_the_input_as_one_does() {
    let data = Data::new();
    stdout(&data.train(&[("--epochs", "10")]));
    let (run, input) = (data.path("run"), data.write("input.jsonl", &long_input(5000)));
    let answers = |threads: &str| {
        stdout(&student_trainer(&["predict", "--run", &run, &input, "--threads", threads]))
    };
    let (one, four) = (answers("1"), answers("4"));
    assert_eq!(one.lines().count(), 5000);
    // The same windows in the same batches, so to the last digit.
    assert!(one == four);
    let labels = |text: &str| -> Vec<Value> {
        json_lines(text).into_iter().map(|mut line| line["label"].take()).collect()
    };
    let labels = labels(&four);
    assert!(
        labels.chunks(3).all(|three| three[..2] == ["negative", "neutral"]),
        "{:?}",
        &labels[..9]
    );
}

#[test]
fn a_bad_line_in_a_later_window_is_named_and_everything_before_it_answered() {
    let data = Data::new();
    stdout(&data.train(&[("--epochs", "1")]));
    let input = data.write("input.jsonl", &format!("{}words\n{}", long_input(3000), long_input(9)));
    let args = ["predict", "--run", &data.path("run"), &input, "--threads", "3"];
    let output = student_trainer(&args);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 3000);
    assert!(stderr(&output).contains("input.jsonl:3001: not valid JSON"), "{}", stderr(&output));
}

#[test]
fn who_reads_no_more_ends_the_program_though_its_input_goes_on() {
    let data = Data::new();
    stdout(&data.train(&[("--epochs", "1")]));
    let mut child = command(&["predict", "--run", &data.path("run"), "--threads", "2"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().unwrap();
    // A pipe that breaks while this is written is what is wanted.
    let _ = stdin.write_all(long_input(1024).as_bytes());
    // Its input is still open, and yet it ends; as every program does whose reader has seen enough.
    assert!(child.wait().unwrap().success());
    drop(stdin);
}
