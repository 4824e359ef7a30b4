//! The end of a run: what is on disk is loaded and judged, and reports, predictions and summary are written.

use std::time::Duration;

use anyhow::Context as _;
use lectern::{
    commands::{judge, write_report},
    data::Example,
    models::{BEST_WEIGHTS, Student},
};
use serde_json::{Value, json};
use tch::Device;
use tracing::info;

use crate::{
    config::TrainConfig,
    evaluation_rows::evaluation_rows,
    labels::StreamMetrics,
    predictions::{self, BesidesReport, Judged},
    prepare::Prepared,
    run_folder::RunFolder,
    train::Summary,
};

/// What training came to, for the summary.
#[derive(Debug)]
pub(crate) struct Trained {
    pub(crate) best_epoch: Option<usize>,
    /// Time in training steps, waiting included, evaluation not.
    pub(crate) took: Duration,
    /// Examples trained on, each as often as it was.
    pub(crate) examples: usize,
    /// Share of that time in which the teacher was waited for.
    pub(crate) wait_share: f64,
    pub(crate) without_soft_label: usize,
    pub(crate) left_out: usize,
    /// Where the rows came from, if there were any.
    pub(crate) stream: Option<StreamMetrics>,
}

/// Loads what is on disk, judges that on dev and test, asks the teacher for its answers to them, and writes
/// reports, predictions and, last, the summary: a folder that has one is finished.
pub(crate) fn finish(
    config: &TrainConfig,
    prepared: &Prepared,
    trained: &Trained,
    folder: &RunFolder,
    device: Device,
) -> anyhow::Result<Summary> {
    let best = Student::load(folder.path(), device)?;
    let weights = folder.path().join(BEST_WEIGHTS);
    let weights = weights.metadata().with_context(|| weights.display().to_string())?;
    let data = &prepared.data;
    let sets = [("dev", Some(&data.dev)), ("test", data.test.as_ref())];
    let examples: Vec<&Example> = sets.iter().filter_map(|(_, set)| *set).flatten().collect();
    let mut teacher = evaluation_rows(config, prepared.card.as_ref(), &examples);

    let mut scores = serde_json::Map::new();
    let mut per_second = Value::Null;
    for (name, examples) in sets {
        let Some(examples) = examples else {
            scores.insert(name.to_owned(), Value::Null);
            continue;
        };
        let evaluation = judge(&best, examples)?;
        evaluation.say_truncated(name);
        write_report(folder.path(), name, &evaluation.report)
            .with_context(|| format!("cannot write the {name} report"))?;
        let later = teacher.split_off(examples.len().min(teacher.len()));
        let lines = predictions::lines(&data.labels, examples, &evaluation.predictions, &teacher);
        teacher = later;
        predictions::write(folder.path(), name, &lines)?;
        let judged = lines.iter().map(|line| Judged::new(line, &data.labels));
        let judged: Vec<_> = judged.collect::<Result<_, _>>()?;
        let mut score = evaluation.report.scores_json();
        for (name, value) in BesidesReport::of(&judged).iter() {
            score[name] = value.into();
        }
        scores.insert(name.to_owned(), score);
        if name == "dev" {
            per_second = evaluation.sentences_per_second().into();
        }
    }

    let seconds = trained.took.as_secs_f64();
    let summary = json!({
        "name": config.name,
        "task": prepared.objective.task,
        "best_epoch": trained.best_epoch,
        "dev": scores["dev"],
        "test": scores["test"],
        "parameters": best.parameters().count(),
        "weights_bytes": weights.len(),
        "predict_examples_per_second": per_second,
        "wait_share": trained.wait_share,
        "train_seconds": seconds,
        "examples_per_second": trained.examples as f64 / seconds.max(1e-9),
        "trained_without_soft_label": trained.without_soft_label,
        "left_out": trained.left_out,
        "stream": trained.stream.map(|m| json!({
            "asked": m.asked, "answered": m.answered, "from_memory": m.from_memory,
            "from_file": m.from_file, "joined": m.joined, "truncated": m.truncated, "missing": m.missing,
            "reconnects": m.reconnects,
        })),
    });
    folder.write_json("summary.json", &summary)?;
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
