//! `warm` as a user meets it.

use serde_json::{Value, json};

use crate::support::{Data, Teacher, stderr, stdout, student_trainer};

#[test]
fn warm_prints_one_line_of_counts() {
    let (data, teacher) = (Data::new(), Teacher::start());
    let files = ["train", "dev", "test"].map(|file| data.path(&format!("{file}.jsonl")));
    let [train, dev, test] = &files;
    let warm = ["warm", "--teacher", &teacher.url, "--data", train, dev, test];
    let printed = stdout(&student_trainer(&warm));
    assert_eq!(printed.lines().count(), 1);
    let summary: Value = serde_json::from_str(&printed).unwrap();
    // Train has 6 subjects of 3 texts, dev one more; test has none that train has not.
    for (key, count) in [("examples", 27), ("distinct", 21), ("answered", 21), ("truncated", 0)] {
        assert_eq!(summary[key], count, "{key}: {printed}");
    }
    assert_eq!((&summary["refused"], &summary["reasons"]), (&json!({}), &json!([])));
    assert!(summary["seconds"].is_number() && summary["examples_per_second"].is_number());
}

#[test]
fn a_refused_example_is_named_and_ends_with_code_1_after_the_counts() {
    let (data, teacher) = (Data::new(), Teacher::start());
    let long = "x".repeat((64 << 10) + 1);
    let file = data.write("lines.txt", &format!("a film\n{long}\na film\n"));
    let output = student_trainer(&["warm", "--teacher", &teacher.url, "--plain", "--data", &file]);
    assert_eq!(output.status.code(), Some(1));
    let printed = String::from_utf8(output.stdout.clone()).unwrap();
    let summary: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!((&summary["answered"], &summary["distinct"]), (&1.into(), &2.into()));
    assert_eq!(summary["refused"], json!({"ERROR_CODE_TOO_LARGE": 1}));
    let said = stderr(&output);
    assert!(said.contains("lines.txt:2: "), "{said}");
    assert!(said.contains("refused 1 of 2 examples"), "{said}");
}

#[test]
fn warm_without_teacher_or_data_is_a_usage_error() {
    for (args, said) in [
        (&["warm", "--data", "x.jsonl"][..], "--teacher"),
        (&["warm", "--teacher", "http://127.0.0.1:1"], "--data"),
        (&["warm", "--teacher", "127.0.0.1:1", "--data", "x.jsonl"], "http://"),
    ] {
        let output = student_trainer(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(stderr(&output).contains(said), "{said}: {}", stderr(&output));
    }
}
