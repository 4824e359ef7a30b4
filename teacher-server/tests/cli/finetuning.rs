//! Long fine-tunings: killed, out of disk, out of range, gone on with.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::{
    support::{command, refused, stderr, stdout, teacher_server},
    teaching::Data,
};

/// Flags of 40 epochs of 3 steps, evaluated and saved in the middle of them.
const LONG: [(&str, &str); 6] = [
    ("--epochs", "40"),
    ("--evaluate-every", "7"),
    ("--checkpoint-every", "2"),
    ("--best-by", "loss"),
    ("--patience", "100"),
    ("--layer-decay", "0.9"),
];

fn args(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

fn with<'a>(flags: &[(&'a str, &'a str)], more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    flags.iter().chain(more).copied().collect()
}

fn lines(folder: &str) -> Vec<Value> {
    let text = fs::read_to_string(Path::new(folder).join("metrics.jsonl")).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn checkpoint(folder: &str) -> PathBuf {
    Path::new(folder).join("checkpoint.safetensors")
}

/// That two folders hold the same teacher, and that it came about the same way.
fn assert_same(one: &str, other: &str) {
    for name in ["model.safetensors", "config.json", "metrics.jsonl", "dev_report.json"] {
        let read = |folder: &str| fs::read(Path::new(folder).join(name)).unwrap();
        assert!(read(one) == read(other), "{name} differs");
    }
}

#[test]
fn a_killed_fine_tuning_goes_on_to_the_same_bytes() {
    let data = Data::new();
    let (whole, killed) = (data.path("whole"), data.path("killed"));
    stdout(&teacher_server(&args(&data.finetune(&with(&LONG, &[("--output", &whole)])))));
    assert_eq!(lines(&whole).len(), 18, "120 steps, one evaluation every 7 and at the end");

    let mut again = data.finetune(&with(&LONG, &[("--output", &killed)]));
    again.push("--resume".to_owned());
    for evaluations in [1, 4] {
        let mut child = command(&args(&again)).stderr(Stdio::null()).spawn().unwrap();
        while lines(&killed).len() < evaluations {
            assert!(child.try_wait().unwrap().is_none(), "it ended before it could be killed");
            thread::sleep(Duration::from_millis(2));
        }
        // SIGKILL.
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(checkpoint(&killed).exists(), "it was over before it was killed");
    }
    let resumed = teacher_server(&args(&again));
    stdout(&resumed);
    assert!(stderr(&resumed).contains("resuming"), "{}", stderr(&resumed));
    assert_same(&whole, &killed);
    assert!(!checkpoint(&killed).exists(), "a finished teacher carries no checkpoint");
}

#[test]
fn an_unfinished_fine_tuning_is_neither_overwritten_nor_gone_on_with_under_other_settings() {
    let data = Data::new();
    let output = data.path("teacher");
    let diverging = data.finetune(&[("--lr", "1e30")]);
    let said = refused(&args(&diverging), 1);
    assert!(said.contains("epoch 1, step 3: loss") && said.contains("lower --lr"), "{said}");

    let overwriting = refused(&args(&diverging), 1);
    assert!(overwriting.contains("go on with --resume"), "{overwriting}");
    let mut other = data.finetune(&[("--lr", "0.01"), ("--seed", "2")]);
    other.push("--resume".to_owned());
    let said = refused(&args(&other), 1);
    assert!(said.contains("\n  lr: 1e+30, now 0.01\n  seed: 1, now 2\n"), "{said}");
    assert!(!said.contains("encoder: ") && !said.contains("dropout"), "{said}");
    let train = data.write(
        "other.jsonl",
        "{\"text\": \"a\", \"label\": \"negative\"}\n{\"text\": \"b\", \"label\": \"positive\"}\n",
    );
    let mut other = data.finetune(&[("--lr", "1e30"), ("--train", &train)]);
    other.push("--resume".to_owned());
    assert!(refused(&args(&other), 1).contains("train: "));
    assert!(checkpoint(&output).exists());
}

#[test]
fn a_loss_that_is_no_number_leaves_the_best_weights_before_it() {
    let data = Data::new();
    let flags = [("--lr", "1e30"), ("--evaluate-every", "1"), ("--patience", "9")];
    let said = refused(&args(&data.finetune(&flags)), 1);
    assert!(said.contains("epoch 1, step 2: the loss on dev is"), "{said}");
    assert_eq!(lines(&data.path("teacher")).len(), 1);
    let (model, dev) = (data.path("teacher"), data.path("dev.jsonl"));
    stdout(&teacher_server(&["evaluate", "--model", &model, "--data", &dev, "--threads", "1"]));
    assert!(checkpoint(&model).exists());
}

#[cfg(unix)]
#[test]
fn a_full_disk_stops_it_with_the_old_checkpoint_in_place() {
    let data = Data::new();
    let (whole, full) = (data.path("whole"), data.path("full"));
    stdout(&teacher_server(&args(&data.finetune(&[("--output", &whole)]))));
    // The weights are 100 kB, the first checkpoint too; with both moments it needs 300 kB. Ignored, the signal becomes
    // an error of the write.
    let limited = Command::new("sh")
        .args(["-c", r#"trap '' XFSZ; ulimit -f 400; exec "$0" "$@""#])
        .arg(env!("CARGO_BIN_EXE_teacher-server"))
        .args(data.finetune(&[("--output", &full)]))
        .env_remove("RUST_LOG")
        .output()
        .unwrap();
    let said = stderr(&limited);
    assert_eq!(limited.status.code(), Some(1), "{said}");
    assert!(said.contains("checkpoint.safetensors: the checkpoint cannot be written"), "{said}");
    let names = fs::read_dir(&full).unwrap().map(|entry| entry.unwrap().file_name());
    let unfinished = names.filter(|name| name.to_string_lossy().ends_with(".tmp")).count();
    assert_eq!(unfinished, 0);

    let mut again = data.finetune(&[("--output", &full)]);
    again.push("--resume".to_owned());
    stdout(&teacher_server(&args(&again)));
    assert_same(&whole, &full);
    let finished = refused(&args(&again), 1);
    assert!(finished.contains("nothing to resume"), "{finished}");
}

#[test]
fn every_part_of_a_recipe_is_taken_and_each_evaluation_leaves_a_line() {
    let data = Data::new();
    let flags = [
        ("--epochs", "4"),
        ("--trainable-layers", "1"),
        ("--accumulate", "2"),
        ("--schedule", "cosine"),
        ("--class-weights", "balanced"),
        ("--label-smoothing", "0.1"),
        ("--best-by", "macro-f1"),
        ("--patience", "9"),
    ];
    let mut flags = data.finetune(&flags);
    flags.push("--freeze-embeddings".to_owned());
    stdout(&teacher_server(&args(&flags)));
    let lines = lines(&data.path("teacher"));
    // Three batches of 4 are two steps of at most 2.
    let steps: Vec<_> = lines.iter().map(|line| line["step"].as_u64().unwrap()).collect();
    assert_eq!(steps, [2, 4, 6, 8]);
    for line in &lines {
        for number in ["train_loss", "dev_loss", "learning_rate"] {
            assert!(line[number].is_f64(), "{line}");
        }
        assert!(line["dev"]["accuracy"].is_f64() && line["best"].is_boolean(), "{line}");
    }
}

#[test]
fn parts_of_a_recipe_that_cannot_be_meant_are_named() {
    let data = Data::new();
    for (flag, value, said) in [
        ("--class-weights", "1,none", "\"none\" is no positive number"),
        ("--label-smoothing", "1.5", "--label-smoothing 1.5"),
        ("--layer-decay", "0", "--layer-decay 0"),
        ("--best-by", "luck", "--best-by"),
        ("--accumulate", "0", "--accumulate"),
    ] {
        let message = data.finetune_refused(&[(flag, value)], 2);
        assert!(message.contains(said), "{flag}: {message}");
    }
    let message = data.finetune_refused(&[("--task", "regression"), ("--best-by", "accuracy")], 2);
    assert!(message.contains("--best-by: --task regression has no such number"), "{message}");
    let message = data.finetune_refused(&[("--class-weights", "1,2,3")], 1);
    assert!(message.contains("3 weights for 2 labels, which are negative, positive"), "{message}");
    let message = data.finetune_refused(&[("--trainable-tensors", "1000")], 1);
    assert!(message.contains("--trainable-tensors 1000: the encoder has only"), "{message}");
}
