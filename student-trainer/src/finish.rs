//! The end of a run: what is on disk is loaded and judged, and reports, predictions and summary are written.

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
    predictions::{self, BesidesReport, Judged},
    prepare::Prepared,
    run::Run,
    run_folder::{RunFolder, SUMMARY},
    student::Coverage,
    teachers::Teachers,
    train::Summary,
};

/// Loads what is on disk, judges that on dev and test, asks the teacher for its answers to them, and writes
/// reports, predictions and, last, the summary: a folder that has one is finished.
pub(crate) fn finish(
    config: &TrainConfig,
    prepared: &Prepared,
    run: &Run<'_>,
    folder: &RunFolder,
    device: Device,
) -> anyhow::Result<Summary> {
    let best = Student::load(folder.path(), device)?;
    let weights = folder.path().join(BEST_WEIGHTS);
    let weights = weights.metadata().with_context(|| weights.display().to_string())?;
    let data = &prepared.data;
    let sets = [("dev", Some(&data.dev)), ("test", data.test.as_ref())];
    let examples: Vec<&Example> = sets.iter().filter_map(|(_, set)| *set).flatten().collect();
    let mut teacher = evaluation_rows(config, &prepared.cards, &examples);

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

    let state = &run.state;
    let stream = run.soft().map(Teachers::metrics);
    let summary = json!({
        "name": config.name,
        "task": prepared.objective.task,
        "seed": config.seed,
        "best_epoch": state.best.map(|best| best.epoch),
        "dev": scores["dev"],
        "test": scores["test"],
        "parameters": best.parameters().count(),
        "weights_bytes": weights.len(),
        "predict_examples_per_second": per_second,
        "train": prepared.order.counts(),
        "word_vectors": prepared.coverage.map(Coverage::to_json),
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
