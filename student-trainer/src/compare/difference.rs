//! Whether a row of the comparison differs from the baseline by more than chance.

use lectern::{
    data::Task,
    metrics::{Bootstrap, mcnemar_exact, paired_bootstrap, welch},
};
use serde_json::{Value, json};

use super::finished::{Entry, FinishedRun};

/// Resamples of the bootstrap; with 10,000 a p-value near 0.01 is within 0.002.
const RESAMPLES: usize = 10_000;
/// Of the bootstrap, so that the same runs always compare alike.
const SEED: u64 = 1;

/// One row against the baseline.
#[derive(Debug)]
pub(super) struct Difference {
    pub(super) name: String,
    /// Of the mean over runs and examples of [`measure`].
    pub(super) bootstrap: Bootstrap,
    /// Examples that only this run, and only the baseline, has right, and the exact test's p; of single
    /// runs that are right or wrong.
    pub(super) mcnemar: Option<(usize, usize, f64)>,
    /// p over the seeds, of two groups of runs.
    pub(super) welch: Option<f64>,
}

/// What the difference is of.
pub(super) fn measure(task: Task) -> &'static str {
    match task {
        Task::SingleLabel => "accuracy",
        Task::MultiLabel => "exact match",
        Task::Regression => "mean squared error",
    }
}

impl Difference {
    pub(super) fn between(entry: &Entry, baseline: &Entry) -> Self {
        let (ours, theirs) = (entry.worths(), baseline.worths());
        let mcnemar = match (&entry.runs[..], &baseline.runs[..]) {
            ([one], [other]) if one.labels.task() != Task::Regression => {
                Some(discordant(one, other))
            }
            _ => None,
        };
        let several = entry.runs.len() > 1 && baseline.runs.len() > 1;
        let welch = several.then(|| welch(&means(entry), &means(baseline)));
        Self {
            name: entry.name.clone(),
            bootstrap: paired_bootstrap(&ours, &theirs, RESAMPLES, SEED),
            mcnemar: mcnemar.map(|(ours, theirs)| (ours, theirs, mcnemar_exact(ours, theirs))),
            welch: welch.filter(|p| !p.is_nan()),
        }
    }

    pub(super) fn to_json(&self, baseline: &str, measure: &str) -> Value {
        let Bootstrap { difference, low, high, p } = self.bootstrap;
        json!({
            "name": self.name,
            "baseline": baseline,
            "measure": measure,
            "difference": difference,
            "bootstrap": { "interval_95": [low, high], "p": p, "resamples": RESAMPLES, "seed": SEED },
            "mcnemar": self.mcnemar.map(|(ours, theirs, p)| json!({
                "only_this_right": ours, "only_baseline_right": theirs, "p": p,
            })),
            "welch": self.welch.map(|p| json!({ "p": p })),
        })
    }
}

/// Of each run the mean over the examples.
fn means(entry: &Entry) -> Vec<f64> {
    let mean = |run: &FinishedRun| {
        run.examples.iter().map(|(_, worth)| worth).sum::<f64>() / run.examples.len() as f64
    };
    entry.runs.iter().map(mean).collect()
}

/// How many examples only the one has right, and only the other.
fn discordant(one: &FinishedRun, other: &FinishedRun) -> (usize, usize) {
    let pairs = one.examples.iter().zip(&other.examples).map(|((_, a), (_, b))| (*a, *b));
    let only = |right: fn((f64, f64)) -> bool| pairs.clone().filter(|pair| right(*pair)).count();
    (only(|(a, b)| a > b), only(|(a, b)| a < b))
}
