//! Runs on exported rows: the teacher's server is gone, its students are the same.

use std::{fs, path::Path};

use lectern::wire::{ContentHash, Row, label_file::LabelWriter};
use student_trainer::config::{OnMissing, TrainOptions};
use tch::Device;

use crate::{
    runs::{alone, options, read_json, run, weights},
    support::{Server, requests, take},
};

/// The texts of a JSON Lines file.
fn texts(file: &Path) -> Vec<(String, Option<String>)> {
    let text = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        (line["text"].as_str().unwrap().to_owned(), None)
    };
    fs::read_to_string(file).unwrap().lines().map(text).collect()
}

/// The server's rows of `texts` as a label file.
fn export(server: &Server, texts: &[(String, Option<String>)], path: &Path) {
    let logits = take(&mut server.student(vec![requests(texts)]), 1).remove(0);
    let mut rows: Vec<Row> = texts
        .iter()
        .zip(logits)
        .map(|((text, pair), logits)| Row {
            content: ContentHash::new(text, pair.as_deref()),
            logits,
            variance: None,
            truncated: false,
        })
        .collect();
    rows.sort_by_key(|row| row.content);
    let mut file = LabelWriter::create(path, &server.card()).unwrap();
    file.write(rows).unwrap();
    file.finish().unwrap();
}

/// The same run on the rows of a file.
fn from_file(options: TrainOptions, labels: &Path, output: &Path) -> TrainOptions {
    TrainOptions {
        teacher: None,
        labels: Some(vec![labels.to_owned()]),
        output: Some(output.to_owned()),
        ..options
    }
}

#[test]
fn a_run_on_exported_rows_gives_the_same_student_without_a_server() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let (server, labels) = (Server::start(), folder.path().join("rows.parquet"));
    let options = options(folder.path(), &server, "taught");
    let mut texts = texts(options.train.as_ref().unwrap());
    // Rows that this run does not need.
    texts.push(("another film".to_owned(), Some("and its story".to_owned())));
    export(&server, &texts, &labels);
    let taught = run(options.clone());
    server.stop();

    let alone = run(from_file(options, &labels, &folder.path().join("alone")));
    assert!(weights(&taught) == weights(&alone));
    for file in ["teacher.json", "labels.json", "model.json", "test_report.json"] {
        assert_eq!(read_json(&taught.join(file)), read_json(&alone.join(file)), "{file}");
    }
    // The teacher's rows of dev and test too: from the server there, from the file here.
    for file in ["dev_predictions.jsonl", "test_predictions.jsonl"] {
        let [there, here] =
            [&taught, &alone].map(|run| fs::read_to_string(run.join(file)).unwrap());
        assert!(here.contains("\"teacher\":[") && there == here, "{file}: {here}");
    }
    let summary = read_json(&alone.join("summary.json"));
    assert_eq!((&summary["wait_share"], &summary["stream"]["asked"]), (&0.0.into(), &0.into()));
    // 24 examples in two epochs.
    assert_eq!(summary["stream"]["from_file"], 48);
    let again = TrainOptions { output: Some("again".into()), ..TrainOptions::default() };
    let again = again.over_file(Some(&alone.join("config.toml"))).unwrap().resolve();
    assert!(again.is_ok(), "{again:?}");
}

#[test]
fn the_policy_decides_about_examples_that_the_file_lacks() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let (server, labels) = (Server::start(), folder.path().join("rows.parquet"));
    let options = options(folder.path(), &server, "run");
    let texts = texts(options.train.as_ref().unwrap());
    export(&server, &texts[..21], &labels);

    let (lacks, output) = (&texts[21].0, folder.path().join("refused"));
    let config = from_file(options.clone(), &labels, &output).resolve().unwrap();
    let error = student_trainer::train::train(&config, Device::Cpu).unwrap_err().to_string();
    for said in ["example 22", lacks, "rows.parquet", "student-trainer warm", "3 of 24"] {
        assert!(error.contains(said), "{said}: {error}");
    }
    assert!(!output.exists(), "a run that did not begin has left a folder");

    for (policy, count) in
        [(OnMissing::Skip, "left_out"), (OnMissing::HardOnly, "trained_without_soft_label")]
    {
        let output = folder.path().join(count);
        let options = from_file(options.clone(), &labels, &output);
        let summary = read_json(
            &run(TrainOptions { on_missing: Some(policy), alpha: Some(0.5.into()), ..options })
                .join("summary.json"),
        );
        // Three examples in two epochs.
        assert_eq!((&summary[count], &summary["stream"]["missing"]), (&6.into(), &6.into()));
    }
}

#[test]
fn a_file_of_other_data_is_refused_whatever_the_policy() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let (server, labels) = (Server::start(), folder.path().join("rows.parquet"));
    export(&server, &[("nobody asked".to_owned(), None)], &labels);
    let options = TrainOptions {
        on_missing: Some(OnMissing::Skip),
        ..options(folder.path(), &server, "run")
    };
    let config = from_file(options, &labels, &folder.path().join("other")).resolve().unwrap();
    let error = student_trainer::train::train(&config, Device::Cpu).unwrap_err().to_string();
    assert!(error.contains("no row for any of the 24 training examples"), "{error}");
}
