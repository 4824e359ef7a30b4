//! What a configuration is made of, and what it refuses.

use std::path::Path;

use clap::ValueEnum as _;
use lectern::training::{Alpha, Balance, SoftLoss};

use super::*;

fn minimal() -> TrainOptions {
    TrainOptions {
        train: Some("train.csv".into()),
        dev: Some("dev.csv".into()),
        output: Some("runs/first".into()),
        ..TrainOptions::default()
    }
}

/// A fresh Transformer.
fn fresh(config: &str, more: impl Fn(TrainOptions) -> TrainOptions) -> TrainOptions {
    more(TrainOptions {
        student: Some(StudentKind::Transformer),
        encoder_config: Some(config.into()),
        ..minimal()
    })
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
        teacher: Some(vec!["http://127.0.0.1:50051".into()]),
        loss: Some(LossKind::Kl),
        alpha: Some(0.5.into()),
        ..minimal()
    };
    let config = options.resolve().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    std::fs::write(&file, toml::to_string(&config.resolved).unwrap()).unwrap();
    let again = TrainOptions::default().over_file(Some(&file)).unwrap().resolve().unwrap();
    assert_eq!(format!("{again:?}"), format!("{config:?}"));
    let objective = again.objective(Task::SingleLabel, &[]).unwrap();
    assert_eq!(objective.loss, Loss::weighed(SoftLoss::Kl, 0.5, 2.0));
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
        fresh("folder", |options| options),
        fresh("mini.json", |options| TrainOptions { heads: Some(2), ..options }),
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
fn a_fresh_transformer_reads_as_its_folder_does_unless_flags_say_otherwise() {
    let input = |options: TrainOptions| options.resolve().unwrap().student_settings.input;
    let tokenizer = |path: &str| Input::Tokenizer(path.into());
    let words = |words| Input::Words { words, size: 30_000, min_count: 2 };
    assert_eq!(input(fresh("folder", |options| options)), tokenizer("folder"));
    let other = |options| TrainOptions { tokenizer: Some("other".into()), ..options };
    assert_eq!(input(fresh("folder", other)), tokenizer("other"));
    assert_eq!(input(fresh("mini.json", other)), tokenizer("other"));
    assert_eq!(input(fresh("mini.json", |options| options)), words(WordOption::Unicode));
    let jieba = |options| TrainOptions { words: Some(WordOption::Jieba), ..options };
    assert_eq!(input(fresh("folder", jieba)), words(WordOption::Jieba));

    let config = fresh("folder", |options| options).resolve().unwrap();
    assert_eq!((config.lr, config.epochs), (5e-4, 4));

    let layers = |options| TrainOptions { layers: Some(vec![0, 2]), ..options };
    assert!(refused(fresh("folder", layers)).contains("--num-layers says how many"));
    let both = |options| TrainOptions { init_from: Some("encoder".into()), ..options };
    assert!(refused(fresh("folder", both)).contains("exclude each other"));
    let none = |options| TrainOptions { heads: Some(0), ..options };
    assert_eq!(refused(fresh("folder", none)), "--heads 0: must be at least 1");
    let wide =
        |options| TrainOptions { encoder_config: None, hidden: Some(64), ..layers(both(options)) };
    assert!(
        refused(fresh("", wide)).starts_with("--hidden belongs to --encoder-config: layers of")
    );
    let elsewhere = |options| TrainOptions { student: Some(StudentKind::Bilstm), ..options };
    let said = refused(fresh("folder", elsewhere));
    assert_eq!(said, "--encoder-config belongs to --student transformer, not bilstm");
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
    let options = TrainOptions { labels: Some(vec!["rows.parquet".into()]), ..minimal() };
    let config = options.resolve().unwrap();
    let objective = config.objective(Task::SingleLabel, &[]).unwrap();
    assert_eq!(objective.loss, Loss::weighed(SoftLoss::Kl, 0.0, 2.0));
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
    let teacher = || Some(vec!["http://127.0.0.1:1".to_owned()]);
    let loss = |loss, teacher| TrainOptions { loss: Some(loss), teacher, ..minimal() };
    assert!(refused(loss(LossKind::Mse, None)).contains("needs a teacher"));
    assert!(refused(loss(LossKind::CrossEntropy, teacher())).contains("would not use the teacher"));
    let hot = TrainOptions { temperature: Some(2.0.into()), ..loss(LossKind::Mse, teacher()) };
    assert!(refused(hot).contains("--temperature belongs to --loss kl"));
    let on_missing = Some(OnMissing::HardOnly);
    let unweighted = TrainOptions { on_missing, ..loss(LossKind::Kl, teacher()) };
    assert!(refused(unweighted.clone()).contains("--on-missing hard-only: --loss kl gives"));
    let weighted = TrainOptions { alpha: Some("linear:0:1".parse().unwrap()), ..unweighted };
    assert!(weighted.resolve().is_ok());
    assert!(refused(TrainOptions { momentum: Some(0.9), ..minimal() }).contains("sgd"));
    assert!(refused(TrainOptions { epochs: Some(0), ..minimal() }).contains("--epochs 0"));
    assert!(refused(TrainOptions { train: None, ..minimal() }).contains("--train is missing"));
    let url = TrainOptions { teacher: Some(vec!["somewhere".into()]), ..minimal() };
    assert!(refused(url).contains("somewhere"));
}

#[test]
fn each_task_has_its_losses_and_defaults() {
    let teacher = || Some(vec!["http://127.0.0.1:1".to_owned()]);
    let loss = |task, teacher, loss| {
        let options = TrainOptions { task: Some(task), teacher, loss, ..minimal() };
        let config = options.resolve()?;
        let objective = config.objective(task, &[])?;
        assert_eq!(
            objective.resolved.clone().resolve()?.objective(task, &[])?.loss,
            objective.loss
        );
        Ok::<_, Usage>(objective.loss)
    };
    let (kl, ce_mse) = (Loss::weighed(SoftLoss::Kl, 0.0, 2.0), Loss::ce_mse(1.0, 2.0));
    for (task, taught, alone) in [
        (Task::SingleLabel, kl, Loss::hard()),
        (Task::MultiLabel, ce_mse, Loss::hard()),
        (Task::Regression, Loss::weighed(SoftLoss::Mse, 0.5, 1.0), Loss::hard()),
    ] {
        assert_eq!(loss(task, teacher(), None).unwrap(), taught);
        assert_eq!(loss(task, None, None).unwrap(), alone);
        for &kind in
            LossKind::value_variants().iter().filter(|kind| **kind != LossKind::CrossEntropy)
        {
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
    assert_eq!(bce, Loss::weighed(SoftLoss::Bce, 0.5, 2.0));
    assert!(loss(Task::Regression, teacher(), Some(LossKind::Kl)).is_err());
}

#[test]
fn settings_that_fit_no_task_are_refused_before_the_teacher_says_which_it_is() {
    let taught = |options: TrainOptions| TrainOptions {
        teacher: Some(vec!["http://127.0.0.1:1".to_owned()]),
        ..options
    };
    let bce = taught(TrainOptions { loss: Some(LossKind::Bce), ..minimal() });
    let config = bce.resolve().unwrap();
    assert!(config.objective(Task::MultiLabel, &[]).is_ok());
    let message = config.objective(Task::Regression, &[]).unwrap_err().to_string();
    assert_eq!(message, "--loss bce is not for a regression task; choose mse or margin-mse");
    let hot =
        TrainOptions { loss: Some(LossKind::CeMse), temperature: Some(2.0.into()), ..minimal() };
    let said = refused(taught(hot));
    assert!(said.starts_with("--temperature belongs to --loss kl, bce, "), "{said}");
    assert!(said.ends_with(" or top-k-kl, not ce-mse"), "{said}");

    let regression = |alpha, teacher: Option<&str>| TrainOptions {
        task: Some(Task::Regression),
        alpha: Some(Alpha::from(alpha)),
        teacher: teacher.map(|url| vec![url.to_owned()]),
        ..minimal()
    };
    assert!(refused(regression(0.5, None)).contains("--alpha weighs the data's numbers"));
    let alone = refused(regression(1.0, Some("http://127.0.0.1:1")));
    assert!(alone.contains("--loss mse with --alpha 1 would not use the teacher"), "{alone}");
}

#[test]
fn texts_without_labels_take_turns_beside_all_others() {
    let options = TrainOptions {
        teacher: Some(vec!["http://127.0.0.1:1".into()]),
        loss: Some(LossKind::Mse),
        augment: Some(20),
        unlabelled: Some(vec!["texts.txt".into()]),
        unlabelled_ratio: Some(0.5),
        batch_size: Some(4),
        ..minimal()
    };
    let config = options.resolve().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    std::fs::write(&file, toml::to_string(&config.resolved).unwrap()).unwrap();
    let again = TrainOptions::default().over_file(Some(&file)).unwrap().resolve().unwrap();
    assert_eq!(format!("{again:?}"), format!("{config:?}"));

    // Indices 0 to 5 are labelled, to 9 made, to 18 without labels, of which each epoch takes half of 6.
    let counts = TransferCounts { labelled: 6, augmented: 4, unlabelled: 9 };
    let lengths: Vec<usize> = (0..19).collect();
    let mut texts = Vec::new();
    for epoch in 1..=3 {
        let batches = config.batches(&lengths, counts, epoch);
        assert_eq!(batches, config.batches(&lengths, counts, epoch));
        assert_eq!(batches.iter().map(Vec::len).sum::<usize>(), 13);
        let mut examples = batches.concat();
        examples.sort_unstable();
        assert_eq!(examples[..10], lengths[..10]);
        texts.extend_from_slice(&examples[10..]);
    }
    texts.sort_unstable();
    assert_eq!(texts, lengths[10..]);

    // Without the ratio, and without such texts, it is the plain order of all.
    let all = TrainConfig { transfer: Transfer::default(), ..config.clone() };
    let plain = epoch_batches(&lengths, 4, 1, 2);
    assert_eq!(all.batches(&lengths, counts, 2), plain);
    let labelled = TransferCounts { labelled: 19, ..TransferCounts::default() };
    assert_eq!(config.batches(&lengths, labelled, 2), plain);
}

fn taught(teachers: usize, options: TrainOptions) -> TrainOptions {
    let url = |k| format!("http://127.0.0.1:{}", k + 1);
    TrainOptions { teacher: Some((0..teachers).map(url).collect()), ..options }
}

#[test]
fn weights_and_temperature_may_be_numbers_or_change_over_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.toml");
    let loss = |toml: &str| {
        std::fs::write(&file, toml).unwrap();
        let options = taught(1, minimal()).over_file(Some(&file))?.resolve()?;
        let objective = options.objective(Task::SingleLabel, &[])?;
        let resolved = toml::to_string(&objective.resolved).unwrap();
        std::fs::write(&file, resolved).unwrap();
        let again = TrainOptions::default().over_file(Some(&file))?.resolve()?;
        assert_eq!(again.objective(Task::SingleLabel, &[])?.loss, objective.loss, "{toml}");
        Ok::<_, Usage>(objective.loss)
    };
    let kl = Loss::weighed(SoftLoss::Kl, 0.25, 3.0);
    assert_eq!(loss("loss = 'kl'\nalpha = 0.25\ntemperature = 3").unwrap(), kl);
    let changing = loss("loss = 'kl'\nalpha = 'linear:1:0'\ntemperature = 'cosine:4:1'").unwrap();
    assert_eq!(changing.balance, Balance::Alpha("linear:1:0".parse().unwrap()));
    assert_eq!(changing.temperature, "cosine:4:1".parse().unwrap());
    let entropy =
        loss("loss = 'jensen-shannon'\nalpha = 'entropy'\nlabel-smoothing = 0.1").unwrap();
    assert_eq!((entropy.balance, entropy.label_smoothing), (Balance::Entropy, 0.1));
    for (toml, said) in [
        ("loss = 'kl'\nalpha = 'linear:0:2'", "--alpha linear:0:2: must lie between 0 and 1"),
        ("loss = 'kl'\ntemperature = 'linear:0:2'", "--temperature linear:0:2: must be positive"),
        ("loss = 'kl'\nalpha = 'warm'", "linear:FROM:TO"),
        ("loss = 'dist'\nalpha = 0.5", "--alpha belongs to --loss kl, "),
        ("loss = 'ce-mse'\nmse-weight = 0", "--mse-weight 0: must be positive"),
        ("loss = 'top-k-kl'\nkl-top-k = 0", "--kl-top-k 0"),
        ("loss = 'kl'\ndkd-beta = 1", "--dkd-beta belongs to --loss dkd, not kl"),
        ("loss = 'dkd'\ndkd-beta = -1", "--dkd-beta -1: must be positive"),
        ("label-smoothing = 1", "--label-smoothing 1: must be at least 0 and below 1"),
        ("loss = 'mse'\nlabel-smoothing = 0.1", "no part for hard labels"),
    ] {
        let message = loss(toml).unwrap_err().to_string();
        assert!(message.contains(said), "{toml}: {message}");
    }
    let bce = TrainOptions {
        task: Some(Task::MultiLabel),
        loss: Some(LossKind::Bce),
        alpha: Some(Alpha::Entropy),
        ..minimal()
    };
    assert!(refused(taught(1, bce)).contains("--alpha entropy belongs to --loss kl, "));
}

#[test]
fn several_teachers_are_a_list_with_a_weight_for_each() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.toml");
    let urls = "teacher = ['http://127.0.0.1:1', 'http://127.0.0.1:2']\nteacher-weights = [3, 1]";
    std::fs::write(&file, urls).unwrap();
    let config = minimal().over_file(Some(&file)).unwrap().resolve().unwrap();
    assert_eq!(config.soft_labels.len(), 2);
    assert_eq!(config.combine, Combine::Mean(vec![0.75, 0.25]));
    std::fs::write(&file, "teacher = 'http://127.0.0.1:1'").unwrap();
    let config = minimal().over_file(Some(&file)).unwrap().resolve().unwrap();
    assert_eq!((config.soft_labels.len(), config.combine), (1, Combine::Mean(vec![1.0])));
    let equal = taught(4, minimal()).resolve().unwrap();
    assert_eq!(equal.combine, Combine::Mean(vec![0.25; 4]));

    let weighted = |teachers, weights: &[f64]| {
        let teacher_weights = Some(weights.to_vec());
        refused(taught(teachers, TrainOptions { teacher_weights, ..minimal() }))
    };
    assert!(weighted(1, &[1.0]).contains("--teacher-weights is for several teachers"));
    assert!(weighted(2, &[1.0]).contains("1 weights for 2 teachers"));
    assert!(weighted(2, &[1.0, 0.0]).contains("0 must be positive"));
    let confident = TrainOptions { combine: Some(CombineKind::Confidence), ..minimal() };
    assert!(refused(confident.clone()).contains("--combine is for several teachers"));
    let config = taught(2, confident.clone()).resolve().unwrap();
    assert!(config.objective(Task::SingleLabel, &[]).is_ok());
    let message = config.objective(Task::MultiLabel, &[]).unwrap_err().to_string();
    assert!(message.contains("this is a multi-label task"), "{message}");
    let both = TrainOptions { teacher_weights: Some(vec![1.0, 2.0]), ..confident };
    assert!(refused(taught(2, both)).contains("belongs to --combine mean"));
}

#[test]
fn texts_are_made_with_a_mask_that_every_teacher_reads() {
    let card = |mask: Option<&str>| -> TeacherCard {
        let limits =
            serde_json::json!({"credits": 1, "max_example_bytes": 1, "max_message_bytes": 1});
        let card = serde_json::json!({
            "fingerprint": "0123456789abcdef".repeat(4), "name": "a", "labels": ["down", "up"],
            "architecture": "bert", "parameters": 1, "max_length": 8, "arithmetic": "float32",
            "limits": limits, "encodings": ["float32"], "mask_token": mask,
        });
        serde_json::from_value(card).unwrap()
    };
    let made = |masks: &[Option<&str>], options: &TrainOptions| {
        let cards: Vec<TeacherCard> = masks.iter().copied().map(card).collect();
        let config = taught(masks.len(), options.clone()).resolve()?;
        let made = config.objective(Task::SingleLabel, &cards)?.augmentation;
        Ok::<_, Usage>(made.map(|made| (made.samples, made.mask_token)))
    };
    let (square, angle) = (Some("[MASK]"), Some("<mask>"));
    let texts = |samples, mask: &str| Some((samples, mask.to_owned()));
    assert_eq!(made(&[angle, angle], &minimal()).unwrap(), texts(2, "<mask>"));
    for masks in [&[None][..], &[square, angle], &[angle, None]] {
        assert_eq!(made(masks, &minimal()).unwrap(), None, "{masks:?}");
    }
    let asked = TrainOptions { augment: Some(3), ..minimal() };
    assert_eq!(made(&[None], &asked).unwrap(), texts(3, "[MASK]"));
    assert_eq!(made(&[None, angle], &asked).unwrap(), texts(3, "<mask>"));
    let message = made(&[square, angle], &asked).unwrap_err().to_string();
    assert!(message.contains(r#"differently, "[MASK]" and "<mask>""#), "{message}");
    assert!(message.contains("--augment-mask-token") && message.contains("--augment-mask 0"));
    let chosen = TrainOptions { augment_mask_token: Some("<mask>".into()), ..asked.clone() };
    assert_eq!(made(&[square, angle], &chosen).unwrap(), texts(3, "<mask>"));
    let none = TrainOptions { augment_mask: Some(0.0), ..asked };
    assert_eq!(made(&[square, angle], &none).unwrap(), texts(3, "[MASK]"));
}
