//! Many experiments against one teacher: a file says which, each is a process, and what is finished is not done again.

mod board;
mod execute;
mod name;
mod plan;
mod state;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use anyhow::bail;
use tracing::{info, warn};

pub use execute::Failure;

use self::{
    execute::{Launch, execute},
    plan::{Plan, PlannedRun},
    state::{State, state},
};
use crate::compare::{CompareConfig, Comparison, compare};

/// A sweep and how its processes compute.
#[derive(Debug, Clone)]
pub struct SweepConfig {
    /// The file that says which runs there are.
    pub file: PathBuf,
    /// Threads of each run; `None` shares the cores among the runs that go on at the same time.
    pub threads: Option<u16>,
    /// As `train` takes it.
    pub device: String,
}

/// What a sweep came to.
#[derive(Debug)]
pub struct SweepSummary {
    /// Of all finished runs; `None` where there is none, or where they do not compare, which the log says.
    pub comparison: Option<Comparison>,
    /// Runs that did not end well.
    pub failures: Vec<Failure>,
    /// All runs.
    pub runs: usize,
}

/// Says what would be done with each run, one a line, and does nothing.
pub fn dry_run(file: &Path) -> anyhow::Result<String> {
    let plan = Plan::read(file)?;
    let line = |(run, state): &(&PlannedRun, State)| {
        let state = match state {
            State::New => "new",
            State::Begun => "begun",
            State::Finished => "finished",
        };
        format!("{state:<8}  {}  {}\n", run.config.output.display(), run.differs)
    };
    Ok(states(&plan)?.iter().map(line).collect())
}

/// Does all runs of the file that are not finished, and compares them. Everything that can be wrong with any of them is
/// found before the first begins.
pub fn sweep(config: &SweepConfig) -> anyhow::Result<SweepSummary> {
    let plan = Plan::read(&config.file)?;
    let states = states(&plan)?;
    let left: Vec<_> =
        states.iter().copied().filter(|(_, state)| *state != State::Finished).collect();
    let (runs, parallel) = (states.len(), plan.parallel);
    info!(runs, finished = runs - left.len(), parallel, output = %plan.output.display(), "sweep");
    let threads = config.threads.map_or_else(
        || std::thread::available_parallelism().map_or(1, usize::from) / parallel,
        usize::from,
    );
    let flags = ["--threads", &threads.max(1).to_string(), "--device", &config.device];
    let launch = Launch { parallel, flags: flags.map(str::to_owned).to_vec() };
    let failures = execute(&launch, &left)?;
    let comparison = compare_finished(&plan, &failures);
    Ok(SweepSummary { comparison, failures, runs })
}

/// Each run with how far it is; all folders that are in the way are named at once.
fn states(plan: &Plan) -> anyhow::Result<Vec<(&PlannedRun, State)>> {
    let (mut states, mut wrong) = (Vec::new(), Vec::new());
    for run in &plan.runs {
        match state(run) {
            Ok(state) => states.push((run, state)),
            Err(cause) => wrong.push(format!("{cause:#}")),
        }
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    Ok(states)
}

/// The comparison of what is finished, also as `comparison.md` and `comparison.json` of the output folder.
fn compare_finished(plan: &Plan, failures: &[Failure]) -> Option<Comparison> {
    let failed: Vec<&Path> = (plan.runs.iter())
        .filter(|run| failures.iter().any(|failure| failure.name == run.name))
        .map(PlannedRun::compared)
        .collect();
    let mut runs: Vec<PathBuf> = Vec::new();
    for run in &plan.runs {
        let folder = run.compared();
        if !failed.contains(&folder) && !runs.iter().any(|known| known == folder) {
            runs.push(folder.to_owned());
        }
    }
    if runs.is_empty() {
        return None;
    }
    let output = ["comparison.md", "comparison.json"].map(|name| plan.output.join(name)).to_vec();
    match compare(&CompareConfig { runs, output, ..CompareConfig::default() }) {
        Ok(comparison) => Some(comparison),
        Err(cause) => {
            warn!("the runs are finished and do not compare: {cause:#}");
            None
        }
    }
}
