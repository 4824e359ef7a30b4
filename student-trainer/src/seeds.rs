//! The same run under several seeds: one folder each, and the mean of what they come to.

use std::fs;

use anyhow::{Context as _, ensure};
use lectern::{commands::check_free, files::write_atomically, metrics::Sample};
use serde_json::{Map, Value, json};
use tch::Device;
use tracing::info;

use crate::{
    config::{TrainConfig, TrainOptions},
    run_folder::{CONFIG, SUMMARY},
    train::{Summary, train},
};

/// Trains the configured run under each of its seeds, one after the other, in `seed-N` of the output folder. With
/// `--resume`, runs that are finished are left as they are.
pub(crate) fn train_seeds(config: &TrainConfig, device: Device) -> anyhow::Result<Summary> {
    if !config.resume {
        check_free(&config.output)?;
    }
    let runs: Vec<TrainConfig> = config.seeds.iter().map(|&seed| config.of_seed(seed)).collect();
    // What cannot be gone on with is said before the first of them takes its hours.
    let finished = runs.iter().map(finished).collect::<anyhow::Result<Vec<_>>>()?;
    let mut summaries = Vec::with_capacity(runs.len());
    for (run, finished) in runs.iter().zip(finished) {
        summaries.push(match finished {
            Some(summary) => {
                info!(run = run.name, "finished before");
                summary
            }
            None => train(run, device)?.0,
        });
    }
    let sets = ["dev", "test"];
    let scores = sets.map(|set| (set, summarise(summaries.iter().map(|summary| &summary[set]))));
    let mut summary = json!({ "name": config.name, "seeds": config.seeds });
    for (set, scores) in scores {
        summary[set] = scores;
    }
    let path = config.output.join(SUMMARY);
    write_atomically(&path, format!("{summary:#}\n").as_bytes())
        .with_context(|| format!("cannot write {}", path.display()))?;
    info!(dev = %summary["dev"], test = %summary["test"], folder = %config.output.display(), "all seeds complete");
    Ok(Summary(summary))
}

/// The summary of a run that is over; an error where the folder holds another run.
fn finished(run: &TrainConfig) -> anyhow::Result<Option<Value>> {
    let path = run.output.join(SUMMARY);
    if !run.resume || !path.exists() {
        return Ok(None);
    }
    let written = TrainOptions::default().over_file(Some(&run.output.join(CONFIG)))?;
    ensure!(
        run.is_of(&written),
        "{}: holds a run of other settings; choose another --output or move it away",
        run.output.display()
    );
    let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let summary = serde_json::from_slice(&text);
    summary.map(Some).with_context(|| format!("{}: not the summary of a run", path.display()))
}

/// Mean and sample standard deviation of each score; null where a run has no such set.
fn summarise<'a>(runs: impl Iterator<Item = &'a Value>) -> Value {
    let mut values: Map<String, Value> = Map::new();
    for scores in runs {
        let Some(scores) = scores.as_object() else { return Value::Null };
        for (name, score) in scores {
            let all = values.entry(name.clone()).or_insert_with(|| json!([]));
            if let (Some(all), Some(_)) = (all.as_array_mut(), score.as_f64()) {
                all.push(score.clone());
            }
        }
    }
    for all in values.values_mut() {
        let numbers: Vec<f64> =
            all.as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
        let Sample { mean, sd, .. } = Sample::new(&numbers);
        // NaN, which JSON has no number for, becomes null.
        *all = json!({ "mean": mean, "sd": sd, "runs": all.take() });
    }
    Value::Object(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_summed_up_by_mean_and_sample_deviation() {
        let runs = [json!({"accuracy": 0.5, "f1": null}), json!({"accuracy": 0.7, "f1": 0.25})];
        let summary = summarise(runs.iter());
        // Deviations of 0.1 each: √(2 · 0.01 / 1).
        let deviation = summary["accuracy"]["sd"].as_f64().unwrap();
        assert!((deviation - 0.02f64.sqrt()).abs() < 1e-12);
        assert!((summary["accuracy"]["mean"].as_f64().unwrap() - 0.6).abs() < 1e-12);
        assert_eq!(summary["f1"], json!({"mean": 0.25, "sd": null, "runs": [0.25]}));
        assert_eq!(summarise([Value::Null].iter()), Value::Null);
    }
}
