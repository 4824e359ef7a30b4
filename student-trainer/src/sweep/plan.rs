//! From a sweep's file to the runs it asks for, each checked and named, before anything starts.

use std::{
    collections::HashMap,
    fs,
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use lectern::{commands::Usage, data::Task};
use serde::Deserialize;
use toml::{Table, Value};

use super::name::{folder_name, is_folder_name};
use crate::{
    config::{TrainConfig, TrainOptions},
    prepare::files,
};

/// The file as written. Its options are those of `train`, by the names of the flags.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SweepFile {
    /// Where the run folders are made.
    output: PathBuf,
    /// Runs at a time.
    parallel: Option<NonZeroUsize>,
    /// Options of every run.
    #[serde(default)]
    base: Table,
    /// Options with a list of values each: one run for each way to choose one of every list, the last option changing fastest.
    #[serde(default)]
    grid: Table,
    /// More runs, each with what it has beside or instead of the base; may have a `name`, and `without`, a list of options of
    /// the base that it does not have.
    #[serde(default)]
    runs: Vec<Table>,
}

/// All runs of a sweep.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) output: PathBuf,
    pub(super) parallel: NonZeroUsize,
    pub(super) runs: Vec<PlannedRun>,
}

/// A run that is known to be well configured.
#[derive(Debug)]
pub(super) struct PlannedRun {
    /// Of its folder, relative to the sweep's output; for a run that has a seed of its own `NAME/seed-N`, so that the runs of
    /// several seeds lie in one folder and compare as one.
    pub(super) name: String,
    /// What it has beside or instead of the base, for people.
    pub(super) differs: String,
    /// Everything for `train --config`.
    pub(super) options: Table,
    pub(super) config: TrainConfig,
}

impl PlannedRun {
    /// The folder that stands for it in a comparison: its own, or that of its seeds.
    pub(super) fn compared(&self) -> &Path {
        match self.name.split_once('/') {
            Some(_) => self.config.output.parent().unwrap_or(&self.config.output),
            None => &self.config.output,
        }
    }
}

impl Plan {
    /// Reads the file and checks all of its runs; what is wrong with one of them is said with its name.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let text = fs::read_to_string(path).map_err(|cause| Usage(format!("{shown}: {cause}")))?;
        let plan = Self::parse(&text).map_err(|cause| Usage(format!("{shown}: {cause}")))?;
        for run in &plan.runs {
            let there = files(&run.config, Task::default()).check_there();
            there.map_err(|cause| anyhow::anyhow!("run {}: {cause}", run.name))?;
        }
        Ok(plan)
    }

    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let file: SweepFile = toml::from_str(text).map_err(|cause| cause.to_string())?;
        let mut own = if file.grid.is_empty() { Vec::new() } else { product(&file.grid)? };
        own.extend(file.runs);
        if own.is_empty() {
            own.push(Table::new());
        }
        if let Some(key) = ["output", "name"].into_iter().find(|key| file.base.contains_key(*key)) {
            return Err(format!("base.{key}: each run has its own, made of its options"));
        }
        let mut runs = Vec::with_capacity(own.len());
        let mut taken: HashMap<String, usize> = HashMap::new();
        for (number, own) in (1..).zip(own) {
            let run = planned(&file.output, &file.base, own)
                .map_err(|cause| format!("run {number}: {cause}"))?;
            if let Some(first) = taken.insert(run.name.clone(), number) {
                let name = &run.name;
                return Err(format!("runs {first} and {number} are both {name}; leave one out"));
            }
            runs.push(run);
        }
        let parallel = file.parallel.unwrap_or(NonZeroUsize::MIN);
        Ok(Self { output: file.output, parallel, runs })
    }
}

/// Every choice of one value of each list.
fn product(grid: &Table) -> Result<Vec<Table>, String> {
    let mut runs = vec![Table::new()];
    for (option, values) in grid {
        let values = match values {
            Value::Array(values) if !values.is_empty() => values,
            other => return Err(format!("grid.{option}: {other} is no list of values to try")),
        };
        if ["output", "name"].contains(&option.as_str()) {
            return Err(format!("grid.{option}: each run has its own, made of its options"));
        }
        let with = |run: &Table, value: &Value| {
            let mut run = run.clone();
            run.insert(option.clone(), value.clone());
            run
        };
        runs =
            runs.iter().flat_map(|run| values.iter().map(move |value| with(run, value))).collect();
    }
    Ok(runs)
}

fn planned(output: &Path, base: &Table, mut own: Table) -> Result<PlannedRun, String> {
    if own.contains_key("output") {
        return Err("output: the sweep's own output says where runs lie".to_owned());
    }
    let differs: Vec<String> =
        own.iter().filter(|(key, _)| *key != "name").map(|(k, v)| format!("{k} = {v}")).collect();
    let given = match own.remove("name") {
        None => None,
        Some(Value::String(name)) if is_folder_name(&name) => Some(name),
        Some(name) => {
            return Err(format!(
                "name = {name}: letters, digits and . - _ = , make a folder's name"
            ));
        }
    };
    let mut options = base.clone();
    if let Some(without) = own.remove("without") {
        let left_out = leave_out(&mut options, &without)?;
        options.extend(own.clone());
        own.insert("without".to_owned(), Value::String(left_out.join("_")));
    } else {
        options.extend(own.clone());
    }
    let seed = own.remove("seed");
    let name = given.unwrap_or_else(|| folder_name(&own));
    let name = match seed {
        None => name,
        Some(seed) => format!("{name}/seed-{seed}"),
    };
    options.insert("name".to_owned(), Value::String(name.clone()));
    let folder = output.join(&name);
    options.insert("output".to_owned(), Value::String(folder.to_string_lossy().into_owned()));
    let fault = |cause: &dyn std::fmt::Display| format!("{name}: {cause}");
    let parsed: TrainOptions = options.clone().try_into().map_err(|cause| fault(&cause))?;
    let config = parsed.resolve().map_err(|cause| fault(&cause))?;
    Ok(PlannedRun { name, differs: differs.join(", "), options, config })
}

/// Takes options of the base away, such as the teacher of a run that is to learn alone; tells which.
fn leave_out(options: &mut Table, without: &Value) -> Result<Vec<String>, String> {
    let left_out: Vec<String> = without
        .clone()
        .try_into()
        .map_err(|_| format!("without = {without}: wanted is a list of options of [base]"))?;
    for option in &left_out {
        if options.remove(option).is_none() {
            return Err(format!("without: [base] has no {option}"));
        }
    }
    Ok(left_out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "[base]\ntrain = 'a.csv'\ndev = 'b.csv'\nteacher = 'http://h:1'\n";

    fn names(text: &str) -> Vec<String> {
        let plan = Plan::parse(&format!("output = 'out'\n{text}")).unwrap();
        plan.runs.into_iter().map(|run| run.name).collect()
    }

    fn refused(text: &str) -> String {
        Plan::parse(&format!("output = 'out'\n{text}")).unwrap_err()
    }

    #[test]
    fn a_grid_is_every_choice_in_the_order_of_the_file() {
        let grid = "[grid]\nlr = [0.1, 0.01]\nbatch-size = [8, 4]\n";
        assert_eq!(
            names(&format!("{BASE}{grid}")),
            [
                "lr=0.1,batch-size=8",
                "lr=0.1,batch-size=4",
                "lr=0.01,batch-size=8",
                "lr=0.01,batch-size=4"
            ]
        );
    }

    #[test]
    fn listed_runs_come_after_the_grid_and_may_have_a_name() {
        let text = format!(
            "{BASE}[grid]\nepochs = [1]\n[[runs]]\nloss = 'kl'\ntemperature = 4.0\n[[runs]]\nname = 'mild'\n\
             lr = 1e-4\n"
        );
        assert_eq!(names(&text), ["epochs=1", "loss=kl,temperature=4.0", "mild"]);
        assert_eq!(names(BASE), ["base"]);
    }

    #[test]
    fn seeds_of_one_setting_lie_in_one_folder() {
        let plan =
            Plan::parse(&format!("output = 'out'\n{BASE}[grid]\nepochs = [3]\nseed = [1, 2]\n"));
        let runs = plan.unwrap().runs;
        let names: Vec<_> = runs.iter().map(|run| run.name.as_str()).collect();
        assert_eq!(names, ["epochs=3/seed-1", "epochs=3/seed-2"]);
        assert_eq!((runs[1].config.seed, runs[1].config.epochs), (2, 3));
        assert_eq!(runs[1].config.output, Path::new("out/epochs=3/seed-2"));
        assert_eq!(runs[1].compared(), Path::new("out/epochs=3"));
    }

    #[test]
    fn a_run_can_be_without_options_of_the_base() {
        let runs = "[[runs]]\nwithout = ['teacher']\n[[runs]]\nname = 'alone'\nwithout = ['teacher']\nseed = 2\n";
        let plan = Plan::parse(&format!("output = 'out'\n{BASE}{runs}")).unwrap();
        let names: Vec<_> = plan.runs.iter().map(|run| run.name.as_str()).collect();
        assert_eq!(names, ["without=teacher", "alone/seed-2"]);
        assert!(plan.runs.iter().all(|run| run.config.soft_labels.is_empty()));
        assert!(!plan.runs[1].options.contains_key("without"));
        let none = refused(&format!("{BASE}[[runs]]\nwithout = ['labels']\n"));
        assert!(none.contains("run 1: without: [base] has no labels"), "{none}");
        let text = refused(&format!("{BASE}[[runs]]\nwithout = 'teacher'\n"));
        assert!(text.contains("wanted is a list"), "{text}");
    }

    #[test]
    fn an_option_of_the_run_replaces_the_bases() {
        let text = format!("output = 'out'\n{BASE}epochs = 9\n[[runs]]\nepochs = 2\n");
        let plan = Plan::parse(&text).unwrap();
        assert_eq!((plan.runs[0].config.epochs, plan.parallel.get()), (2, 1));
    }

    #[test]
    fn what_is_wrong_with_a_run_is_said_with_its_name() {
        for (text, said) in [
            ("[grid]\nepochs = [1, 0]\n", "run 2: epochs=0: --epochs 0"),
            ("[grid]\nepoch = [1]\n", "run 1: epoch=1: unknown field `epoch`"),
            ("[grid]\nlr = 0.1\n", "grid.lr: 0.1 is no list"),
            ("[grid]\nlr = []\n", "grid.lr: [] is no list"),
            ("[grid]\nname = ['a']\n", "grid.name"),
            ("[[runs]]\nname = 'a/b'\n", "name = \"a/b\""),
            ("[[runs]]\noutput = 'x'\n", "output"),
            ("[[runs]]\nlr = 0.1\n[[runs]]\nlr = 0.1\n", "runs 1 and 2 are both lr=0.1"),
            ("[sweep]\n", "unknown field `sweep`"),
        ] {
            let message = refused(&format!("{BASE}{text}"));
            assert!(message.contains(said), "{text}: {message}");
        }
        assert!(refused("[base]\nname = 'x'\n").contains("base.name"));
        assert!(refused("[base]\ndev = 'x'\n").contains("--train is missing"));
    }
}
