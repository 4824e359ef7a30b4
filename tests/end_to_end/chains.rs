//! Teachers that are no transformers: a student that teaches another, a TorchScript module, a textGCN.

use std::path::Path;

use lectern::{
    models::{ModelFiles, Student, TorchScriptFiles, classify},
    wire::FailureCode,
};
use student_trainer::config::{LossKind, TrainOptions};
use tch::Device;
use teacher_server::{
    serve::{ModelSource, ServeConfig},
    textgcn::{TextGcnConfig, TrainingConfig, text_gcn},
};

use crate::{
    runs::{alone, options, read_json, rows, run, write},
    support::{Raw, Server, block_on, example, fixture, hello, requests, rows_alone, take, texts},
};

#[test]
fn a_student_of_a_teacher_teaches_a_second_student() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let teacher = Server::start();
    let soft = |server: &Server, run: &str| TrainOptions {
        loss: Some(LossKind::Mse),
        ..options(folder.path(), server, run)
    };
    let assistant = run(soft(&teacher, "assistant"));
    teacher.stop();

    let models = vec![assistant.as_path().into()];
    let server = Server::with(ServeConfig { models, ..Server::config() });
    let card = server.card();
    assert_eq!(card.name, "assistant");
    assert!(card.architecture.starts_with("bilstm, "), "{}", card.architecture);
    let second = run(soft(&server, "second"));
    let told = read_json(&second.join("teacher.json"));
    assert_eq!(told["fingerprint"], card.fingerprint.as_str());

    // What the second learned from is what the first says by itself.
    let texts: Vec<_> = rows(&["film", "cast"]).into_iter().map(|(text, _)| (text, None)).collect();
    let rows_served = take(&mut server.student(vec![requests(&texts)]), 1).concat();
    let assistant = Student::load(&assistant, Device::Cpu).unwrap();
    let own = classify(&assistant, texts.iter().map(|(text, _)| (text.as_str(), None))).unwrap();
    for (found, own) in rows_served.iter().zip(&own) {
        // Another batch composition changes the order of float32 sums.
        assert!(found.iter().zip(&own.logits).all(|(a, b)| (a - b).abs() < 1e-5));
    }
}

fn torchscript() -> ModelFiles {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    ModelFiles::TorchScript(TorchScriptFiles {
        module: fixtures.join("torchscript/bert.pt"),
        tokenizer: fixture(),
        labels: fixtures.join("torchscript/labels.txt"),
        max_length: None,
    })
}

#[test]
fn a_traced_module_stands_beside_a_folder_in_an_ensemble() {
    let source = |files| ModelSource { files, weight: 1.0 };
    let models = vec![source(torchscript()), source(fixture().as_path().into())];
    let server = Server::with(ServeConfig { models, ..Server::config() });
    let card = server.card();
    assert_eq!((card.members, card.arithmetic.as_str()), (2, "float32"));
    let texts = texts(20);
    let rows = take(&mut server.student(vec![requests(&texts)]), 1).concat();
    // The module was traced from the fixture: the mean is what either says.
    for (row, expected) in rows.iter().zip(&rows_alone(&texts)) {
        assert!(row.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5));
    }
}

#[test]
fn a_served_text_gcn_refuses_texts_that_are_not_its_documents_one_by_one() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let train = rows(&["film", "movie", "story", "plot", "cast", "scene"]);
    let output = folder.path().join("graph");
    let config = TextGcnConfig {
        train: write(&folder.path().join("train.jsonl"), &train),
        unlabelled: vec![write(&folder.path().join("more.jsonl"), &rows(&["play"]))],
        dev: None,
        test: None,
        output: output.clone(),
        label_names: None,
        columns: lectern::data::Columns::default(),
        min_count: 1,
        window: 20,
        training: TrainingConfig {
            hidden: 8,
            dropout: 0.5,
            lr: 0.02,
            epochs: 5,
            patience: 10,
            validation: 0.1,
            seed: 1,
        },
        threads: 1,
        device: Device::Cpu,
    };
    text_gcn(&config).unwrap();
    let models = vec![output.as_path().into()];
    let config = ServeConfig { models, max_batch_tokens: None, ..Server::config() };
    let server = Server::with(config);
    assert_eq!(server.card().labels, ["negative", "neutral", "positive"]);
    let answers = block_on(async {
        let (mut raw, _) = Raw::open(server.channel().await, hello()).await.unwrap();
        let asked = ["the film is dull", "the song is dull", "the play is great"];
        raw.ask(asked.iter().zip(0..).map(|(text, id)| example(id, text)).collect()).await;
        raw.collect(3).await
    });
    assert!(answers[&0].is_ok() && answers[&2].is_ok());
    let failure = answers[&1].as_ref().unwrap_err();
    assert_eq!(failure.code, FailureCode::UnknownDocument);
    assert!(failure.message.contains("is transductive") && failure.message.contains("the song"));
    assert_eq!(server.stop().computed, 2);
}
