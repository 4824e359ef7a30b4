//! What is refused, with which code and in which words.

use std::{fs, net::TcpListener};

use crate::support::{Data, LABELS, Teacher, rows, stderr, stdout, student_trainer};

#[test]
fn settings_that_cannot_be_meant_end_with_code_2() {
    let data = Data::new();
    for (flag, value, said) in [
        ("--epochs", "0", "--epochs 0"),
        ("--loss", "mse", "needs a teacher"),
        ("--loss", "hinge", "ce-mse"),
        ("--loss", "bce", "not for a single-label task"),
        ("--task", "ranking", "multi-label"),
        ("--teacher", "localhost:50051", "http://"),
        ("--temperature", "2", "--loss kl"),
        ("--labels", "labels.txt", "--label-names"),
        ("--alpha", "warm", "linear:FROM:TO"),
        ("--temperature", "linear:4", "linear:FROM:TO"),
        ("--combine", "confidence", "--combine is for several teachers"),
        ("--teacher-weights", "0.7,0.3", "--teacher-weights is for several teachers"),
        ("--top-k", "0", "--top-k 0"),
        ("--encoding", "top-k", "--encoding top-k needs --top-k N"),
        ("--config", "nowhere.toml", "nowhere.toml"),
        ("--no-such-flag", "1", "--no-such-flag"),
    ] {
        let message = data.refused(&[(flag, value), ("--train", "nowhere.jsonl")], 2);
        assert!(message.contains(said), "{flag}: {message}");
    }
    let kl = [("--task", "regression"), ("--loss", "kl"), ("--train", "nowhere.jsonl")];
    let kl = data.refused(&kl, 2);
    assert!(kl.contains("--loss kl is not for a regression task; choose mse"), "{kl}");
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
            "--label-names",
            data.write("labels.txt", "negative\npositive\n"),
            "train.jsonl:2: label \"neutral\"",
        ),
        (
            "--task",
            "regression".to_owned(),
            "train.jsonl:1: column \"label\" must be a finite number",
        ),
        ("--task", "multi-label".to_owned(), "train.jsonl:1: column \"label\" must be a list"),
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
    assert!(message.contains("--label-names FILE"), "{message}");
    let labels = data.write("labels.txt", "neutral\npositive\nnegative\n");
    stdout(&data.train(&[&files[..], &[("--label-names", &labels)]].concat()));
    let written = fs::read_to_string(data.run().join("labels.json")).unwrap();
    let written: Vec<String> = serde_json::from_str(&written).unwrap();
    assert_eq!(written, ["negative", "neutral", "positive"]);
}

#[test]
fn soft_labels_come_from_one_place_and_as_they_are() {
    let data = Data::new();
    let labels = ("--labels", "rows.parquet");
    let both = data.refused(&[labels, ("--teacher", "http://127.0.0.1:1")], 2);
    assert!(both.contains("--teacher and --labels exclude each other"), "{both}");
    let encoded = data.refused(&[labels, ("--encoding", "float16")], 2);
    assert!(encoded.contains("as exported"), "{encoded}");
    let two = [("--top-k", "2"), ("--encoding", "float16"), ("--teacher", "http://127.0.0.1:1")];
    let two = data.refused(&two, 2);
    assert!(two.contains("--top-k belongs to --encoding top-k"), "{two}");
    let absent = data.refused(&[labels], 1);
    assert!(absent.contains("rows.parquet does not exist"), "{absent}");
    let table = data.write("table.parquet", "no Parquet");
    let table = data.refused(&[("--labels", &table)], 1);
    assert!(table.contains("table.parquet is not a readable Parquet file"), "{table}");
}

#[test]
fn as_many_of_the_largest_logits_as_there_are_labels_are_refused() {
    let (data, teacher) = (Data::new(), Teacher::start());
    let message = data.refused(&[("--teacher", &teacher.url), ("--top-k", "3")], 2);
    assert!(message.contains("--top-k 3") && message.contains("only 3 labels"), "{message}");
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
