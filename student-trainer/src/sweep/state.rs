//! What is left to do of a planned run, by what lies in its folder.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use lectern::{commands::check_free, data::Task, wire::TeacherCard};
use toml::{Table, Value};

use super::plan::PlannedRun;
use crate::run_folder::teachers;

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing is there.
    New,
    /// It was begun under the same settings.
    Begun,
    /// It is complete under the same settings.
    Finished,
}

/// Looks at the run's folder; one that holds something else is an error that names what differs.
pub(super) fn state(run: &PlannedRun) -> anyhow::Result<State> {
    let folder = &run.config.output;
    let shown = folder.display();
    if check_free(folder).is_ok() {
        return Ok(State::New);
    }
    let configs = configs(folder).with_context(|| format!("cannot read {shown}"))?;
    if configs.is_empty() {
        bail!("{shown} holds something and no config.toml; move it away");
    }
    for (path, own) in &configs {
        let text = fs::read_to_string(path);
        let text = text.with_context(|| format!("cannot read {}", path.display()))?;
        let found: Table = text.parse().with_context(|| path.display().to_string())?;
        let differ = differences(run, &found, &teachers(path)?, own)?;
        if !differ.is_empty() {
            let differ = differ.join("; ");
            bail!(
                "{shown} is of a run with other settings: {differ}; move it away, or undo the change"
            );
        }
    }
    let finished = folder.join("summary.json").is_file();
    Ok(if finished { State::Finished } else { State::Begun })
}

/// The settings in a folder, each with those that it need not share: its own, or those of the runs of its seeds.
fn configs(folder: &Path) -> io::Result<Vec<(PathBuf, &'static [&'static str])>> {
    let config = folder.join("config.toml");
    if config.is_file() {
        return Ok(vec![(config, &[])]);
    }
    let mut configs = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let config = entry.path().join("config.toml");
        if entry.file_name().to_string_lossy().starts_with("seed-") && config.is_file() {
            configs.push((config, &["seed", "seeds", "name", "output"][..]));
        }
    }
    configs.sort();
    Ok(configs)
}

/// Each setting that is not what the run would have.
fn differences(
    run: &PlannedRun,
    found: &Table,
    teachers: &[TeacherCard],
    own: &[&str],
) -> anyhow::Result<Vec<String>> {
    // Some defaults depend on the task, which the teacher may have said, and on what else it said.
    let task = found.get("task").cloned().map(Value::try_into::<Task>);
    let task = task.transpose().context("task of config.toml")?;
    let task = run.config.task.or(task).unwrap_or_default();
    let wanted = Table::try_from(run.config.objective(task, teachers)?.resolved)?;
    let mut keys: Vec<&String> = wanted.keys().chain(found.keys()).collect();
    keys.sort();
    keys.dedup();
    let shown = |value: Option<&Value>| value.map_or("not set".to_owned(), Value::to_string);
    let differing = keys
        .into_iter()
        .filter(|key| !own.contains(&key.as_str()) && wanted.get(*key) != found.get(*key));
    Ok(differing
        .map(|key| {
            let (there, here) = (shown(found.get(key)), shown(wanted.get(key)));
            format!("{key} is {there} there and {here} here")
        })
        .collect())
}
