//! What is served beside teachers: TorchScript modules, students, textGCNs; and what is refused.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use tch::Device;

use super::*;
use crate::{
    data::LabelSet,
    models::{BEST_WEIGHTS, classify},
    wire::ContentHash,
};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// A module of `make_torchscript.py` with the tokenizer of the BERT fixture.
fn files(module: &str) -> TorchScriptFiles {
    TorchScriptFiles {
        module: fixtures().join("torchscript").join(module),
        tokenizer: fixtures().join("bert/with_pooler"),
        labels: fixtures().join("torchscript/labels.txt"),
        max_length: None,
    }
}

fn torchscript(files: &TorchScriptFiles) -> Result<TorchScript, ModelError> {
    TorchScript::load(files, Device::Cpu, Arithmetic::Auto)
}

fn refused(files: &TorchScriptFiles) -> String {
    torchscript(files).unwrap_err().to_string()
}

fn print(model: &impl ServedModel) -> String {
    model.fingerprint().unwrap().to_string()
}

#[test]
fn a_traced_classifier_answers_as_the_same_weights_do_as_a_teacher() {
    let traced = torchscript(&files("bert.pt")).unwrap();
    let teacher = Teacher::load(&fixtures().join("bert/with_pooler"), Device::Cpu).unwrap();
    assert_eq!(traced.max_length(), 64);
    assert_eq!(traced.parameter_count(), teacher.parameter_count());
    let texts = [
        ("The best movie of the year!", None),
        ("dull", None),
        ("电影很好看！", Some("the cast was great")),
        ("the plot of the old film is dull and very bad and never ends", Some("不好看")),
    ];
    let found = classify(&traced, texts.into_iter()).unwrap();
    let expected = classify(&teacher, texts.into_iter()).unwrap();
    for (found, expected) in found.iter().zip(&expected) {
        for (a, b) in found.logits.iter().zip(&expected.logits) {
            // float32 sums in another order.
            assert!((a - b).abs() < 1e-5, "{found:?} for {expected:?}");
        }
    }
}

#[test]
fn a_module_without_segments_may_return_a_tuple() {
    let module = torchscript(&files("two_inputs.pt")).unwrap();
    assert!(module.architecture().ends_with("forward(input_ids, attention_mask)"));
    let text = fs::read_to_string(fixtures().join("torchscript/two_inputs.json")).unwrap();
    let reference: Value = serde_json::from_str(&text).unwrap();
    let read = |key: &str| serde_json::from_value::<Vec<Value>>(reference[key].clone()).unwrap();
    let examples: Vec<Tokens> = read("input_ids")
        .into_iter()
        .map(|ids| serde_json::from_value::<Vec<i64>>(ids).unwrap())
        .map(|ids| Tokens { type_ids: vec![0; ids.len()], ids, truncated: false })
        .collect();
    // Together, so that the shorter one is padded.
    let rows = module.predict(&examples.iter().collect::<Vec<_>>()).unwrap();
    for (row, expected) in rows.iter().zip(read("logits")) {
        let expected: Vec<f32> = serde_json::from_value(expected).unwrap();
        assert!(row.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-6), "{row:?}");
    }
}

#[test]
fn the_dry_run_names_what_a_module_does_wrong() {
    for (module, said) in [
        ("reads_padding.pt", "padding changes its answer; use attention_mask"),
        ("dictionary.pt", "it returned a dictionary; export with return_dict=False"),
        ("one_input.pt", "forward takes neither (input_ids, attention_mask, token_type_ids): "),
        ("not_finite.pt", "forward gave the logit NaN"),
        ("few_ids.pt", "the last of --tokenizer: "),
        ("eighteen_tokens.pt", "forward fails for 64 tokens (--max-length): "),
        ("nowhere.pt", "No such file"),
        ("labels.txt", "not a TorchScript module ("),
    ] {
        let files = files(module);
        let message = refused(&files);
        let beginning = format!("--torchscript {}: ", files.module.display());
        assert!(message.starts_with(&beginning) && message.contains(said), "{message}");
    }
    let shorter = TorchScriptFiles { max_length: Some(18), ..files("eighteen_tokens.pt") };
    assert_eq!(torchscript(&shorter).unwrap().max_length(), 18);
}

#[test]
fn labels_and_tokenizers_that_do_not_fit_a_module_are_named_with_their_argument() {
    let four = files("four_classes.pt");
    let message = refused(&four);
    let beginning = format!("--labels {}: holds 3 labels, but ", four.labels.display());
    assert!(message.starts_with(&beginning) && message.ends_with("gives 4 logits"), "{message}");

    let absent = TorchScriptFiles { labels: "nowhere.txt".into(), ..files("bert.pt") };
    assert!(refused(&absent).starts_with("--labels nowhere.txt: "), "{}", refused(&absent));
    let absent = TorchScriptFiles { tokenizer: "nowhere".into(), ..files("bert.pt") };
    assert!(refused(&absent).starts_with("--tokenizer nowhere: "), "{}", refused(&absent));

    let folder = tempfile::tempdir().unwrap();
    let tokenizer = fixtures().join("bert/with_pooler/tokenizer.json");
    fs::copy(tokenizer, folder.path().join("tokenizer.json")).unwrap();
    let unstated = TorchScriptFiles { tokenizer: folder.path().into(), ..files("bert.pt") };
    assert!(refused(&unstated).contains("give --max-length"), "{}", refused(&unstated));
    let config = json!({"model_max_length": 16, "pad_token": {"content": "[NONE]"}});
    fs::write(folder.path().join("tokenizer_config.json"), config.to_string()).unwrap();
    let message = refused(&unstated);
    assert!(message.contains("no padding token") && message.contains("[NONE]"), "{message}");
}

#[test]
fn a_modules_fingerprint_follows_its_bytes_labels_tokenizer_and_maximum_length() {
    let original = print(&torchscript(&files("two_inputs.pt")).unwrap());
    assert_eq!(original, print(&torchscript(&files("two_inputs.pt")).unwrap()));
    let folder = tempfile::tempdir().unwrap();
    let labels = folder.path().join("labels.txt");
    fs::write(&labels, "a\nb\nc\n").unwrap();
    let changed = [
        files("bert.pt"),
        TorchScriptFiles { labels, ..files("two_inputs.pt") },
        TorchScriptFiles { max_length: Some(20), ..files("two_inputs.pt") },
    ];
    for files in changed {
        assert_ne!(original, print(&torchscript(&files).unwrap()), "{files:?}");
    }
}

#[test]
fn an_arithmetic_that_a_model_does_not_have_is_refused_by_its_name() {
    let module = ModelFiles::TorchScript(files("two_inputs.pt"));
    let error = module.load(Device::Cpu, Arithmetic::Int8).unwrap_err().to_string();
    assert!(error.starts_with("--dtype int8: ") && error.contains("float32 alone"), "{error}");
    assert!(module.load(Device::Cpu, Arithmetic::Float32).is_ok());
}

#[test]
fn a_folder_without_a_model_says_what_was_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    let load = |path: &Path| ModelFiles::from(path).load(Device::Cpu, Arithmetic::Auto);
    let message = load(folder.path()).unwrap_err().to_string();
    for looked_for in ["text_gcn.json", "model.json", "config.json (a Hugging Face folder)"] {
        assert!(message.contains(looked_for), "{message}");
    }
    let message = load(&folder.path().join("nowhere")).unwrap_err().to_string();
    assert!(message.contains("nowhere: No such file"), "{message}");
}

fn text_gcn(folder: &Path, logits: [f32; 4]) {
    let config = TextGcnConfig {
        documents: 2,
        words: 3,
        edges: 4,
        hidden: 5,
        parameters: 35,
        longest: 6,
        training: Value::Null,
    };
    let labels = LabelSet::new(vec!["a".to_owned(), "b".to_owned()]).unwrap();
    let contents = vec![ContentHash::new("one", None), ContentHash::new("two", Some("three"))];
    let answers = TextGcnAnswers { contents, logits: logits.to_vec() };
    let words = ["one", "three", "two"].map(str::to_owned);
    TextGcn::save(folder, &config, &labels, &words, &answers).unwrap();
}

#[test]
fn a_text_gcn_answers_for_its_documents_and_refuses_all_others() {
    let folder = tempfile::tempdir().unwrap();
    text_gcn(folder.path(), [1.0, 2.0, 3.0, 4.0]);
    let files = ModelFiles::from(folder.path());
    let model = files.load(Device::Cpu, Arithmetic::Auto).unwrap();
    let texts = [("two", Some("three")), ("one", None), ("two", Some("three"))];
    let answers = classify(&model, texts.into_iter()).unwrap();
    let logits: Vec<_> = answers.iter().map(|answer| answer.logits.clone()).collect();
    assert_eq!(logits, [[3.0, 4.0], [1.0, 2.0], [3.0, 4.0]]);
    assert_eq!(model.parameter_count(), 35);
    assert!(files.weight_bytes() > 0);

    let message = model.encode("two", None).unwrap_err().to_string();
    assert_eq!(
        message,
        "this teacher is transductive: it answers for the 2 documents it was built on, and \"two\" is \
         none of them; rebuild it with this text among its documents"
    );
}

#[test]
fn a_text_gcns_fingerprint_is_that_of_its_answers() {
    let print = |logits| {
        let folder = tempfile::tempdir().unwrap();
        text_gcn(folder.path(), logits);
        let model = TextGcn::load(folder.path(), Device::Cpu, Arithmetic::Auto).unwrap();
        print(&model)
    };
    assert_eq!(print([1.0, 2.0, 3.0, 4.0]), print([1.0, 2.0, 3.0, 4.0]));
    assert_ne!(print([1.0, 2.0, 3.0, 4.0]), print([1.0, 2.0, 3.0, 5.0]));
}

#[test]
fn a_text_gcn_whose_files_are_not_of_one_teacher_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    text_gcn(folder.path(), [0.0; 4]);
    let load =
        || TextGcn::load(folder.path(), Device::Cpu, Arithmetic::Auto).unwrap_err().to_string();
    let path = folder.path().join("documents.safetensors");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    assert!(load().contains("not a whole weights file"), "{}", load());
    fs::write(&path, whole).unwrap();
    fs::write(folder.path().join("labels.json"), r#"["a", "b", "c"]"#).unwrap();
    assert!(
        load().contains("logits: expected F32 of shape [N, 3], found F32 of [2, 2]"),
        "{}",
        load()
    );
}

#[test]
fn a_students_run_folder_is_told_by_its_model_json() {
    let folder = tempfile::tempdir().unwrap();
    let config = json!({
        "max_length": 9, "family": "bilstm", "vocabulary": 50, "embedding": 8, "hidden": 6, "inner": 5,
        "head": "max-over-time",
    });
    fs::write(folder.path().join("model.json"), config.to_string()).unwrap();
    fs::write(folder.path().join("labels.json"), r#"["a", "b", "c"]"#).unwrap();
    let tokenizer = fixtures().join("bert/with_pooler/tokenizer.json");
    fs::copy(tokenizer, folder.path().join("tokenizer.json")).unwrap();
    fs::copy(fixtures().join("student.safetensors"), folder.path().join(BEST_WEIGHTS)).unwrap();
    let files = ModelFiles::from(folder.path());
    let model = files.load(Device::Cpu, Arithmetic::Auto).unwrap();
    assert_eq!(model.max_length(), 9);
    assert_eq!(
        model.architecture(),
        "bilstm, 50 words x 8, 6 units a direction, maximum over time"
    );
    let weights = fs::metadata(folder.path().join(BEST_WEIGHTS)).unwrap();
    assert_eq!(files.weight_bytes(), weights.len());
    let error = files.load(Device::Cpu, Arithmetic::BFloat16).unwrap_err().to_string();
    assert!(error.starts_with("--dtype bfloat16: "), "{error}");

    let before = model.fingerprint().unwrap();
    fs::write(folder.path().join("labels.json"), r#"["a", "b", "d"]"#).unwrap();
    let after = files.load(Device::Cpu, Arithmetic::Auto).unwrap().fingerprint().unwrap();
    assert_ne!(before, after);
}
