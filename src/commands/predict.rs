//! Labelling a stream of text of any length in constant memory, in order.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Write},
    path::Path,
};

use serde_json::{Value, json};
use tracing::info;

use super::{CommandError, PredictOptions, cannot_write, evaluate::say_truncated};
use crate::{
    data::{InputFormat, InputRecords, LabelSet, Record, Target},
    models::{Classifier, ModelError, Prediction, classify, sigmoid, softmax},
};

/// Lines held at once: enough to sort by length and pad little, few enough to answer soon.
const LINES_AT_ONCE: usize = 1024;

/// The `predict` command: opens the input, then loads the model, then answers on standard output.
pub fn predict_with<M: Classifier>(
    options: &PredictOptions,
    load: impl FnOnce() -> Result<M, ModelError>,
) -> Result<(), CommandError> {
    options.compute.set_threads();
    let input: Box<dyn BufRead> = if options.input == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        let file = File::open(&options.input)
            .map_err(|source| CommandError::Read { path: options.input.clone(), source })?;
        Box::new(BufReader::new(file))
    };
    let format = if options.plain { InputFormat::Plain } else { InputFormat::JsonLines };
    let records = InputRecords::new(input, &options.input, format);
    let labelled = predict(&load()?, records, &mut BufWriter::new(io::stdout().lock()))?;
    info!(labelled, "done");
    Ok(())
}

/// Writes one JSON line for each record, in order: `label`, or in a multi-label task `labels`, with
/// `probabilities` by label name and `logits` in the order of the model's labels; in a regression `value`.
/// On a bad line everything before it has been written.
pub fn predict(
    model: &dyn Classifier,
    mut input: InputRecords<impl BufRead>,
    out: &mut impl Write,
) -> Result<usize, CommandError> {
    let failed = || cannot_write("the output");
    let (mut written, mut truncated) = (0, 0);
    loop {
        let mut bad = None;
        let records: Vec<Record> = input
            .by_ref()
            .take(LINES_AT_ONCE)
            .map_while(|record| record.map_err(|cause| bad = Some(cause)).ok())
            .collect();
        let texts = records.iter().map(|r| (r.text.as_str(), r.text_pair.as_deref()));
        for prediction in classify(model, texts)? {
            let mut line = answer(&prediction, model.labels());
            if prediction.truncated {
                line["truncated"] = json!(true);
                truncated += 1;
            }
            writeln!(out, "{line}").map_err(failed())?;
        }
        out.flush().map_err(failed())?;
        written += records.len();
        if bad.is_some() || records.len() < LINES_AT_ONCE {
            say_truncated(truncated, written, "the input");
            return bad.map_or(Ok(written), |cause| Err(cause.into()));
        }
    }
}

fn answer(prediction: &Prediction, labels: &LabelSet) -> Value {
    let (names, logits) = (labels.names(), &prediction.logits);
    let by_name = |probabilities: Vec<f64>| -> Value {
        names.iter().cloned().zip(probabilities.into_iter().map(Value::from)).collect()
    };
    match prediction.target(labels.task()) {
        Target::Label(class) => json!({
            "label": names[class],
            "probabilities": by_name(softmax(logits)),
            "logits": logits,
        }),
        Target::Labels(classes) => json!({
            "labels": classes.into_iter().map(|class| &names[class]).collect::<Vec<_>>(),
            "probabilities": by_name(sigmoid(logits)),
            "logits": logits,
        }),
        Target::Value(value) => json!({"value": value}),
    }
}
