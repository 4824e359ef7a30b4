//! Multi-label and regression all the way: fine-tune a teacher, serve it, distil a student, judge both.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Parser as _;
use lectern::{
    data::{LabelUse, Target, Task, read_records},
    models::{BEST_WEIGHTS, Classifier, LAST_WEIGHTS, Student, Teacher, classify},
    wire::{
        Encoding,
        proto::{self, Hello},
    },
};
use serde_json::{Value, json};
use student_trainer::{
    config::{LossKind, TrainOptions},
    train::train,
};
use tch::Device;
use teacher_server::serve::{Listening, ServeConfig, ServeError};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::{
    runs::{alone, options, read_json, run},
    support::{Raw, Server, block_on, fixture, hello},
};

/// What a text says of its subject, the labels that go with it, and how good it is.
const SAID: [(&str, &[&str], f64); 6] = [
    ("here", &[], 0.0),
    ("dull", &["blame"], -1.0),
    ("new", &["novel"], 0.25),
    ("great", &["praise"], 1.0),
    ("new but dull", &["blame", "novel"], -0.5),
    ("great and new", &["novel", "praise"], 1.5),
];

/// Files of one task, and a teacher that was fine-tuned on them.
struct Taught {
    folder: TempDir,
    task: Task,
}

impl Taught {
    /// The teacher's files are CSV, the student's JSON Lines.
    fn new(task: Task) -> Self {
        let taught = Self { folder: tempfile::tempdir().unwrap(), task };
        fs::create_dir(taught.path("")).unwrap();
        for (file, subjects) in [
            ("train", "film movie story plot cast scene actor play"),
            ("dev", "film plot"),
            ("test", "cast story play"),
        ] {
            let (mut csv, mut lines) = ("text,label\n".to_owned(), String::new());
            for subject in subjects.split(' ') {
                for (said, labels, value) in SAID {
                    let text = format!("the {subject} is {said}");
                    let (cell, label) = match task {
                        Task::MultiLabel => (labels.join("|"), json!(labels)),
                        _ => (value.to_string(), json!(value)),
                    };
                    csv.extend([text.as_str(), ",", &cell, "\n"]);
                    lines.extend([
                        json!({"text": text, "label": label}).to_string(),
                        "\n".to_owned(),
                    ]);
                }
            }
            fs::write(taught.path(&format!("{file}.csv")), csv).unwrap();
            fs::write(taught.path(&format!("{file}.jsonl")), lines).unwrap();
        }
        let encoder = fixture().with_file_name("encoder_no_pooler");
        let path = |name: &str| taught.path(name).display().to_string();
        teacher_server(&[
            "finetune",
            "--task",
            task.name(),
            "--encoder",
            &encoder.display().to_string(),
            "--train",
            &path("train.csv"),
            "--dev",
            &path("dev.csv"),
            "--test",
            &path("test.csv"),
            "--output",
            &path("teacher"),
            "--epochs",
            "12",
            "--patience",
            "12",
            "--batch-size",
            "8",
            "--lr",
            "0.003",
            "--max-length",
            "32",
            "--threads",
            "1",
        ]);
        taught
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("taught").join(name)
    }

    fn serve(&self) -> Server {
        let model = self.path("teacher");
        Server::with(ServeConfig { models: vec![model.as_path().into()], ..Server::config() })
    }

    /// A student that is told neither its task nor its loss.
    fn student(&self, server: &Server, run: &str) -> TrainOptions {
        TrainOptions {
            train: Some(self.path("train.jsonl")),
            dev: Some(self.path("dev.jsonl")),
            test: Some(self.path("test.jsonl")),
            epochs: Some(25),
            ..options(self.folder.path(), server, run)
        }
    }

    /// The targets of the test file and what `model` answers to it.
    fn answers(&self, model: &dyn Classifier) -> Vec<(Target, Target, Vec<f32>)> {
        let labels = LabelUse::Required(self.task);
        let records =
            read_records(&self.path("test.jsonl"), &lectern::data::Columns::default(), labels);
        let examples = records.unwrap().resolve(model.labels()).unwrap();
        let texts = examples.iter().map(|example| (example.text.as_str(), None));
        let predictions = classify(model, texts).unwrap().into_iter();
        let answer =
            |(example, prediction): (&lectern::data::Example, lectern::models::Prediction)| {
                (example.target.clone().unwrap(), prediction.target(self.task), prediction.logits)
            };
        examples.iter().zip(predictions).map(answer).collect()
    }
}

fn teacher_server(args: &[&str]) {
    let program = std::iter::once("teacher-server").chain(args.iter().copied());
    teacher_server::cli::Cli::try_parse_from(program).unwrap().execute().unwrap();
}

/// The numbers that a student's `evaluate` writes.
fn evaluated(run: &Path, data: &Path) -> Value {
    let (run, data) = (run.display().to_string(), data.display().to_string());
    let numbers = format!("{run}.numbers.json");
    let program = [
        "student-trainer",
        "evaluate",
        "--run",
        &run,
        "--data",
        &data,
        "--json",
        &numbers,
        "--threads",
        "1",
    ];
    student_trainer::cli::Cli::try_parse_from(program).unwrap().execute().unwrap();
    read_json(Path::new(&numbers))
}

fn read(run: &Path, name: &str) -> String {
    fs::read_to_string(run.join(name)).unwrap()
}

#[test]
fn any_number_of_labels_is_taught_served_distilled_and_judged() {
    let _alone = alone();
    let taught = Taught::new(Task::MultiLabel);
    let config = read_json(&taught.path("teacher/config.json"));
    assert_eq!(config["problem_type"], "multi_label_classification");
    assert_eq!(config["id2label"], json!({"0": "blame", "1": "novel", "2": "praise"}));
    let teacher = Teacher::load(&taught.path("teacher"), Device::Cpu).unwrap();
    let taught_answers = taught.answers(&teacher);
    assert!(taught_answers.iter().all(|(truth, answer, _)| truth == answer), "{taught_answers:?}");

    let server = taught.serve();
    let card = server.card();
    assert_eq!((card.task, card.labels.len()), (Task::MultiLabel, 3));
    assert_eq!(card.encodings, [Encoding::Float32, Encoding::Float16]);
    let top_k = proto::Encoding::TopK.into();
    let refused = block_on(async {
        let asks = Hello { encoding: top_k, top_k: 1, ..hello() };
        Raw::open(server.channel().await, asks).await.unwrap_err()
    });
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");

    let both = run(taught.student(&server, "both"));
    assert!(read(&both, "config.toml").contains("task = \"multi-label\"\n"));
    let report = read(&both, "test_report.txt");
    assert!(
        report.contains("samples avg") && report.contains("exactly the true labels: 1.0000"),
        "{report}"
    );
    let student = Student::load(&both, Device::Cpu).unwrap();
    assert_eq!(student.labels(), teacher.labels());
    assert!(taught.answers(&student).iter().all(|(truth, answer, _)| truth == answer));
    let summary = read_json(&both.join("summary.json"));
    assert_eq!(
        (&summary["task"], &summary["test"]["micro_f1"]),
        (&json!("multi-label"), &json!(1.0))
    );
    assert_eq!(evaluated(&both, &taught.path("test.csv"))["micro_f1"], 1.0);

    // Of the teacher's probabilities alone.
    let soft = run(TrainOptions {
        loss: Some(LossKind::Bce),
        alpha: Some(0.0.into()),
        temperature: Some(2.0.into()),
        ..taught.student(&server, "soft")
    });
    fs::copy(soft.join(LAST_WEIGHTS), soft.join(BEST_WEIGHTS)).unwrap();
    let student = Student::load(&soft, Device::Cpu).unwrap();
    for ((_, answer, found), (_, _, wanted)) in taught.answers(&student).iter().zip(&taught_answers)
    {
        let probability = |logit: &f32| 1.0 / (1.0 + (-logit / 2.0).exp());
        for (found, wanted) in found.iter().zip(wanted) {
            // A tenth: nearer than any label that applies is to one that does not.
            assert!((probability(found) - probability(wanted)).abs() < 0.1, "{answer:?}");
        }
    }
}

#[test]
fn a_number_is_taught_served_distilled_and_judged() {
    let _alone = alone();
    let taught = Taught::new(Task::Regression);
    let config = read_json(&taught.path("teacher/config.json"));
    assert_eq!(
        (&config["problem_type"], &config["id2label"]),
        (&json!("regression"), &json!({"0": "label"}))
    );
    let report = read(&taught.path("teacher"), "test_report.txt");
    assert!(report.contains("pearson") && report.contains("spearman"), "{report}");
    let teacher = Teacher::load(&taught.path("teacher"), Device::Cpu).unwrap();
    let taught_answers = taught.answers(&teacher);

    let server = taught.serve();
    assert_eq!((server.card().task, server.card().labels.len()), (Task::Regression, 1));
    let both = run(taught.student(&server, "both"));
    let resolved = read(&both, "config.toml");
    for said in ["task = \"regression\"\n", "loss = \"mse\"\n", "alpha = 0.5\n"] {
        assert!(resolved.contains(said), "{said}: {resolved}");
    }
    let summary = read_json(&both.join("summary.json"));
    let pearson = summary["test"]["pearson"].as_f64().unwrap();
    assert!(pearson > 0.95, "{summary}");
    let numbers = evaluated(&both, &taught.path("test.csv"));
    assert!((numbers["pearson"].as_f64().unwrap() - pearson).abs() < 1e-9, "{numbers}");

    // Of the teacher's numbers alone.
    let soft = run(TrainOptions { alpha: Some(0.0.into()), ..taught.student(&server, "soft") });
    fs::copy(soft.join(LAST_WEIGHTS), soft.join(BEST_WEIGHTS)).unwrap();
    let student = Student::load(&soft, Device::Cpu).unwrap();
    for ((truth, _, found), (_, _, wanted)) in taught.answers(&student).iter().zip(&taught_answers)
    {
        // Half of what lies between any two of the data's numbers.
        assert!((found[0] - wanted[0]).abs() < 0.125, "{truth:?}: {found:?} from {wanted:?}");
    }
}

#[test]
fn tasks_that_differ_are_refused_on_both_sides() {
    let _alone = alone();
    let taught = Taught::new(Task::Regression);
    let server = taught.serve();
    let refused = |options: TrainOptions| {
        let config = options.resolve().unwrap();
        let error = train(&config, Device::Cpu).unwrap_err();
        assert!(!config.output.exists());
        format!("{error:#}")
    };
    let labels = refused(options(taught.folder.path(), &server, "labels"));
    assert!(labels.contains("train.jsonl:1: column \"label\" must be a finite number"), "{labels}");
    let asked = TrainOptions {
        task: Some(Task::SingleLabel),
        ..options(taught.folder.path(), &server, "asked")
    };
    assert!(
        refused(asked)
            .contains("--task single-label: teacher teacher was trained for a regression task")
    );
    let kl =
        TrainOptions { loss: Some(LossKind::Kl), ..options(taught.folder.path(), &server, "kl") };
    assert!(refused(kl).contains("--loss kl is not for a regression task; choose mse"));

    let models = vec![fixture().as_path().into(), taught.path("teacher").as_path().into()];
    let config = ServeConfig { models, ..Server::config() };
    let refused = block_on(async {
        Listening::bind(config).await.unwrap().serve(CancellationToken::new()).await
    });
    let Err(ServeError::Tasks { found, wanted, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!((found, wanted), (Task::Regression, Task::SingleLabel));
}
