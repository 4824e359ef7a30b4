//! Whole training runs against a server: what they leave behind, and that they can be repeated.

use std::fs;

use lectern::{
    models::{BEST_WEIGHTS, Classifier as _, LAST_WEIGHTS, Student, classify},
    wire::ContentHash,
};
use serde_json::{Value, json};
use student_trainer::config::{EncodingOption, LossKind, TrainOptions};
use tch::Device;
use teacher_server::serve::ServeConfig;

use crate::{
    runs::{alone, options, read_json, rows, run, weights},
    support::{Server, relabelled, rows_alone},
};

#[test]
fn the_same_run_twice_gives_the_same_bytes_and_another_seed_others() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start();
    let first = weights(&run(options(folder.path(), &server, "first")));
    let second = weights(&run(options(folder.path(), &server, "second")));
    assert!(first == second);
    let other = TrainOptions { seed: Some(2), ..options(folder.path(), &server, "other") };
    assert!(first[1] != weights(&run(other))[1]);
}

#[test]
fn a_run_folder_is_complete_and_needs_no_teacher_afterwards() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start();
    let card = server.card();
    let run = run(options(folder.path(), &server, "run"));
    server.stop();

    let mut names: Vec<String> = fs::read_dir(&run)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let expected = [
        "best.safetensors",
        "config.toml",
        "dev_predictions.jsonl",
        "dev_report.json",
        "dev_report.txt",
        "labels.json",
        "last.safetensors",
        "metrics.jsonl",
        "model.json",
        "summary.json",
        "teacher.json",
        "test_predictions.jsonl",
        "test_report.json",
        "test_report.txt",
        "tokenizer.json",
    ];
    assert_eq!(names, expected);

    assert_eq!(read_json(&run.join("teacher.json")), serde_json::to_value(&card).unwrap());
    assert_eq!(read_json(&run.join("labels.json")), json!(card.labels));
    let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let epochs = metrics.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    assert_eq!(epochs.map(|line| line["epoch"].clone()).collect::<Vec<_>>(), [1, 2]);

    let summary = read_json(&run.join("summary.json"));
    assert_eq!(summary["name"], "run");
    for (set, examples) in [("dev", 6), ("test", 9)] {
        let report = read_json(&run.join(format!("{set}_report.json")));
        assert_eq!(summary[set]["accuracy"], report["accuracy"]);
        assert_eq!(summary[set]["macro_f1"], report["macro avg"]["f1-score"]);
        let matrix = report["confusion_matrix"].as_array().unwrap().iter();
        let counted: u64 =
            matrix.flat_map(|row| row.as_array().unwrap()).map(|n| n.as_u64().unwrap()).sum();
        assert_eq!(counted, examples, "{set}");
        let lines = fs::read_to_string(run.join(format!("{set}_predictions.jsonl"))).unwrap();
        let lines: Vec<Value> = lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(lines.len() as u64, examples);
        let class = |logits: &Value| {
            let logits: Vec<f64> = serde_json::from_value(logits.clone()).unwrap();
            (0..3).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap()
        };
        let agree = |line: &&Value| class(&line["logits"]) == class(&line["teacher"]);
        let agreeing = lines.iter().filter(agree).count() as f64;
        assert_eq!(summary[set]["agreement_with_teacher"], agreeing / examples as f64);
        assert!(summary[set]["ece"].is_number());
    }
    let lines = fs::read_to_string(run.join("dev_predictions.jsonl")).unwrap();
    let texts: Vec<_> = rows(&["film", "plot"]).into_iter().map(|(text, _)| (text, None)).collect();
    for ((line, row), (text, _)) in lines.lines().zip(rows_alone(&texts)).zip(&texts) {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["content"], ContentHash::new(text, None).to_string());
        let taught: Vec<f32> = serde_json::from_value(line["teacher"].clone()).unwrap();
        // The server computes its batches padded, this process each text alone.
        assert!(taught.iter().zip(&row).all(|(a, b)| (a - b).abs() < 1e-5), "{taught:?} {row:?}");
    }
    for key in ["best_epoch", "parameters", "wait_share", "train_seconds", "examples_per_second"] {
        assert!(summary[key].is_number(), "{key}");
    }
    // 24 different texts in two epochs: the second needs no answer of its own.
    let stream = |key: &str| summary["stream"][key].as_u64().unwrap();
    assert_eq!((stream("asked"), stream("joined") + stream("from_memory")), (24, 24));

    let student = Student::load(&run, Device::Cpu).unwrap();
    assert_eq!(summary["parameters"], student.parameters().count());
    let resolved =
        TrainOptions { output: Some(folder.path().join("again")), ..TrainOptions::default() };
    let again = resolved.over_file(Some(&run.join("config.toml"))).unwrap().resolve().unwrap();
    assert_eq!((again.epochs, again.batch_size, again.seed), (2, 8, 1));
}

#[test]
fn labels_are_matched_with_the_teachers_by_name_whatever_the_order() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let order = ["positive", "negative", "neutral"];
    let model = relabelled(folder.path(), order);
    let server =
        Server::with(ServeConfig { models: vec![model.as_path().into()], ..Server::config() });
    // Sorted, the data's labels are negative, neutral, positive.
    let run = run(TrainOptions {
        loss: Some(LossKind::CeMse),
        mse_weight: Some(1e-6.into()),
        epochs: Some(15),
        ..options(folder.path(), &server, "hard")
    });
    assert_eq!(read_json(&run.join("labels.json")), json!(order));
    let student = Student::load(&run, Device::Cpu).unwrap();
    for (text, label) in rows(&["film", "cast"]) {
        let answers = classify(&student, std::iter::once((text.as_str(), None))).unwrap();
        assert_eq!(student.labels().names()[answers[0].label()], label, "{text}");
    }
    assert_eq!(read_json(&run.join("summary.json"))["test"]["accuracy"], 1.0);
}

#[test]
fn a_student_of_soft_labels_alone_learns_the_teachers_logits() {
    learns_the_teachers_logits(&TrainOptions::default());
}

/// With one logit left out, the tail is that logit.
#[test]
fn a_student_of_all_but_one_logit_learns_the_teachers_logits() {
    learns_the_teachers_logits(&TrainOptions {
        encoding: Some(EncodingOption::TopK),
        top_k: Some(2),
        ..TrainOptions::default()
    });
}

fn learns_the_teachers_logits(rows_as: &TrainOptions) {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start();
    let run = run(TrainOptions {
        loss: Some(LossKind::Mse),
        epochs: Some(40),
        encoding: rows_as.encoding,
        top_k: rows_as.top_k,
        ..options(folder.path(), &server, "soft")
    });
    fs::copy(run.join(LAST_WEIGHTS), run.join(BEST_WEIGHTS)).unwrap();
    let student = Student::load(&run, Device::Cpu).unwrap();
    let texts: Vec<_> =
        rows(&["film", "cast", "play"]).into_iter().map(|(text, _)| (text, None)).collect();
    let answers = classify(&student, texts.iter().map(|(text, _)| (text.as_str(), None))).unwrap();
    for ((answer, teacher), (text, _)) in answers.iter().zip(rows_alone(&texts)).zip(&texts) {
        // Half of what lies between any two of the teacher's logits: nearer is the right class.
        let apart = [(0, 1), (0, 2), (1, 2)].map(|(a, b)| (teacher[a] - teacher[b]).abs());
        let tolerance = apart.into_iter().fold(f32::INFINITY, f32::min) / 2.0;
        assert!(tolerance > 0.01, "{text}: {teacher:?} cannot tell classes apart");
        for (a, b) in answer.logits.iter().zip(&teacher) {
            assert!((a - b).abs() < tolerance, "{text}: {:?} from {teacher:?}", answer.logits);
        }
    }
}
