//! Judging a model on labelled examples.

use std::{
    io::{self, Write as _},
    path::Path,
    time::{Duration, Instant},
};

use serde_json::json;
use tracing::warn;

use super::{CommandError, EvaluateOptions, cannot_write};
use crate::{
    data::{Columns, Example, LabelSet, LabelUse, Records, Target, Task, read_records},
    files::write_atomically,
    metrics::{Mean, Report},
    models::{Classifier, ModelError, Prediction, classify},
};

/// How a model did.
#[derive(Debug)]
pub struct Evaluation {
    /// The task's report.
    pub report: Report,
    /// The task's mean loss against the hard targets: cross-entropy in nats, binary cross-entropy over
    /// labels too, or squared error.
    pub loss: f64,
    /// Examples judged.
    pub examples: usize,
    /// Those among them that are longer than the model reads.
    pub truncated: usize,
    /// Time for tokenising and computing all of them.
    pub took: Duration,
    /// The answers, in the examples' order.
    pub predictions: Vec<Prediction>,
}

impl Evaluation {
    /// Examples in a second, tokenising included.
    pub fn sentences_per_second(&self) -> f64 {
        self.examples as f64 / self.took.as_secs_f64().max(1e-9)
    }

    /// Says, once it is known and if there are any, that the ends of long texts were not read; `of` is
    /// what they were read from.
    pub fn say_truncated(&self, of: impl std::fmt::Display) {
        say_truncated(self.truncated, self.examples, of);
    }

    /// The numbers for `--json`; `bytes` is the size of the weights on disk.
    pub fn to_json(&self, model: &dyn Classifier, bytes: u64, threads: usize) -> serde_json::Value {
        let mut numbers = json!({
            "task": model.labels().task(),
            "loss": self.loss,
            "examples": self.examples,
            "sentences_per_second": self.sentences_per_second(),
            "threads": threads,
            "parameters": model.parameter_count(),
            "bytes": bytes,
            "report": self.report.to_json(),
        });
        for (name, score) in self.report.scores() {
            numbers[name] = score.into();
        }
        numbers
    }
}

/// The `evaluate` command: reads the data for the model's task, then loads the model, and prints the
/// report. `bytes` is the size of the model's weights on disk.
pub fn evaluate_model<M: Classifier>(
    options: &EvaluateOptions,
    bytes: u64,
    task: Task,
    load: impl FnOnce() -> Result<M, ModelError>,
) -> Result<(), CommandError> {
    options.compute.set_threads();
    let columns = Columns::from(options.columns.clone());
    let records = read_records(&options.data, &columns, LabelUse::Required(task))?;
    let model = load()?;
    let examples = resolve(records, options.label_names.as_deref(), model.labels())?;
    let evaluation = judge(&model, &examples)?;
    evaluation.say_truncated(options.data.display());
    if let Some(path) = &options.json {
        let json = evaluation.to_json(&model, bytes, options.compute.threads());
        write_atomically(path, format!("{json:#}\n").as_bytes())
            .map_err(cannot_write(path.display()))?;
    }
    write!(io::stdout(), "{}", as_text(&evaluation.report)).map_err(cannot_write("standard output"))
}

/// The report and what stands below it.
fn as_text(report: &Report) -> String {
    match report.details() {
        Some(details) => format!("{report}\n{details}"),
        None => report.to_string(),
    }
}

pub(super) fn say_truncated(truncated: usize, examples: usize, of: impl std::fmt::Display) {
    if truncated > 0 {
        warn!(truncated, examples, %of, "texts are longer than the model reads; their ends were cut off");
    }
}

/// Examples with their labels as the model numbers them; `names` is what the data's ids mean where that
/// differs.
fn resolve(
    records: Records,
    names: Option<&Path>,
    model: &LabelSet,
) -> Result<Vec<Example>, CommandError> {
    let Some(path) = names else {
        return Ok(records.resolve(model)?);
    };
    let names = LabelSet::from_file(path, model.task())?;
    let to_model = names
        .mapping_to(model)
        .map_err(|source| CommandError::Labels { path: path.to_owned(), source })?;
    let mut examples = records.resolve(&names)?;
    for target in examples.iter_mut().filter_map(|example| example.target.as_mut()) {
        target.renumber(&to_model);
    }
    Ok(examples)
}

/// Labels `examples`, whose targets are of the model's own label set, and compares. Silent, so that
/// it can be called every epoch.
pub fn judge(model: &dyn Classifier, examples: &[Example]) -> Result<Evaluation, ModelError> {
    let start = Instant::now();
    let texts = examples.iter().map(|e| (e.text.as_str(), e.text_pair.as_deref()));
    let predictions = classify(model, texts)?;
    let took = start.elapsed();

    let truncated = predictions.iter().filter(|p| p.truncated).count();
    let labels = model.labels();
    let (mut pairs, mut loss) = (Vec::with_capacity(examples.len()), Mean::default());
    for (example, prediction) in examples.iter().zip(&predictions) {
        if let Some(truth) = &example.target {
            pairs.push((truth, prediction.target(labels.task())));
            loss.add(self::loss(&prediction.logits, truth), 1);
        }
    }
    let report = Report::new(labels, &pairs);
    let (loss, examples) = (loss.value(), examples.len());
    Ok(Evaluation { report, loss, examples, truncated, took, predictions })
}

/// The task's loss of one example, in float64; see [`HardTargets::loss`](crate::training::HardTargets::loss).
fn loss(logits: &[f32], truth: &Target) -> f64 {
    match truth {
        Target::Label(class) => cross_entropy(logits, *class),
        Target::Labels(classes) => {
            // -log σ(z) = log(1 + exp(-z)), from the larger side so that nothing overflows.
            let term = |(class, &z): (usize, &f32)| {
                let z = f64::from(if classes.contains(&class) { -z } else { z });
                z.max(0.0) + (-z.abs()).exp().ln_1p()
            };
            logits.iter().enumerate().map(term).sum::<f64>() / logits.len() as f64
        }
        Target::Value(value) => logits.iter().map(|&z| f64::from(z - value).powi(2)).sum(),
    }
}

/// `log Σ exp(z) - z_y`, in float64 from the largest down.
fn cross_entropy(logits: &[f32], label: usize) -> f64 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|z| f64::from(z - largest).exp()).sum();
    sum.ln() - f64::from(logits[label] - largest)
}

/// Writes `NAME_report.txt`, what `evaluate` prints, and `NAME_report.json`.
pub fn write_report(folder: &Path, name: &str, report: &Report) -> io::Result<()> {
    let text = as_text(report);
    write_atomically(&folder.join(format!("{name}_report.txt")), text.as_bytes())?;
    let json = format!("{:#}\n", report.to_json());
    write_atomically(&folder.join(format!("{name}_report.json")), json.as_bytes())
}

#[cfg(test)]
mod tests {
    use tch::{Device, Tensor};

    use super::*;
    use crate::training::HardTargets;

    #[test]
    fn the_loss_of_an_example_is_the_one_that_is_trained_on() {
        for (task, truth, logits) in [
            (Task::SingleLabel, Target::Label(2), vec![1.5f32, -90.0, 0.25]),
            (Task::MultiLabel, Target::Labels(vec![0, 2]), vec![1.5, -90.0, -100.0]),
            (Task::Regression, Target::Value(0.5), vec![-1.25]),
        ] {
            let names = (0..logits.len()).map(|name| name.to_string()).collect();
            let labels = LabelSet::of_task(task, names).unwrap();
            let hard =
                HardTargets::new(&labels, std::iter::once(Some(&truth)), Device::Cpu).unwrap();
            let outputs = Tensor::from_slice(&logits).view([1, -1]).to_kind(tch::Kind::Double);
            let trained_on = hard.loss(&outputs).unwrap().unwrap().double_value(&[]);
            // Both in float64.
            assert!((loss(&logits, &truth) - trained_on).abs() < 1e-12, "{task}");
        }
    }
}
