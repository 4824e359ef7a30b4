//! What whole trainings come to, in accuracy and minutes.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{
    common::{self, measure},
    pytorch::{self, RECIPE, finetune},
    tnews::Tnews,
};

/// An empty folder under `target/bench` for a teacher.
fn output(name: &str) -> Result<PathBuf> {
    let folder = common::folder().join("teachers").join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    Ok(folder)
}

/// Accuracy in the report that `finetune` wrote for a split.
fn accuracy(folder: &Path, split: &str) -> Result<f64> {
    let path = folder.join(format!("{split}_report.json"));
    let report: Value = serde_json::from_slice(&fs::read(&path)?)?;
    report["accuracy"].as_f64().with_context(|| format!("{} has no accuracy", path.display()))
}

/// Both sides with the same recipe.
pub(crate) fn tnews(
    encoder: &Path,
    data: &Tnews,
    python: &str,
    threads: usize,
) -> Result<Vec<Value>> {
    let theirs = pytorch::train(python, encoder, data, threads)?;
    println!(
        "PyTorch: dev {:.4}, test {:.4}, {:.1} minutes of training",
        theirs.dev,
        theirs.test,
        theirs.train_seconds / 60.0
    );
    let folder = output("tnews")?;
    let threads = threads.to_string();
    let files = [
        ("--encoder", encoder),
        ("--train", &data.train),
        ("--dev", &data.dev),
        ("--test", &data.test),
        ("--output", &folder),
    ];
    let files = files.iter().flat_map(|(flag, path)| [OsStr::new(*flag), path.as_os_str()]);
    let recipe = RECIPE.split_whitespace().chain(["--threads", &threads]).map(OsStr::new);
    let start = Instant::now();
    finetune(files.chain(recipe))?;
    let minutes = start.elapsed().as_secs_f64() / 60.0;
    let test = accuracy(&folder, "test")?;
    println!(
        "ours: dev {:.4}, test {test:.4}, {minutes:.1} minutes in all",
        accuracy(&folder, "dev")?
    );
    let mut in_time = measure("tnews5_minutes", minutes, "minutes", Some(20.0));
    in_time["met"] = (minutes <= 20.0).into();
    Ok(vec![
        measure("tnews5_accuracy", test, "share", None),
        measure("tnews5_accuracy_pytorch", theirs.test, "share", None),
        measure("tnews5_accuracy_minus_pytorch", test - theirs.test, "share", Some(0.0)),
        in_time,
    ])
}

/// Each encoder, all of it or its last layers.
pub(crate) fn sst2(data: &Path, encoders: &[String], threads: usize) -> Result<Vec<Value>> {
    let threads = threads.to_string();
    let mut measures = Vec::new();
    for given in encoders {
        let (encoder, layers) = given.rsplit_once('=').unwrap_or((given, "all"));
        let name = Path::new(encoder).file_name().context("an encoder without a name")?;
        let name = name.to_string_lossy().replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        let folder = output(&format!("sst2-{name}"))?;
        let (train, dev) = (data.join("train.tsv"), data.join("dev.tsv"));
        let words = [
            OsStr::new("--encoder"),
            OsStr::new(encoder),
            OsStr::new("--train"),
            train.as_os_str(),
            OsStr::new("--dev"),
            dev.as_os_str(),
            OsStr::new("--output"),
            folder.as_os_str(),
        ];
        let recipe = "--head linear --pooling mean --epochs 2 --lr 5e-5 --batch-size 32 --seed 1";
        let more = recipe.split(' ').chain(["--trainable-layers", layers, "--threads", &threads]);
        let start = Instant::now();
        finetune(words.into_iter().chain(more.map(OsStr::new)))?;
        let minutes = start.elapsed().as_secs_f64() / 60.0;
        let dev = accuracy(&folder, "dev")?;
        println!("{name}, layers {layers}: dev {dev:.4}, {minutes:.1} minutes");
        measures.push(measure(&format!("sst2_dev_accuracy_{name}"), dev, "share", None));
    }
    Ok(measures)
}
