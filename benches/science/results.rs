//! From finished runs to the table and the measures: accuracies on the test split, and whether a gain is more than chance.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use lectern::metrics::{Sample, paired_bootstrap, welch};
use serde_json::Value;

use crate::{
    common::measure,
    data::{DataSet, Kind},
    experiments::{ALONE, DISTILLED, Runs},
};

/// Resamples of the bootstrap, so that its smallest p-value is 1e-4.
const RESAMPLES: usize = 10_000;

/// What an experiment's seeds came to on the test split.
struct Scores {
    /// Accuracy of each seed.
    accuracies: Vec<f64>,
    /// Share of the seeds that have each example right.
    examples: Vec<f64>,
    /// Share of the examples whose teacher is right, where the runs had one.
    teacher: Option<f64>,
}

/// Prints the table of a data set and measures the gain of distillation.
pub(crate) fn report(data: &DataSet, teacher: &Path, runs: &[Runs]) -> Result<Vec<Value>> {
    let scores = runs.iter().map(Scores::read).collect::<Result<Vec<_>>>()?;
    println!("\n{}, scored on {}", data.kind.name(), data.test.display());
    if let Some(accuracy) = scores.iter().find_map(|scores| scores.teacher) {
        println!("{:.4}           the teacher, {}", accuracy, teacher.display());
    }
    for (runs, scores) in runs.iter().zip(&scores) {
        let Sample { mean, sd, .. } = Sample::new(&scores.accuracies);
        println!("{mean:.4} ± {sd:.4}  {}", runs.experiment.says);
    }
    let of = |name: &str| {
        runs.iter().zip(&scores).find_map(|(r, s)| (r.experiment.name == name).then_some(s))
    };
    let (Some(alone), Some(distilled)) = (of(ALONE), of(DISTILLED)) else { return Ok(Vec::new()) };
    let name = data.kind.name();
    let chance = paired_bootstrap(&distilled.examples, &alone.examples, RESAMPLES, 1);
    let seeds = welch(&distilled.accuracies, &alone.accuracies);
    println!(
        "gain {:.2} points, 95 % between {:.2} and {:.2}; p {:.1e} over examples, {seeds:.1e} over seeds",
        100.0 * chance.difference,
        100.0 * chance.low,
        100.0 * chance.high,
        chance.p,
    );
    let target = match data.kind {
        Kind::Tnews => 2.0,
        Kind::Sst2 => 3.3,
    };
    // The larger of the two, so that neither lucky seeds nor a lucky test split count.
    let p = chance.p.max(seeds);
    let mut p_value = measure(&format!("{name}_gain_p_value"), p, "probability", Some(0.01));
    p_value["met"] = (p < 0.01).into();
    let gain = 100.0 * chance.difference;
    let accuracy = |of: &Scores| Sample::new(&of.accuracies).mean;
    Ok(vec![
        measure(&format!("{name}_gain_points"), gain, "points", Some(target)),
        p_value,
        measure(&format!("{name}_alone_accuracy"), accuracy(alone), "share", None),
        measure(&format!("{name}_distilled_accuracy"), accuracy(distilled), "share", None),
    ])
}

impl Scores {
    fn read(runs: &Runs) -> Result<Self> {
        let mut scores = Self { accuracies: Vec::new(), examples: Vec::new(), teacher: None };
        for folder in &runs.folders {
            let path = folder.join("test_predictions.jsonl");
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let lines = text.lines().map(|line| Ok(serde_json::from_str(line)?));
            let lines = lines.collect::<Result<Vec<Value>>>()?;
            if scores.examples.is_empty() {
                scores.examples = vec![0.0; lines.len()];
            }
            ensure!(lines.len() == scores.examples.len(), "{}: other examples", path.display());
            let right: Vec<f64> =
                lines.iter().map(|l| f64::from(u8::from(l["prediction"] == l["target"]))).collect();
            for (sum, right) in scores.examples.iter_mut().zip(&right) {
                *sum += right / runs.folders.len() as f64;
            }
            scores.accuracies.push(right.iter().sum::<f64>() / lines.len() as f64);
            scores.teacher = scores.teacher.or(teacher_accuracy(folder)?);
        }
        Ok(scores)
    }
}

/// As the run's summary has it.
fn teacher_accuracy(run: &Path) -> Result<Option<f64>> {
    let path = run.join("summary.json");
    let summary: Value = serde_json::from_slice(&fs::read(&path)?)?;
    Ok(summary["test"]["teacher_score"].as_f64())
}
