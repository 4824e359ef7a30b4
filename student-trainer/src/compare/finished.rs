//! A finished run as it lies in its folder, and the runs of several seeds together. Knows files, not comparisons.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail, ensure};
use lectern::{
    data::{LabelSet, Target, Task},
    metrics::Report,
};
use serde_json::Value;

use crate::predictions::{self, BesidesReport, Judged};

/// Beginning of the names of the folders in which the runs of several seeds lie.
const SEED_FOLDER: &str = "seed-";

/// What an example is, so that runs are joined by what they judged and not by its place: content, then target.
pub(super) type Key = (String, String);

/// What one run leaves behind, as far as it is compared.
#[derive(Debug)]
pub(super) struct FinishedRun {
    pub(super) folder: PathBuf,
    pub(super) labels: LabelSet,
    /// Of `config.toml`; empty where it does not say.
    pub(super) student: String,
    pub(super) loss: String,
    pub(super) seed: String,
    pub(super) parameters: Option<f64>,
    pub(super) bytes: Option<f64>,
    pub(super) per_second: Option<f64>,
    pub(super) report: Report,
    pub(super) besides: BesidesReport,
    /// Every example with what it counts, ascending; see [`worth`].
    pub(super) examples: Vec<(Key, f64)>,
}

/// One run, or those of several seeds: a row of the comparison.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) path: PathBuf,
    /// At least one.
    pub(super) runs: Vec<FinishedRun>,
}

impl Entry {
    /// Reads a run folder, or a folder of runs that differ in their seed.
    pub(super) fn read(path: &Path, set: &str) -> anyhow::Result<Self> {
        let folders = run_folders(path)?;
        let runs = folders.iter().map(|folder| FinishedRun::read(folder, set));
        let runs = runs.collect::<anyhow::Result<Vec<_>>>()?;
        let name = match read_json(&path.join("summary.json")) {
            Ok(summary) if summary["name"].is_string() => text(&summary["name"]),
            _ => path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned(),
        };
        Ok(Self { name, path: path.to_owned(), runs })
    }

    /// For each example the mean over the runs of what it counts, in the examples' order, which is the same in all.
    pub(super) fn worths(&self) -> Vec<f64> {
        let mut sums = vec![0.0; self.runs[0].examples.len()];
        for run in &self.runs {
            sums.iter_mut().zip(&run.examples).for_each(|(sum, (_, worth))| *sum += worth);
        }
        sums.iter().map(|sum| sum / self.runs.len() as f64).collect()
    }
}

/// Whether all that `set` needs is there, whichever of one run or several it is.
pub(super) fn has_set(path: &Path, set: &str) -> anyhow::Result<bool> {
    let file = predictions::file_name(set);
    Ok(run_folders(path)?.iter().all(|folder| folder.join(&file).is_file()))
}

/// The folder itself, or those of its seeds, ascending.
fn run_folders(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let shown = path.display();
    if path.join("model.json").is_file() {
        ensure!(
            path.join("summary.json").is_file(),
            "{shown} is of a run that is not finished; let it end, or leave it out"
        );
        return Ok(vec![path.to_owned()]);
    }
    let mut seeds = BTreeMap::new();
    let entries = fs::read_dir(path).with_context(|| format!("cannot read {shown}"))?;
    for entry in entries {
        let folder = entry.with_context(|| format!("cannot read {shown}"))?.path();
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let seed = name.strip_prefix(SEED_FOLDER).and_then(|seed| seed.parse::<u64>().ok());
        if let Some(seed) = seed.filter(|_| folder.is_dir()) {
            seeds.insert(seed, folder);
        }
    }
    ensure!(
        !seeds.is_empty(),
        "{shown} is no run folder: it has neither model.json nor {SEED_FOLDER}N folders"
    );
    for folder in seeds.values() {
        ensure!(
            folder.join("summary.json").is_file(),
            "{} is of a run that is not finished; let it end, or leave {shown} out",
            folder.display()
        );
    }
    Ok(seeds.into_values().collect())
}

impl FinishedRun {
    fn read(folder: &Path, set: &str) -> anyhow::Result<Self> {
        let summary = read_json(&folder.join("summary.json"))?;
        let model = read_json(&folder.join("model.json"))?;
        let labels = folder.join("labels.json");
        let names = serde_json::from_value(read_json(&labels)?);
        let names = names.with_context(|| labels.display().to_string())?;
        let task = serde_json::from_value(model.get("task").cloned().unwrap_or_default())
            .unwrap_or(Task::SingleLabel);
        let labels =
            LabelSet::of_task(task, names).with_context(|| labels.display().to_string())?;
        let config = folder.join("config.toml");
        let config: toml::Table = fs::read_to_string(&config)
            .with_context(|| format!("cannot read {}", config.display()))
            .and_then(|text| text.parse().with_context(|| config.display().to_string()))?;
        let setting = |key: &str| match config.get(key) {
            Some(toml::Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => String::new(),
        };
        let (lines, judged) = predictions::read(folder, set, &labels).context(
            "a run has this file if it was trained with that set by a version that writes it",
        )?;
        let mut examples = Vec::with_capacity(lines.len());
        for (line, judged) in lines.into_iter().zip(&judged) {
            let target = serde_json::to_string(&line.target)?;
            examples.push(((line.content, target), worth(judged)));
        }
        examples.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(Self {
            folder: folder.to_owned(),
            student: setting("student"),
            loss: setting("loss"),
            seed: setting("seed"),
            parameters: summary["parameters"].as_f64(),
            bytes: summary["weights_bytes"].as_f64(),
            per_second: summary["predict_examples_per_second"].as_f64(),
            report: predictions::report(&labels, &judged),
            besides: BesidesReport::of(&judged),
            labels,
            examples,
        })
    }

    /// The other run must have judged the same examples.
    pub(super) fn check_same_data(&self, other: &Self, set: &str) -> anyhow::Result<()> {
        let (ours, theirs) = (self.folder.display(), other.folder.display());
        let (here, there) = (self.labels.task(), other.labels.task());
        ensure!(here == there, "{ours} is of a {here} task, {theirs} of a {there} task");
        let mut counts: BTreeMap<&Key, i64> = BTreeMap::new();
        for (key, _) in &self.examples {
            *counts.entry(key).or_default() += 1;
        }
        for (key, _) in &other.examples {
            *counts.entry(key).or_default() -= 1;
        }
        let only = |sign: i64| counts.iter().filter(move |(_, count)| **count * sign > 0);
        let sum = |sign: i64| only(sign).map(|(_, count)| count.abs()).sum::<i64>();
        let (here, there) = (sum(1), sum(-1));
        if here == 0 && there == 0 {
            return Ok(());
        }
        let first = only(1).chain(only(-1)).next();
        let ((content, target), _) = first.context("counts that differ have a first")?;
        bail!(
            "{ours} and {theirs} were judged on different {set} data: of {} examples {here} are only in the first, of {} \
             {there} only in the second; the first of them has content {content} and target {target}",
            self.examples.len(),
            other.examples.len()
        )
    }
}

/// What an example counts: 1 if it is wholly right and 0 if not; of a number the squared error.
fn worth(judged: &Judged) -> f64 {
    match (&judged.truth, &judged.predicted) {
        (Target::Value(truth), Target::Value(predicted)) => {
            (f64::from(*truth) - f64::from(*predicted)).powi(2)
        }
        (truth, predicted) => f64::from(u8::from(truth == predicted)),
    }
}

fn read_json(path: &Path) -> anyhow::Result<Value> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| path.display().to_string())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
