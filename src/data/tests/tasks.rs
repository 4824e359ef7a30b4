//! What a file's labels mean to each task.

use super::*;

/// The targets of a file, or why there are none.
fn targets(task: Task, name: &str, contents: &str) -> Result<Vec<Target>, String> {
    let file = file(name, contents);
    let read = || {
        let records = read_records(&file.path, &Columns::default(), LabelUse::Required(task))?;
        let labels = records.label_set()?;
        records.resolve(&labels)
    };
    let examples = read().map_err(|error| file.message(&error))?;
    Ok(examples.into_iter().filter_map(|example| example.target).collect())
}

#[test]
fn a_multi_label_row_has_any_number_of_labels_in_every_format() {
    let expected = [vec![0, 2], vec![], vec![1]].map(Target::Labels);
    for (name, contents) in [
        ("a.csv", "text,label\na,sport| art\nb,\nc,food\n"),
        ("a.tsv", "text\tlabel\na\tart|sport\nb\t \nc\tfood\n"),
        (
            "a.jsonl",
            "{\"text\": \"a\", \"label\": [\"sport\", \"art\"]}\n{\"text\": \"b\", \"label\": []}\n\
             {\"text\": \"c\", \"label\": [\"food\"]}",
        ),
        (
            "a.json",
            "[{\"text\": \"a\", \"label\": [2, 0]}, {\"text\": \"b\", \"label\": []},\
             {\"text\": \"c\", \"label\": [1]}]",
        ),
    ] {
        assert_eq!(targets(Task::MultiLabel, name, contents).unwrap(), expected, "{name}");
    }
    // A list column of integers; a null is no list.
    let columns = Columns { label: Some("tokens".to_owned()), ..Columns::default() };
    let labels = LabelUse::Optional(Task::MultiLabel);
    let read = read_records(&fixture("rows.parquet"), &columns, labels).unwrap();
    let read = read.resolve(&of_task(Task::MultiLabel, &["a", "b", "c", "d"])).unwrap();
    let read: Vec<_> = read.into_iter().map(|example| example.target).collect();
    let set = |classes: &[usize]| Some(Target::Labels(classes.to_vec()));
    assert_eq!(read, [set(&[1, 2]), set(&[]), None, set(&[3])]);
}

fn of_task(task: Task, names: &[&str]) -> LabelSet {
    LabelSet::of_task(task, names.iter().map(ToString::to_string).collect()).unwrap()
}

#[test]
fn a_regression_row_has_a_number_in_every_format() {
    let expected = [0.5, -3.0, 1e3].map(Target::Value);
    for (name, contents) in [
        ("a.csv", "text,label\na,0.5\nb,-3\nc, 1e3\n"),
        ("a.tsv", "text\tlabel\na\t+.5\nb\t-3.0\nc\t1000\n"),
        (
            "a.jsonl",
            "{\"text\": \"a\", \"label\": 0.5}\n{\"text\": \"b\", \"label\": -3}\n\
             {\"text\": \"c\", \"label\": \"1e3\"}",
        ),
    ] {
        assert_eq!(targets(Task::Regression, name, contents).unwrap(), expected, "{name}");
    }
    let columns = Columns {
        text: Some("sentence".to_owned()),
        label: Some("score".to_owned()),
        ..Columns::default()
    };
    let labels = LabelUse::Required(Task::Regression);
    let read = read_records(&fixture("ids.parquet"), &columns, labels).unwrap();
    let output = read.label_set().unwrap();
    assert_eq!(output, of_task(Task::Regression, &["score"]));
    let read = read.resolve(&output).unwrap();
    let read: Vec<_> = read.into_iter().filter_map(|example| example.target).collect();
    assert_eq!(read, [0.5, 0.25, 0.0, 1.0].map(Target::Value));
}

#[test]
fn a_row_that_does_not_fit_its_task_is_named() {
    let refused = |task, name: &str, row: &str| {
        let contents = if name == "a.csv" {
            format!("text,label\na,1\nb,{row}\n")
        } else {
            let first = if task == Task::MultiLabel { "[\"x\"]" } else { "1" };
            let line = |label: &str| format!("{{\"text\": \"a\", \"label\": {label}}}\n");
            line(first) + &line(row)
        };
        targets(task, name, &contents).unwrap_err()
    };
    let line = |name: &str| if name == "a.csv" { 3 } else { 2 };
    for (task, name, row, said) in [
        (
            Task::SingleLabel,
            "a.jsonl",
            "[0]",
            "found [0]; lists of labels are for a multi-label task",
        ),
        (
            Task::MultiLabel,
            "a.jsonl",
            "\"x\"",
            "must be a list of label names or of label ids, found \"x\"",
        ),
        (Task::MultiLabel, "a.jsonl", "[1.0, 0.0]", "must be a list of label names"),
        (Task::MultiLabel, "a.jsonl", "[\"x\", null]", "found [\"x\", null]"),
        (Task::MultiLabel, "a.jsonl", "null", "no label in column"),
        (Task::MultiLabel, "a.jsonl", "[\"x\", \"x\"]", "label \"x\" stands twice in its row"),
        (Task::MultiLabel, "a.jsonl", "[\"y\", 0]", "label 0 among names"),
        (Task::MultiLabel, "a.csv", "0|1|", "must be labels with | between them, found \"0|1|\""),
        (Task::MultiLabel, "a.csv", "0|0|1", "label \"0\" stands twice in its row"),
        (Task::Regression, "a.csv", "good", "must be a finite number, found \"good\""),
        (Task::Regression, "a.csv", "NaN", "must be a finite number"),
        (Task::Regression, "a.csv", "1e39", "must be a finite number"),
        (Task::Regression, "a.csv", "", "no label in column"),
        (Task::Regression, "a.jsonl", "[1]", "must be a finite number, found [1]"),
        (Task::Regression, "a.jsonl", "true", "must be a finite number, found true"),
    ] {
        let message = refused(task, name, row);
        assert!(message.starts_with(&format!("{name}:{}: ", line(name))), "{message}");
        assert!(message.contains(said), "{said}: {message}");
    }
    let none = targets(Task::MultiLabel, "a.csv", "text,label\na,\n").unwrap_err();
    assert_eq!(none, "a.csv: a multi-label task needs at least 1 label, there are 0");
}
