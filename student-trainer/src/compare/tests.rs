//! Comparisons of run folders that are made up, so that every number follows by hand.

use std::{fs, path::Path};

use serde_json::json;

use super::*;

/// A finished run that judged examples named after `letters`, whose target is always `yes`; a capital letter it has right.
fn run(folder: &Path, seed: u64, letters: &str) {
    let names = json!(["no", "yes"]);
    let line = |letter: char| {
        let right = letter.is_uppercase();
        json!({
            "content": letter.to_ascii_lowercase().to_string(),
            "target": "yes",
            "prediction": names[usize::from(right)],
            "logits": if right { [0.0, 1.0] } else { [1.0, 0.0] },
            "teacher": [0.0, 2.0],
        })
        .to_string()
            + "\n"
    };
    let lines: String = letters.chars().map(line).collect();
    write(folder, "single-label", &names, seed, &lines);
}

fn write(folder: &Path, task: &str, names: &Value, seed: u64, lines: &str) {
    fs::create_dir_all(folder).unwrap();
    let put = |name: &str, text: String| fs::write(folder.join(name), text).unwrap();
    put("model.json", json!({"task": task, "family": "bilstm"}).to_string());
    put("labels.json", names.to_string());
    put("config.toml", format!("student = 'bilstm-paper'\nloss = 'kl'\nseed = {seed}\n"));
    let name = folder.file_name().unwrap().to_str();
    let summary = json!({
        "name": name, "parameters": 1000, "weights_bytes": 4000, "predict_examples_per_second": 50.0,
    });
    put("summary.json", summary.to_string());
    put("test_predictions.jsonl", lines.to_owned());
}

fn compared(runs: &[&Path]) -> anyhow::Result<Comparison> {
    let runs = runs.iter().map(|run| run.to_path_buf()).collect();
    compare(&CompareConfig { runs, ..CompareConfig::default() })
}

fn near(found: &Value, expected: f64) {
    let found = found.as_f64().unwrap();
    assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
}

#[test]
fn two_runs_are_told_apart_by_what_each_alone_has_right() {
    let folder = tempfile::tempdir().unwrap();
    let (alone, taught) = (folder.path().join("alone"), folder.path().join("taught"));
    // Six of ten right, and nine: four only the second has, one only the first.
    run(&alone, 1, "ABCDEFghij");
    // In another order, which must not matter.
    run(&taught, 1, "JIHGFEDCBa");
    let comparison = compared(&[&alone, &taught]).unwrap();
    let numbers = comparison.to_json();
    assert_eq!((&numbers["split"], &numbers["examples"]), (&json!("test"), &json!(10)));
    near(&numbers["runs"][0]["accuracy"], 0.6);
    near(&numbers["runs"][1]["accuracy"], 0.9);
    // The teacher always says yes, as the runs do where they are right.
    near(&numbers["runs"][1]["agreement_with_teacher"], 0.9);
    // All confidences are the same e / (1 + e).
    near(&numbers["runs"][1]["ece"], 0.9 - 1.0 / (1.0 + (-1f64).exp()));
    // Precision 1, recall 0.9.
    near(&numbers["runs"][1]["f1_by_label"]["yes"], 1.8 / 1.9);
    let difference = &numbers["differences"][0];
    assert_eq!((&difference["name"], &difference["baseline"]), (&json!("taught"), &json!("alone")));
    near(&difference["difference"], 0.3);
    let mcnemar = &difference["mcnemar"];
    assert_eq!(
        (&mcnemar["only_this_right"], &mcnemar["only_baseline_right"]),
        (&json!(4), &json!(1))
    );
    // 2 (1 + 5) / 2^5.
    near(&mcnemar["p"], 0.375);
    assert!(difference["welch"].is_null());

    let text = comparison.to_markdown();
    for part in [
        "| alone  | bilstm-paper |",
        "| taught |",
        "0.9000",
        "+0.3000",
        "0.3750 (4 against 1)",
        "| yes",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn the_runs_of_several_seeds_are_one_row_with_mean_and_deviation() {
    let folder = tempfile::tempdir().unwrap();
    let (alone, taught) = (folder.path().join("alone"), folder.path().join("taught"));
    for (group, first, second) in
        [(&alone, "ABCDEFghij", "abcdeFGHIJ"), (&taught, "ABCDEFGHIj", "aBCDEFGHIj")]
    {
        run(&group.join("seed-1"), 1, first);
        run(&group.join("seed-10"), 10, second);
        // What else lies there is none of them.
        fs::write(group.join("seed-1.log"), "").unwrap();
    }
    let numbers = compared(&[&alone, &taught]).unwrap().to_json();
    let row = &numbers["runs"][1];
    assert_eq!(
        (&row["name"], &row["runs"], &row["seed"]),
        (&json!("taught"), &json!(2), &json!("1, 10"))
    );
    // 0.9 and 0.8.
    near(&row["accuracy"]["mean"], 0.85);
    near(&row["accuracy"]["sd"], 0.005f64.sqrt());
    assert_eq!(row["accuracy"]["values"], json!([0.9, 0.8]));
    let difference = &numbers["differences"][0];
    assert!(difference["mcnemar"].is_null());
    // 0.6 and 0.5 against them: t = 0.3 / √0.005 with 2 degrees of freedom, whose two-sided p is 1 - t / √(t² + 2).
    near(&difference["welch"]["p"], 1.0 - (18.0f64 / 20.0).sqrt());
    near(&difference["difference"], 0.3);
    // Example by example: the mean over seeds counts.
    let low = difference["bootstrap"]["interval_95"][0].as_f64().unwrap();
    assert!(low < 0.3 && low > -0.5, "{difference}");
    let text = compared(&[&alone, &taught]).unwrap().to_markdown();
    assert!(text.contains("0.8500 ± 0.0707"), "{text}");
}

#[test]
fn the_baseline_is_the_one_that_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["a", "b", "c"].map(|name| folder.path().join(name));
    for (path, letters) in paths.iter().zip(["ABcd", "Abcd", "ABCD"]) {
        run(path, 1, letters);
    }
    let [a, b, c] = paths;
    let against = |runs: &[&Path], baseline: &Path| {
        let runs = runs.iter().map(|run| run.to_path_buf()).collect();
        let baseline = Some(baseline.to_owned());
        let config = CompareConfig { runs, baseline, ..CompareConfig::default() };
        let numbers = compare(&config).unwrap().to_json();
        numbers["differences"].as_array().unwrap().iter().map(|d| d["difference"].clone()).collect()
    };
    let within: Vec<Value> = against(&[&a, &b, &c], &b);
    assert_eq!(within, [json!(0.25), json!(0.75)]);
    let beside: Vec<Value> = against(&[&a, &c], &b);
    assert_eq!(within, beside);
}

#[test]
fn runs_over_different_examples_are_refused_with_what_differs() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (folder.path().join("one"), folder.path().join("other"));
    run(&one, 1, "ABC");
    run(&other, 1, "ABx");
    let error = compared(&[&one, &other]).unwrap_err().to_string();
    for part in [
        "different test data",
        "of 3 examples 1 are only in the first",
        "content c and target \"yes\"",
    ] {
        assert!(error.contains(part), "{error}");
    }
    // The same example twice is another set than once.
    run(&other, 1, "ABCC");
    let error = compared(&[&one, &other]).unwrap_err().to_string();
    assert!(
        error.contains("of 3 examples 0 are only in the first, of 4 1 only in the second"),
        "{error}"
    );
    write(
        &other,
        "multi-label",
        &json!(["yes"]),
        1,
        "{\"content\":\"a\",\"target\":[\"yes\"],\"prediction\":[],\"logits\":[-1.0]}\n",
    );
    let error = compared(&[&one, &other]).unwrap_err().to_string();
    assert!(error.contains("is of a single-label task"), "{error}");
}

#[test]
fn a_regression_is_compared_by_its_errors() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (folder.path().join("one"), folder.path().join("other"));
    for (path, off) in [(&one, 1.0), (&other, 0.5)] {
        let line = |i: i32| {
            let value = f64::from(i) + if i % 2 == 0 { off } else { -off };
            format!(
                "{}\n",
                json!({"content": i.to_string(), "target": f64::from(i), "prediction": value, "logits": [value]})
            )
        };
        let lines: String = (0..6).map(line).collect();
        write(path, "regression", &json!(["score"]), 1, &lines);
    }
    let comparison = compared(&[&one, &other]).unwrap();
    let numbers = comparison.to_json();
    near(&numbers["runs"][0]["mse"], 1.0);
    assert!(numbers["runs"][0]["pearson"].is_number() && numbers["runs"][0]["ece"].is_null());
    let difference = &numbers["differences"][0];
    assert_eq!(difference["measure"], "mean squared error");
    near(&difference["difference"], 0.25 - 1.0);
    assert!(difference["mcnemar"].is_null() && !comparison.to_markdown().contains("F1"));
}

#[test]
fn what_is_no_finished_run_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    run(&path, 1, "AB");
    fs::remove_file(path.join("summary.json")).unwrap();
    let error = compared(&[&path]).unwrap_err().to_string();
    assert!(error.contains("run is of a run that is not finished"), "{error}");
    let error = compared(&[folder.path()]).unwrap_err().to_string();
    assert!(error.contains("is no run folder"), "{error}");
    let dev = CompareConfig {
        output: vec!["table.txt".into()],
        runs: vec![path],
        ..CompareConfig::default()
    };
    assert!(compare(&dev).unwrap_err().is::<Usage>());
}

#[test]
fn runs_of_the_same_name_are_called_by_their_paths() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (folder.path().join("a/run"), folder.path().join("b/run"));
    run(&one, 1, "AB");
    run(&other, 2, "Ab");
    let text = compared(&[&one, &other]).unwrap().to_markdown();
    assert!(text.contains("a/run |") && text.contains("b/run |"), "{text}");
}
