//! What a configuration is made of, and what it refuses.

use std::path::Path;

use super::*;

fn minimal() -> TrainOptions {
    TrainOptions {
        train: Some("train.csv".into()),
        dev: Some("dev.csv".into()),
        output: Some("runs/first".into()),
        ..TrainOptions::default()
    }
}

fn refused(options: TrainOptions) -> String {
    options.resolve().unwrap_err().to_string()
}

#[test]
fn flags_win_over_the_file_and_the_file_over_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.toml");
    std::fs::write(&file, "train = 'other.csv'\nepochs = 7\nbatch-size = 16\n").unwrap();
    let flags = TrainOptions { epochs: Some(3), ..minimal() };
    let config = flags.over_file(Some(&file)).unwrap().resolve().unwrap();
    assert_eq!((config.epochs, config.batch_size, config.seed), (3, 16, 1));
    assert_eq!(config.train, Path::new("train.csv"));
}

#[test]
fn the_resolved_configuration_reads_back_as_the_same_run() {
    let options = TrainOptions {
        teacher: Some("http://127.0.0.1:50051".into()),
        loss: Some(LossKind::Kl),
        ..minimal()
    };
    let config = options.resolve().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    std::fs::write(&file, toml::to_string(&config.resolved).unwrap()).unwrap();
    let again = TrainOptions::default().over_file(Some(&file)).unwrap().resolve().unwrap();
    assert_eq!(format!("{again:?}"), format!("{config:?}"));
    assert_eq!(again.loss, Loss::Kl { alpha: 0.5, temperature: 2.0 });
}

#[test]
fn a_source_of_soft_labels_is_a_server_or_a_parquet_file() {
    let source = |teacher: Option<&str>, labels: Option<&str>| {
        LabelSource::from_flags(teacher, labels.map(Path::new))
    };
    assert_eq!(source(None, None).unwrap(), None);
    let url = "http://127.0.0.1:1";
    let teacher = LabelSource::Teacher(url.parse().unwrap());
    assert_eq!(source(Some(url), None).unwrap(), Some(teacher));
    let file = LabelSource::File("rows.Parquet".into());
    assert_eq!(source(None, Some("rows.Parquet")).unwrap(), Some(file));
    assert!(source(Some(url), Some("rows.parquet")).is_err());
    assert!(source(None, Some("names.txt")).unwrap_err().to_string().contains("--label-names"));
}

#[test]
fn a_run_on_a_file_of_rows_has_the_defaults_of_a_run_with_a_teacher() {
    let options = TrainOptions { labels: Some("rows.parquet".into()), ..minimal() };
    let config = options.resolve().unwrap();
    assert_eq!(config.loss, Loss::CeMse { ce_weight: 1.0, mse_weight: 2.0 });
    assert!(config.resolved.resolve().is_ok(), "what was resolved is refused");
}

#[test]
fn a_misspelt_key_is_named_with_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.toml");
    std::fs::write(&file, "batchsize = 16\n").unwrap();
    let message = minimal().over_file(Some(&file)).unwrap_err().to_string();
    assert!(message.contains("run.toml") && message.contains("batchsize"), "{message}");
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let teacher = || Some("http://127.0.0.1:1".to_owned());
    let loss = |loss, teacher| TrainOptions { loss: Some(loss), teacher, ..minimal() };
    assert!(refused(loss(LossKind::Mse, None)).contains("needs a teacher"));
    assert!(refused(loss(LossKind::CrossEntropy, teacher())).contains("would not use the teacher"));
    let hot = TrainOptions { temperature: Some(2.0), ..loss(LossKind::Mse, teacher()) };
    assert!(refused(hot).contains("--temperature belongs to --loss kl"));
    assert!(refused(TrainOptions { momentum: Some(0.9), ..minimal() }).contains("sgd"));
    assert!(refused(TrainOptions { epochs: Some(0), ..minimal() }).contains("--epochs 0"));
    assert!(refused(TrainOptions { train: None, ..minimal() }).contains("--train is missing"));
    let url = TrainOptions { teacher: Some("somewhere".into()), ..minimal() };
    assert!(refused(url).contains("somewhere"));
}
