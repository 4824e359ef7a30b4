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
    data::{Columns, Example, LabelSet, LabelUse, Records, read_records},
    files::write_atomically,
    metrics::{ClassificationReport, Mean},
    models::{Classifier, ModelError, classify},
};

/// How a model did.
#[derive(Debug)]
pub struct Evaluation {
    /// The classification report.
    pub report: ClassificationReport,
    /// Mean cross-entropy against the hard labels, in nats.
    pub loss: f64,
    /// Examples judged.
    pub examples: usize,
    /// Those among them that are longer than the model reads.
    pub truncated: usize,
    /// Time for tokenising and computing all of them.
    pub took: Duration,
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
        json!({
            "accuracy": self.report.accuracy(),
            "macro_f1": self.report.macro_f1(),
            "loss": self.loss,
            "examples": self.examples,
            "sentences_per_second": self.sentences_per_second(),
            "threads": threads,
            "parameters": model.parameters().count(),
            "bytes": bytes,
            "report": self.report.to_json(),
        })
    }
}

/// The `evaluate` command: reads the data, then loads the model, and prints the report. `bytes` is
/// the size of the model's weights on disk.
pub fn evaluate_model<M: Classifier>(
    options: &EvaluateOptions,
    bytes: u64,
    load: impl FnOnce() -> Result<M, ModelError>,
) -> Result<(), CommandError> {
    options.compute.set_threads();
    let columns = Columns::from(options.columns.clone());
    let records = read_records(&options.data, &columns, LabelUse::Required)?;
    let model = load()?;
    let examples = resolve(records, options.label_names.as_deref(), model.labels())?;
    let evaluation = judge(&model, &examples)?;
    evaluation.say_truncated(options.data.display());
    if let Some(path) = &options.json {
        let json = evaluation.to_json(&model, bytes, options.compute.threads());
        write_atomically(path, format!("{json:#}\n").as_bytes())
            .map_err(cannot_write(path.display()))?;
    }
    let report = &evaluation.report;
    write!(io::stdout(), "{report}\n{}", report.matrix_table())
        .map_err(cannot_write("standard output"))
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
    let names = LabelSet::from_file(path)?;
    let to_model = names
        .mapping_to(model)
        .map_err(|source| CommandError::Labels { path: path.to_owned(), source })?;
    let mut examples = records.resolve(&names)?;
    for example in &mut examples {
        example.label = example.label.map(|label| to_model[label]);
    }
    Ok(examples)
}

/// Labels `examples`, whose hard labels index the model's own label set, and compares. Silent, so that
/// it can be called every epoch.
pub fn judge(model: &dyn Classifier, examples: &[Example]) -> Result<Evaluation, ModelError> {
    let start = Instant::now();
    let texts = examples.iter().map(|e| (e.text.as_str(), e.text_pair.as_deref()));
    let predictions = classify(model, texts)?;
    let took = start.elapsed();

    let truncated = predictions.iter().filter(|p| p.truncated).count();
    let labelled = || examples.iter().zip(&predictions).filter_map(|(e, p)| Some((e.label?, p)));
    let pairs = labelled().map(|(label, p)| (label, p.label()));
    let report = ClassificationReport::from_pairs(pairs, model.labels().names());
    let mut loss = Mean::default();
    for (label, prediction) in labelled() {
        loss.add(cross_entropy(&prediction.logits, label), 1);
    }
    Ok(Evaluation { report, loss: loss.value(), examples: examples.len(), truncated, took })
}

/// `log Σ exp(z) - z_y`, in float64 from the largest down.
fn cross_entropy(logits: &[f32], label: usize) -> f64 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|z| f64::from(z - largest).exp()).sum();
    sum.ln() - f64::from(logits[label] - largest)
}

/// Writes `NAME_report.txt`, the report and the confusion matrix as text, and `NAME_report.json`.
pub fn write_report(folder: &Path, name: &str, report: &ClassificationReport) -> io::Result<()> {
    let text =
        format!("{report}\nconfusion matrix, true labels in rows\n{}", report.matrix_table());
    write_atomically(&folder.join(format!("{name}_report.txt")), text.as_bytes())?;
    let json = format!("{:#}\n", report.to_json());
    write_atomically(&folder.join(format!("{name}_report.json")), json.as_bytes())
}
