//! A small data set and short training runs on it.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use lectern::models::{BEST_WEIGHTS, LAST_WEIGHTS};
use serde_json::{Value, json};
use student_trainer::{
    config::{StudentKind, TrainOptions},
    train::train,
};
use tch::Device;

use crate::support::Server;

/// Weights come from libtorch's one random state, so one run at a time may draw from it.
static RANDOM_STATE: Mutex<()> = Mutex::new(());

/// Holds the random state, for one thread's computing.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    tch::set_num_threads(1);
    RANDOM_STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Texts whose one telling word says the label.
pub(crate) fn rows(subjects: &[&str]) -> Vec<(String, &'static str)> {
    let words = [("dull", "negative"), ("new", "neutral"), ("great", "positive")];
    let row =
        |subject: &&str| words.map(|(word, label)| (format!("the {subject} is {word}"), label));
    subjects.iter().flat_map(row).collect()
}

pub(crate) fn write(path: &Path, rows: &[(String, &str)]) -> PathBuf {
    let line = |(text, label): &(String, &str)| json!({"text": text, "label": label}).to_string();
    fs::write(path, rows.iter().map(line).collect::<Vec<_>>().join("\n")).unwrap();
    path.to_owned()
}

/// A small student of the server's teacher, whose files lie in `folder`.
pub(crate) fn options(folder: &Path, server: &Server, run: &str) -> TrainOptions {
    let train = rows(&["film", "movie", "story", "plot", "cast", "scene", "actor", "play"]);
    TrainOptions {
        train: Some(write(&folder.join("train.jsonl"), &train)),
        dev: Some(write(&folder.join("dev.jsonl"), &rows(&["film", "plot"]))),
        test: Some(write(&folder.join("test.jsonl"), &rows(&["cast", "story", "play"]))),
        output: Some(folder.join(run)),
        teacher: Some(vec![server.url().to_string()]),
        student: Some(StudentKind::BilstmPaper),
        min_count: Some(1),
        augment: Some(0),
        epochs: Some(2),
        batch_size: Some(8),
        ..TrainOptions::default()
    }
}

/// Trains, and tells where the run folder is.
pub(crate) fn run(options: TrainOptions) -> PathBuf {
    let config = options.resolve().unwrap();
    train(&config, Device::Cpu).unwrap();
    config.output
}

pub(crate) fn read_json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// The weight files of a run. Compare them without printing: they are megabytes.
pub(crate) fn weights(run: &Path) -> [Vec<u8>; 2] {
    [BEST_WEIGHTS, LAST_WEIGHTS].map(|name| fs::read(run.join(name)).unwrap())
}
