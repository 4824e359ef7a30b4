//! What a sweep makes of folders that are there already.

use std::fs;

use lectern::data::Task;

use super::*;

fn plan(output: &Path, rest: &str) -> Plan {
    let base = "[base]\ntrain = 'a.csv'\ndev = 'b.csv'\nteacher = 'http://h:1'\n";
    Plan::parse(&format!("output = {output:?}\n{base}{rest}")).unwrap()
}

/// Leaves what a run of this plan would write down at its beginning, of the task that its teacher says.
fn begin(run: &PlannedRun) {
    let folder = &run.config.output;
    fs::create_dir_all(folder).unwrap();
    let resolved = run.config.objective(Task::MultiLabel, &[]).unwrap().resolved;
    fs::write(folder.join("config.toml"), toml::to_string(&resolved).unwrap()).unwrap();
}

#[test]
fn what_is_left_of_a_run_is_seen_from_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let plan = plan(folder.path(), "[grid]\nepochs = [2]\n");
    let [run] = &plan.runs[..] else { panic!() };
    assert_eq!(state(run).unwrap(), State::New);
    fs::create_dir_all(&run.config.output).unwrap();
    assert_eq!(state(run).unwrap(), State::New);
    begin(run);
    assert_eq!(state(run).unwrap(), State::Begun);
    fs::write(run.config.output.join("summary.json"), "{}").unwrap();
    assert_eq!(state(run).unwrap(), State::Finished);
}

#[test]
fn a_folder_of_other_settings_is_an_error_that_names_them() {
    let folder = tempfile::tempdir().unwrap();
    let old = plan(folder.path(), "lr = 0.5\n[[runs]]\nname = 'x'\n[[runs]]\nname = 'y'\n");
    old.runs.iter().for_each(begin);
    let new = plan(folder.path(), "patience = 3\n[[runs]]\nname = 'x'\n[[runs]]\nname = 'y'\n");
    let error = states(&new).unwrap_err().to_string();
    // Both are named at once.
    for part in [
        "/x is of a run",
        "/y is of a run",
        "lr is 0.5 there and 0.002 here",
        "patience is not set there and 3 here",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    let run = &new.runs[0];
    fs::rename(run.config.output.join("config.toml"), run.config.output.join("notes")).unwrap();
    let error = state(run).unwrap_err().to_string();
    assert!(error.contains("holds something and no config.toml"), "{error}");
}

#[test]
fn a_folder_of_seeds_is_finished_with_its_summary() {
    let folder = tempfile::tempdir().unwrap();
    let several = plan(folder.path(), "[[runs]]\nname = 'x'\n");
    let one = plan(folder.path(), "[[runs]]\nname = 'x'\nseed = 7\n");
    begin(&one.runs[0]);
    assert_eq!(one.runs[0].config.output, several.runs[0].config.output.join("seed-7"));
    assert_eq!(state(&several.runs[0]).unwrap(), State::Begun);
    fs::write(several.runs[0].config.output.join("summary.json"), "{}").unwrap();
    assert_eq!(state(&several.runs[0]).unwrap(), State::Finished);
}

#[test]
fn a_dry_run_says_what_would_be_done() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.csv", "b.csv"] {
        fs::write(folder.path().join(name), "text,label\n").unwrap();
    }
    let [train, dev, output] = ["a.csv", "b.csv", "out"].map(|name| folder.path().join(name));
    let file = folder.path().join("sweep.toml");
    let base = format!("output = {output:?}\n[base]\ntrain = {train:?}\ndev = {dev:?}\n");
    fs::write(&file, format!("{base}[grid]\nlr = [0.1, 0.2]\n")).unwrap();
    let said = dry_run(&file).unwrap();
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[1].starts_with("new ") && lines[1].ends_with("out/lr=0.2  lr = 0.2"), "{said}");
    assert!(!output.exists());
    fs::remove_file(&dev).unwrap();
    let error = dry_run(&file).unwrap_err().to_string();
    assert!(error.contains("run lr=0.1: ") && error.contains("b.csv"), "{error}");
    fs::remove_file(&file).unwrap();
    assert!(dry_run(&file).unwrap_err().is::<lectern::commands::Usage>());
}
