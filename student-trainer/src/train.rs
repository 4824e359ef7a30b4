//! From a configuration to a complete run folder.

use anyhow::Context as _;
use lectern::{
    commands::{CHECKPOINT, claim_folder, judge, write_report},
    data::contents_hash,
    models::Student,
    training::Checkpoint,
};
use serde_json::{Value, json};
use tch::Device;
use tracing::info;

use crate::{
    config::TrainConfig,
    prepare::{Prepared, prepare},
    run::Run,
    run_folder::{RunFolder, SUMMARY},
    teachers::Teachers,
};

/// What a run came to; `summary.json` of the run folder.
#[derive(Debug, Clone)]
pub struct Summary(pub Value);

/// Trains one student as configured, or goes on with its training, and leaves a complete run folder.
pub fn train(config: &TrainConfig, device: Device) -> anyhow::Result<Summary> {
    let mut prepared = prepare(config)?;
    let teachers: Vec<_> = prepared.cards.iter().map(|card| card.fingerprint.to_string()).collect();
    let settings = prepared.objective.settings([
        ("train", contents_hash(&prepared.data.train)),
        ("dev", contents_hash(&prepared.data.dev)),
        ("labels-of-data", prepared.data.labels.names().join(", ")),
        ("tokenizer", blake3::hash(prepared.tokenizer.json().as_bytes()).to_hex()[..16].to_owned()),
        ("teacher", teachers.join(", ")),
    ])?;
    let checkpoint = Checkpoint::new(config.output.join(CHECKPOINT), settings);
    if !checkpoint.exists() {
        claim_folder(&config.output)?;
    }
    tch::manual_seed(config.seed.into());
    let student = Student::fresh(
        prepared.model.clone(),
        prepared.data.labels.clone(),
        prepared.tokenizer.clone(),
        device,
    )?;
    student.parameters().set_trainable(|_| true)?;
    let counts = prepared.order.counts();
    info!(
        run = config.name,
        student = ?config.student,
        parameters = student.parameters().count(),
        vocabulary = prepared.tokenizer.vocabulary_size(),
        train = counts.labelled,
        augmented = counts.augmented,
        unlabelled = counts.unlabelled,
        task = %prepared.objective.task,
        labels = ?prepared.data.labels.names(),
        loss = ?prepared.objective.loss,
        teachers = ?prepared.cards.iter().map(|card| card.fingerprint.short()).collect::<Vec<_>>(),
        "training"
    );
    let teachers = prepared.teachers.take();
    let mut run = Run::begin(config, &prepared, teachers, &student, &checkpoint, device)?;
    let options = &prepared.objective.resolved;
    let folder = RunFolder::describe(&config.output, options, &prepared.cards)?;
    student.save_description(folder.path())?;
    run.train()?;
    let summary = finish(config, &prepared, &run, &folder, device)?;
    checkpoint
        .remove()
        .with_context(|| format!("cannot remove {}", checkpoint.path().display()))?;
    Ok(summary)
}

/// Loads what is on disk, judges that, and writes reports and summary.
fn finish(
    config: &TrainConfig,
    prepared: &Prepared,
    run: &Run<'_>,
    folder: &RunFolder,
    device: Device,
) -> anyhow::Result<Summary> {
    let best = Student::load(folder.path(), device)?;
    let mut scores = serde_json::Map::new();
    let sets = [("dev", Some(&prepared.data.dev)), ("test", prepared.data.test.as_ref())];
    for (name, examples) in sets {
        let score = match examples {
            None => Value::Null,
            Some(examples) => {
                let evaluation = judge(&best, examples)?;
                evaluation.say_truncated(name);
                write_report(folder.path(), name, &evaluation.report)
                    .with_context(|| format!("cannot write the {name} report"))?;
                evaluation.report.scores_json()
            }
        };
        scores.insert(name.to_owned(), score);
    }
    let state = &run.state;
    let stream = run.soft().map(Teachers::metrics);
    let summary = json!({
        "name": config.name,
        "task": prepared.objective.task,
        "best_epoch": state.best.map(|best| best.epoch),
        "dev": scores["dev"],
        "test": scores["test"],
        "parameters": best.parameters().count(),
        "seed": config.seed,
        "train": prepared.order.counts(),
        "wait_share": state.wait_share(),
        "train_seconds": state.seconds,
        "examples_per_second": state.examples as f64 / state.seconds.max(1e-9),
        "trained_without_soft_label": state.without_soft_label,
        "left_out": state.left_out,
        "stream": stream.map(|m| json!({
            "asked": m.asked, "answered": m.answered, "from_memory": m.from_memory,
            "from_file": m.from_file, "joined": m.joined, "truncated": m.truncated, "missing": m.missing,
            "reconnects": m.reconnects,
        })),
    });
    folder.write_json(SUMMARY, &summary)?;
    info!(
        best_epoch = %summary["best_epoch"],
        dev = %summary["dev"],
        test = %summary["test"],
        wait_share = %summary["wait_share"],
        folder = %folder.path().display(),
        "run complete"
    );
    Ok(Summary(summary))
}
