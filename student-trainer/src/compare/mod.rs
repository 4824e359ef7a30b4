//! Finished runs side by side: scores, size and speed, each class, and whether a difference is more than chance.
//! Needs the run folders and nothing else.

mod difference;
mod finished;
mod markdown;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, path::PathBuf};

use anyhow::ensure;
use lectern::{commands::Usage, files::write_atomically, metrics::Sample};
use serde_json::{Map, Value, json};

use self::{
    difference::{Difference, measure},
    finished::{Entry, FinishedRun, has_set},
    markdown::{Table, number, with_spread},
};

/// What to compare.
#[derive(Debug, Clone, Default)]
pub struct CompareConfig {
    /// Folders of finished runs, or of the runs of several seeds: `seed-1`, `seed-2` and so on in one folder.
    pub runs: Vec<PathBuf>,
    /// What the others are tested against; the first of the runs if none is named. Shown first if it is none of them.
    pub baseline: Option<PathBuf>,
    /// `dev` or `test`; test where all runs have it if none is named.
    pub split: Option<String>,
    /// Files to write as well, as JSON or Markdown by their ending.
    pub output: Vec<PathBuf>,
}

impl CompareConfig {
    /// Refuses what can be refused before a file is read.
    pub fn check(&self) -> Result<(), Usage> {
        for path in &self.output {
            if format(path).is_none() {
                let path = path.display();
                return Err(Usage(format!("--output {path}: ends neither in .json nor in .md")));
            }
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy)]
enum Format {
    Json,
    Markdown,
}

fn format(path: &std::path::Path) -> Option<Format> {
    match path.extension()?.to_str()? {
        "json" => Some(Format::Json),
        "md" => Some(Format::Markdown),
        _ => None,
    }
}

/// Runs that were judged on the same examples.
#[derive(Debug)]
pub struct Comparison {
    split: String,
    entries: Vec<Entry>,
    baseline: usize,
    differences: Vec<Difference>,
}

/// Reads and compares the runs, and writes the files that were asked for. Runs of different data are refused.
pub fn compare(config: &CompareConfig) -> anyhow::Result<Comparison> {
    config.check()?;
    let mut paths = config.runs.clone();
    ensure!(!paths.is_empty(), Usage("name at least one run folder".to_owned()));
    let baseline = match &config.baseline {
        None => 0,
        Some(path) => paths.iter().position(|run| run == path).unwrap_or_else(|| {
            paths.insert(0, path.clone());
            0
        }),
    };
    let split = if let Some(split) = &config.split {
        split.clone()
    } else {
        let all = paths.iter().map(|path| has_set(path, "test"));
        let all = all.collect::<anyhow::Result<Vec<_>>>()?.into_iter().all(|has| has);
        if all { "test" } else { "dev" }.to_owned()
    };
    let entries = paths.iter().map(|path| Entry::read(path, &split));
    let mut entries = entries.collect::<anyhow::Result<Vec<_>>>()?;
    tell_apart(&mut entries);
    let first = &entries[baseline].runs[0];
    for run in entries.iter().flat_map(|entry| &entry.runs) {
        first.check_same_data(run, &split)?;
    }
    let others = entries.iter().enumerate().filter(|(index, _)| *index != baseline);
    let differences =
        others.map(|(_, entry)| Difference::between(entry, &entries[baseline])).collect();
    let comparison = Comparison { split, entries, baseline, differences };
    for path in &config.output {
        let text = match format(path) {
            Some(Format::Json) => format!("{:#}\n", comparison.to_json()),
            Some(Format::Markdown) | None => comparison.to_markdown(),
        };
        write_atomically(path, text.as_bytes())
            .map_err(|cause| anyhow::anyhow!("cannot write {}: {cause}", path.display()))?;
    }
    Ok(comparison)
}

/// Entries of the same name are called by their paths.
fn tell_apart(entries: &mut [Entry]) {
    let mut counts: HashMap<String, usize> = HashMap::new();
    for entry in entries.iter() {
        *counts.entry(entry.name.clone()).or_default() += 1;
    }
    for entry in entries {
        if counts[&entry.name] > 1 {
            entry.name = entry.path.display().to_string();
        }
    }
}

/// A number of each run.
type Column = (&'static str, fn(&FinishedRun) -> Option<f64>);

/// What is shown of every run besides its scores.
const COLUMNS: [Column; 5] = [
    ("agreement_with_teacher", |run| run.besides.agreement_with_teacher),
    ("ece", |run| run.besides.ece),
    ("parameters", |run| run.parameters),
    ("weights_bytes", |run| run.bytes),
    ("predict_examples_per_second", |run| run.per_second),
];

impl Entry {
    /// Each number by name, of all the runs that have it.
    fn numbers(&self) -> Vec<(&'static str, Vec<f64>)> {
        let scores: Vec<_> = self.runs.iter().map(|run| run.report.scores()).collect();
        let of_score = |(index, (name, _)): (usize, &(&'static str, f64))| {
            (*name, scores.iter().map(|scores| scores[index].1).collect::<Vec<_>>())
        };
        let scores = scores[0].iter().enumerate().map(of_score);
        let columns = COLUMNS
            .iter()
            .map(|(name, number)| (*name, self.runs.iter().filter_map(number).collect::<Vec<_>>()));
        scores.chain(columns).collect()
    }

    /// The F1 of a label in each run.
    fn f1(&self, label: &str) -> Vec<f64> {
        let f1 = |run: &FinishedRun| run.report.to_json()[label]["f1-score"].as_f64();
        self.runs.iter().filter_map(f1).collect()
    }

    /// A setting, or several where the runs differ in it.
    fn setting(&self, setting: fn(&FinishedRun) -> &str) -> String {
        let mut all: Vec<&str> = self.runs.iter().map(setting).collect();
        all.dedup();
        all.join(", ")
    }
}

impl Comparison {
    /// The labels that have a row of their own; none in a regression.
    fn labels(&self) -> &[String] {
        let labels = &self.entries[self.baseline].runs[0].labels;
        match labels.task() {
            lectern::data::Task::Regression => &[],
            _ => labels.names(),
        }
    }

    fn measure(&self) -> &'static str {
        measure(self.entries[self.baseline].runs[0].labels.task())
    }

    /// Everything, with the numbers of every run where there are several.
    pub fn to_json(&self) -> Value {
        let numbers = |values: &[f64]| match values {
            [] => Value::Null,
            [value] => json!(value),
            values => {
                let Sample { mean, sd, .. } = Sample::new(values);
                json!({ "mean": mean, "sd": sd, "values": values })
            }
        };
        let entry = |entry: &Entry| {
            let mut row = json!({
                "name": entry.name,
                "path": entry.path,
                "runs": entry.runs.len(),
                "student": entry.setting(|run| &run.student),
                "loss": entry.setting(|run| &run.loss),
                "seed": entry.setting(|run| &run.seed),
            });
            for (name, values) in entry.numbers() {
                row[name] = numbers(&values);
            }
            let f1 = self.labels().iter().map(|label| (label.clone(), numbers(&entry.f1(label))));
            row["f1_by_label"] = Value::Object(f1.collect::<Map<_, _>>());
            row
        };
        let baseline = &self.entries[self.baseline].name;
        json!({
            "split": self.split,
            "examples": self.entries[self.baseline].runs[0].examples.len(),
            "baseline": baseline,
            "runs": self.entries.iter().map(entry).collect::<Vec<_>>(),
            "differences": self.differences.iter()
                .map(|difference| difference.to_json(baseline, self.measure()))
                .collect::<Vec<_>>(),
        })
    }

    /// Tables for people.
    pub fn to_markdown(&self) -> String {
        let baseline = &self.entries[self.baseline];
        let examples = baseline.runs[0].examples.len();
        let mut parts = vec![format!("{examples} examples of {}\n", self.split)];
        parts.push(self.runs_table().to_string());
        if !self.labels().is_empty() {
            parts.push("F1 of each label\n".to_owned());
            parts.push(self.labels_table().to_string());
        }
        if !self.differences.is_empty() {
            parts.push(format!("Difference in {} from {}\n", self.measure(), baseline.name));
            parts.push(self.differences_table().to_string());
        }
        parts.join("\n")
    }

    fn runs_table(&self) -> Table {
        let names = self.entries[0].numbers().into_iter().map(|(name, _)| name.replace('_', " "));
        let head = ["run", "student", "loss", "seed"].map(str::to_owned).into_iter().chain(names);
        let mut table = Table::new(head.collect());
        for entry in &self.entries {
            let settings = [
                entry.name.clone(),
                entry.setting(|run| &run.student),
                entry.setting(|run| &run.loss),
                entry.setting(|run| &run.seed),
            ];
            let numbers = entry.numbers().into_iter().map(|(_, values)| with_spread(&values));
            table.row(settings.into_iter().chain(numbers).collect());
        }
        table
    }

    fn labels_table(&self) -> Table {
        let names = self.entries.iter().map(|entry| entry.name.clone());
        let mut table = Table::new(std::iter::once("label".to_owned()).chain(names).collect());
        for label in self.labels() {
            let cells = self.entries.iter().map(|entry| with_spread(&entry.f1(label)));
            table.row(std::iter::once(label.clone()).chain(cells).collect());
        }
        table
    }

    fn differences_table(&self) -> Table {
        let head = ["run", "difference", "95 % interval", "p bootstrap", "p McNemar", "p Welch"];
        let mut table = Table::new(head.map(str::to_owned).to_vec());
        for difference in &self.differences {
            let bootstrap = difference.bootstrap;
            let mcnemar = difference
                .mcnemar
                .map(|(ours, theirs, p)| format!("{} ({ours} against {theirs})", number(p)));
            table.row(vec![
                difference.name.clone(),
                format!("{:+.4}", bootstrap.difference),
                format!("{:+.4} to {:+.4}", bootstrap.low, bootstrap.high),
                number(bootstrap.p),
                mcnemar.unwrap_or_default(),
                difference.welch.map(number).unwrap_or_default(),
            ]);
        }
        table
    }
}
