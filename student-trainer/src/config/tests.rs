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
    let objective = again.objective(Task::SingleLabel).unwrap();
    assert_eq!(objective.loss, Loss::Kl { alpha: 0.5, temperature: 2.0 });
}

#[test]
fn every_student_reads_back_with_its_own_settings_alone() {
    let some = |student| TrainOptions { student: Some(student), ..minimal() };
    for options in [
        some(StudentKind::Bilstm),
        TrainOptions { vectors: Some("vectors.txt".into()), ..some(StudentKind::BilstmPaper) },
        TrainOptions { pairs: Some(PairReading::Join), ..some(StudentKind::Bigru) },
        TrainOptions { filter_widths: Some(vec![2, 7]), ..some(StudentKind::Textcnn) },
        some(StudentKind::Dpcnn),
        some(StudentKind::Fasttext),
        TrainOptions { init_embeddings: Some("folder".into()), ..some(StudentKind::Average) },
        TrainOptions {
            init_from: Some("folder".into()),
            layers: Some(vec![0, 2]),
            ..some(StudentKind::Transformer)
        },
    ] {
        let config = options.resolve().unwrap();
        let again = config.resolved.clone().resolve().unwrap();
        assert_eq!(format!("{again:?}"), format!("{config:?}"));
    }
    let twice = TrainOptions { filter_widths: Some(vec![3, 3]), ..some(StudentKind::Textcnn) };
    assert!(refused(twice).contains("--filter-widths"));
    let none = TrainOptions { embedding: Some(-1), ..minimal() };
    assert!(refused(none).contains("--embedding 0: must be at least 1"));
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
    let objective = config.objective(Task::SingleLabel).unwrap();
    assert_eq!(objective.loss, Loss::CeMse { ce_weight: 1.0, mse_weight: 2.0 });
    assert!(objective.resolved.resolve().is_ok(), "what was resolved is refused");
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

#[test]
fn each_task_has_its_losses_and_defaults() {
    let teacher = || Some("http://127.0.0.1:1".to_owned());
    let loss = |task, teacher, loss| {
        let options = TrainOptions { task: Some(task), teacher, loss, ..minimal() };
        let config = options.resolve()?;
        let objective = config.objective(task)?;
        assert_eq!(objective.resolved.clone().resolve()?.objective(task)?.loss, objective.loss);
        Ok::<_, Usage>(objective.loss)
    };
    let ce_mse = Loss::CeMse { ce_weight: 1.0, mse_weight: 2.0 };
    for (task, taught, alone) in [
        (Task::SingleLabel, ce_mse, Loss::CrossEntropy),
        (Task::MultiLabel, ce_mse, Loss::CrossEntropy),
        (Task::Regression, Loss::Mse { alpha: 0.5 }, Loss::Mse { alpha: 1.0 }),
    ] {
        assert_eq!(loss(task, teacher(), None).unwrap(), taught);
        assert_eq!(loss(task, None, None).unwrap(), alone);
        for kind in [LossKind::Kl, LossKind::Bce, LossKind::Mse, LossKind::CeMse] {
            match loss(task, teacher(), Some(kind)) {
                Ok(loss) => assert!(loss.fits(task), "{task}: {loss:?}"),
                Err(cause) => {
                    let said = format!("--loss {} is not for a {task} task; choose ", kind.name());
                    assert!(cause.to_string().starts_with(&said), "{cause}");
                }
            }
        }
    }
    let bce = loss(Task::MultiLabel, teacher(), Some(LossKind::Bce)).unwrap();
    assert_eq!(bce, Loss::Bce { alpha: 0.5, temperature: 2.0 });
    assert!(loss(Task::Regression, teacher(), Some(LossKind::Kl)).is_err());
}

#[test]
fn settings_that_fit_no_task_are_refused_before_the_teacher_says_which_it_is() {
    let taught = |options: TrainOptions| TrainOptions {
        teacher: Some("http://127.0.0.1:1".to_owned()),
        ..options
    };
    let bce = taught(TrainOptions { loss: Some(LossKind::Bce), ..minimal() });
    let config = bce.resolve().unwrap();
    assert!(config.objective(Task::MultiLabel).is_ok());
    let message = config.objective(Task::Regression).unwrap_err().to_string();
    assert_eq!(message, "--loss bce is not for a regression task; choose mse");
    let hot = TrainOptions { loss: Some(LossKind::CeMse), temperature: Some(2.0), ..minimal() };
    assert!(refused(taught(hot)).contains("--temperature belongs to --loss kl or bce, not ce-mse"));

    let regression = |alpha, teacher: Option<&str>| TrainOptions {
        task: Some(Task::Regression),
        alpha: Some(alpha),
        teacher: teacher.map(str::to_owned),
        ..minimal()
    };
    assert!(refused(regression(0.5, None)).contains("--alpha weighs the data's numbers"));
    let alone = refused(regression(1.0, Some("http://127.0.0.1:1")));
    assert!(alone.contains("--loss mse with --alpha 1 would not use the teacher"), "{alone}");
}
