//! Several teachers at once: their rows become one, labels are matched by name, and what does not match is refused.

use std::{fs, path::Path};

use lectern::wire::{ContentHash, Row, TeacherCard, label_file::LabelWriter};
use serde_json::json;
use student_trainer::config::{CombineKind, LossKind, OnMissing, TrainOptions};
use tch::Device;

use crate::{
    runs::{alone, options, read_json, run, weights},
    support::{Server, nobodys},
};

/// The fixture's labels, and as another teacher has them.
const LABELS: [&str; 3] = ["negative", "neutral", "positive"];
const OTHER_ORDER: [&str; 3] = ["positive", "negative", "neutral"];

/// A card of another teacher than the server's.
fn other(server: &Server, labels: [&str; 3]) -> TeacherCard {
    let labels = labels.map(str::to_owned).to_vec();
    TeacherCard { fingerprint: nobodys(), name: "other".to_owned(), labels, ..server.card() }
}

/// A label file of `card` with a row for each line of the training file: `row(i, label)` says the value of each label
/// name.
fn label_file(
    path: &Path,
    card: &TeacherCard,
    train: &Path,
    row: impl Fn(usize, &str) -> [(&'static str, f32); 3],
) {
    let text = fs::read_to_string(train).unwrap();
    let line = |(i, line): (usize, &str)| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let said = row(i, line["label"].as_str().unwrap());
        let value = |name: &String| said.iter().find(|(label, _)| label == name).unwrap().1;
        Row {
            content: ContentHash::new(line["text"].as_str().unwrap(), None),
            logits: card.labels.iter().map(value).collect(),
            variance: None,
            truncated: false,
        }
    };
    let mut rows: Vec<Row> = text.lines().enumerate().map(line).collect();
    rows.sort_by_key(|row| row.content);
    let mut file = LabelWriter::create(path, card).unwrap();
    file.write(rows).unwrap();
    file.finish().unwrap();
}

/// The options of a run on these files of `folder`.
fn on_files(options: &TrainOptions, folder: &Path, files: &[&str]) -> TrainOptions {
    TrainOptions {
        teacher: None,
        labels: Some(files.iter().map(|file| folder.join(file)).collect()),
        output: Some(folder.join(format!("run on {}", files.join(" and ")))),
        ..options.clone()
    }
}

/// Values that halves and their sums have exactly in float32.
fn scores(of: f32) -> impl Fn(usize, &str) -> [(&'static str, f32); 3] {
    move |i, _| {
        let i = i as f32;
        [(LABELS[0], of * i), (LABELS[1], of - i), (LABELS[2], i * 0.5 + of)]
    }
}

#[test]
fn two_teachers_teach_the_mean_of_their_logits_with_labels_matched_by_name() {
    let _alone = alone();
    let (folder, server) = (tempfile::tempdir().unwrap(), Server::start());
    let folder = folder.path();
    let options = TrainOptions { loss: Some(LossKind::Kl), ..options(folder, &server, "unused") };
    let train = options.train.clone().unwrap();
    let cards = [server.card(), other(&server, OTHER_ORDER)];
    label_file(&folder.join("a.parquet"), &cards[0], &train, scores(0.5));
    label_file(&folder.join("b.parquet"), &cards[1], &train, scores(-1.5));
    label_file(&folder.join("mean.parquet"), &cards[0], &train, scores(-0.5));
    label_file(&folder.join("weighted.parquet"), &cards[0], &train, scores(0.0));

    let both = run(on_files(&options, folder, &["a.parquet", "b.parquet"]));
    let mean = weights(&run(on_files(&options, folder, &["mean.parquet"])));
    assert!(weights(&both) == mean);
    assert_eq!(read_json(&both.join("teacher.json")), json!(cards));
    assert_eq!(read_json(&both.join("labels.json")), json!(LABELS));
    // 24 examples in two epochs, for two teachers.
    assert_eq!(read_json(&both.join("summary.json"))["stream"]["from_file"], 96);
    let again = TrainOptions { output: Some(folder.join("again")), ..TrainOptions::default() };
    let again = again.over_file(Some(&both.join("config.toml"))).unwrap();
    assert!(weights(&run(again)) == mean);

    let weighted = TrainOptions {
        teacher_weights: Some(vec![3.0, 1.0]),
        output: Some(folder.join("by weight")),
        ..on_files(&options, folder, &["a.parquet", "b.parquet"])
    };
    let expected = weights(&run(on_files(&options, folder, &["weighted.parquet"])));
    assert!(weights(&run(weighted)) == expected && expected != mean);
}

#[test]
fn one_server_given_twice_teaches_what_it_teaches_once() {
    let _alone = alone();
    let (folder, server) = (tempfile::tempdir().unwrap(), Server::start());
    let once = options(folder.path(), &server, "once");
    let url = server.url().to_string();
    let twice = TrainOptions {
        teacher: Some(vec![url.clone(), url]),
        output: Some(folder.path().join("twice")),
        ..once.clone()
    };
    let (once, twice) = (run(once), run(twice));
    assert!(weights(&once) == weights(&twice));
    let summary = read_json(&twice.join("summary.json"));
    // 24 texts, asked for by two streams.
    assert_eq!(summary["stream"]["asked"], 48);
}

#[test]
fn by_confidence_each_example_is_taught_by_the_teacher_that_knows_its_label() {
    let _alone = alone();
    let (folder, server) = (tempfile::tempdir().unwrap(), Server::start());
    let folder = folder.path();
    let options = TrainOptions { loss: Some(LossKind::Kl), ..options(folder, &server, "unused") };
    let train = options.train.clone().unwrap();
    // So sure that who is wrong has a weight of exactly 0.
    let sure = |i: usize, label: &str, right: bool| {
        let of = |name: &'static str| {
            let value = if (name == label) == right { 2000.0 } else { -2000.0 };
            (name, value + i as f32)
        };
        LABELS.map(of)
    };
    let (first, second) = (server.card(), other(&server, OTHER_ORDER));
    label_file(&folder.join("even.parquet"), &first, &train, |i, label| sure(i, label, i % 2 == 0));
    label_file(&folder.join("odd.parquet"), &second, &train, |i, label| sure(i, label, i % 2 == 1));
    label_file(&folder.join("right.parquet"), &first, &train, |i, label| sure(i, label, true));
    let confident = TrainOptions {
        combine: Some(CombineKind::Confidence),
        ..on_files(&options, folder, &["even.parquet", "odd.parquet"])
    };
    let right = weights(&run(on_files(&options, folder, &["right.parquet"])));
    assert!(weights(&run(confident)) == right);
}

#[test]
fn teachers_of_other_labels_are_refused_with_both_names() {
    let _alone = alone();
    let (folder, server) = (tempfile::tempdir().unwrap(), Server::start());
    let folder = folder.path();
    let options = options(folder, &server, "unused");
    let train = options.train.clone().unwrap();
    let rows = |_: usize, _: &str| [("positive", 1.0), ("negative", 0.0), ("mixed", 0.5)];
    label_file(&folder.join("a.parquet"), &server.card(), &train, scores(1.0));
    let mixed = other(&server, ["positive", "negative", "mixed"]);
    label_file(&folder.join("b.parquet"), &mixed, &train, rows);
    let config = on_files(&options, folder, &["a.parquet", "b.parquet"]).resolve().unwrap();
    let error = student_trainer::train::train(&config, Device::Cpu).unwrap_err();
    let error = format!("{error:#}");
    for said in ["with_pooler", "other", "\"neutral\" only here", "\"mixed\" only there"] {
        assert!(error.contains(said), "{said}: {error}");
    }
    assert!(!config.output.exists(), "a run that did not begin has left a folder");
}

#[test]
fn an_example_that_one_teacher_lacks_has_no_soft_label() {
    let _alone = alone();
    let (folder, server) = (tempfile::tempdir().unwrap(), Server::start());
    let folder = folder.path();
    let options =
        TrainOptions { on_missing: Some(OnMissing::Skip), ..options(folder, &server, "unused") };
    let train = options.train.clone().unwrap();
    let few = folder.join("few.jsonl");
    let text = fs::read_to_string(&train).unwrap();
    fs::write(&few, text.lines().take(21).collect::<Vec<_>>().join("\n")).unwrap();
    label_file(&folder.join("all.parquet"), &server.card(), &train, scores(1.0));
    label_file(&folder.join("few.parquet"), &other(&server, LABELS), &few, scores(2.0));
    let run = run(on_files(&options, folder, &["all.parquet", "few.parquet"]));
    // Three examples in two epochs.
    assert_eq!(read_json(&run.join("summary.json"))["left_out"], 6);
}
