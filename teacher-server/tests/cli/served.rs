//! TorchScript modules and textGCNs on the command line.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::support::{fixture, refused, stdout, teacher_server};

/// The path of a file of `make_torchscript.py`.
fn torchscript(name: &str) -> String {
    fixture("../torchscript").join(name).to_str().unwrap().to_owned()
}

fn tokenizer() -> String {
    fixture("with_pooler").to_str().unwrap().to_owned()
}

#[test]
fn a_torchscript_module_is_judged_as_the_teacher_that_it_was_traced_from() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data.jsonl");
    let row = |(text, label)| format!("{}\n", json!({"text": text, "label": label}));
    let rows = [("a dull film", "negative"), ("the best movie", "positive"), ("love", "neutral")];
    fs::write(&data, rows.map(row).concat()).unwrap();
    let (module, tokenizer, labels) =
        (torchscript("bert.pt"), tokenizer(), torchscript("labels.txt"));
    let evaluate = |model: &[&str]| {
        let mut args = vec!["evaluate", "--data", data.to_str().unwrap(), "--threads", "1"];
        // Where the module was traced.
        args.extend(["--device", "cpu"]);
        args.extend(model);
        stdout(&teacher_server(&args))
    };
    let flags = ["--torchscript", &module, "--tokenizer", &tokenizer, "--labels", &labels];
    assert_eq!(evaluate(&flags), evaluate(&["--model", &tokenizer]));
}

#[test]
fn flags_of_a_module_that_are_missing_or_too_many_end_with_code_2() {
    let (module, labels) = (torchscript("bert.pt"), torchscript("labels.txt"));
    let alone = refused(&["serve", "--torchscript", &module], 2);
    assert!(alone.contains("--tokenizer <DIR>") && alone.contains("--labels <FILE>"), "{alone}");
    let module = ["--torchscript", &module, "--tokenizer", "t", "--labels", &labels];
    let serve = |more: &[&str], said: &str| {
        let message = refused(&[&["serve"], &module[..], more].concat(), 2);
        assert!(message.contains(said), "{said}: {message}");
    };
    serve(&["--tokenizer", "u"], "--tokenizer is given 2 times for 1 modules");
    serve(&["--model", "m", "--weights", "1,2,3"], "--weights has 3 numbers for 2 models");
    let both = refused(&[&["predict"], &module[..], &["--model", "m"]].concat(), 2);
    assert!(both.contains("cannot be used with"), "{both}");
}

#[test]
fn a_module_that_does_not_keep_to_the_signature_is_refused_before_it_serves() {
    let (module, labels, tokenizer) =
        (torchscript("reads_padding.pt"), torchscript("labels.txt"), tokenizer());
    let args = ["serve", "--torchscript", &module, "--tokenizer", &tokenizer, "--labels", &labels];
    let message =
        refused(&[&args[..], &["--listen", "127.0.0.1:0", "--store", "none"]].concat(), 1);
    assert!(message.contains("--torchscript ") && message.contains("attention_mask"), "{message}");
}

#[test]
fn a_text_gcn_is_built_judged_and_labels_its_own_texts_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let write = |name: &str, subjects: &str| {
        let row = |subject: &str| {
            let line =
                |word, label| json!({"text": format!("the {subject} is {word}"), "label": label});
            format!("{}\n{}\n", line("dull", "negative"), line("great", "positive"))
        };
        fs::write(path(name), subjects.split(' ').map(row).collect::<String>()).unwrap();
        path(name)
    };
    let train = write("train.jsonl", "film movie story plot cast scene");
    let test = write("test.jsonl", "actor play");
    let output = path("graph");
    let args = [
        "textgcn",
        "--train",
        &train,
        "--test",
        &test,
        "--output",
        &output,
        "--min-count",
        "1",
        "--patience",
        "40",
        "--hidden",
        "16",
        "--threads",
        "1",
    ];
    let report = stdout(&teacher_server(&args));
    assert!(report.starts_with("test\n") && report.contains("macro avg"), "{report}");
    for name in ["labels.json", "vocabulary.json", "documents.safetensors", "test_report.json"] {
        assert!(Path::new(&output).join(name).is_file(), "{name}");
    }
    let written = fs::read_to_string(Path::new(&output).join("text_gcn.json")).unwrap();
    let config: Value = serde_json::from_str(&written).unwrap();
    // 16 texts; 8 subjects, "the", "is", "dull" and "great".
    assert_eq!((&config["documents"], &config["words"]), (&json!(16), &json!(12)));
    assert_eq!(config["parameters"], (16 + 12) * 16 + 16 * 2);

    let predict = ["predict", "--model", &output, "--plain"];
    fs::write(path("known.txt"), "the play is great\nthe film is dull\n").unwrap();
    let known = stdout(&teacher_server(&[&predict[..], &[&path("known.txt")]].concat()));
    let labels: Vec<Value> =
        known.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(labels.len(), 2);
    fs::write(path("other.txt"), "the song is dull\n").unwrap();
    let message = refused(&[&predict[..], &[&path("other.txt")]].concat(), 1);
    assert!(message.contains("transductive") && message.contains("the song is dull"), "{message}");

    let again = refused(&args, 1);
    assert!(again.contains("holds another run"), "{again}");
}
