//! From a configuration to a complete run folder.

use anyhow::Context as _;
use lectern::{
    commands::{CHECKPOINT, claim_folder},
    data::contents_hash,
    models::Student,
    training::Checkpoint,
};
use serde_json::Value;
use tch::Device;
use tracing::info;

use crate::{
    config::{Shape, TrainConfig},
    finish::finish,
    prepare::prepare,
    run::Run,
    run_folder::RunFolder,
};

/// What a run came to; `summary.json` of the run folder.
#[derive(Debug, Clone)]
pub struct Summary(pub Value);

/// Trains one student as configured, or goes on with its training, and leaves a complete run folder.
pub fn train(config: &TrainConfig, device: Device) -> anyhow::Result<Summary> {
    let mut prepared = prepare(config)?;
    let teachers: Vec<_> = prepared.cards.iter().map(|card| card.fingerprint.to_string()).collect();
    let mut settings = prepared.objective.settings([
        ("train", contents_hash(&prepared.data.train)),
        ("dev", contents_hash(&prepared.data.dev)),
        ("labels-of-data", prepared.data.labels.names().join(", ")),
        ("tokenizer", blake3::hash(prepared.tokenizer.json().as_bytes()).to_hex()[..16].to_owned()),
        ("teacher", teachers.join(", ")),
        ("first-weights", prepared.initial.hash()?),
    ])?;
    if matches!(config.student_settings.shape, Shape::Described { .. }) {
        let encoder = serde_json::to_string(&prepared.model)?;
        let hash = blake3::hash(encoder.as_bytes()).to_hex()[..16].to_owned();
        settings.insert("encoder-config".to_owned(), hash.into());
    }
    let checkpoint = Checkpoint::new(config.output.join(CHECKPOINT), settings);
    if !checkpoint.exists() {
        claim_folder(&config.output)?;
    }
    tch::manual_seed(config.seed.into());
    let student = Student::initialised(
        prepared.model.clone(),
        prepared.data.labels.clone(),
        prepared.tokenizer.clone(),
        prepared.initial.shallow_clone(),
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
