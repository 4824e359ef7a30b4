//! Teachers' folders: what is written reads back, what is changed is noticed, what is broken is named.

use std::{collections::HashMap, fs};

use tch::{Kind, Tensor};

use super::{
    super::{Classifier as _, ModelError, Teacher, read_weights, write_weights},
    fixtures,
};
use crate::testing::device;

#[test]
fn a_saved_teacher_answers_as_before_under_the_same_fingerprint() {
    let teacher = Teacher::load(&fixtures().join("bert/bin_with_vocab_txt"), device()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    teacher.save(folder.path()).unwrap();
    let again = Teacher::load(folder.path(), device()).unwrap();
    assert_eq!(teacher.fingerprint().unwrap(), again.fingerprint().unwrap());
    let tokens = teacher.tokenizer().encode("a film", None).unwrap();
    assert_eq!(teacher.predict(&[&tokens]).unwrap(), again.predict(&[&tokens]).unwrap());
}

#[test]
fn a_tokenizer_without_a_padding_token_answers_as_any_other() {
    let source = fixtures().join("bert/bin_with_vocab_txt");
    let folder = tempfile::tempdir().unwrap();
    for name in ["config.json", "pytorch_model.bin", "tokenizer_config.json"] {
        fs::copy(source.join(name), folder.path().join(name)).unwrap();
    }
    let vocabulary = fs::read_to_string(source.join("vocab.txt")).unwrap();
    fs::write(folder.path().join("vocab.txt"), vocabulary.replace("[PAD]", "[unused0]")).unwrap();
    let [with, without] =
        [&source, folder.path()].map(|folder| Teacher::load(folder, device()).unwrap());
    let rows = |teacher: &Teacher| {
        let [long, short] = ["a long and good film", "dull"]
            .map(|text| teacher.tokenizer().encode(text, None).unwrap());
        teacher.predict(&[&long, &short]).unwrap()
    };
    assert_eq!(rows(&with), rows(&without));
}

#[test]
fn leftovers_of_other_heads_and_of_older_versions_are_no_misfits() {
    let source = fixtures().join("bert/with_pooler");
    let folder = tempfile::tempdir().unwrap();
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
        fs::copy(source.join(name), folder.path().join(name)).unwrap();
    }
    let mut tensors = read_weights(&source.join("model.safetensors")).unwrap();
    for name in
        ["bert.embeddings.position_ids", "cls.predictions.bias", "cls.seq_relationship.weight"]
    {
        tensors.insert(name.to_owned(), Tensor::zeros([3], (Kind::Float, device())));
    }
    let write = |tensors: &HashMap<String, Tensor>| {
        let path = folder.path().join("model.safetensors");
        write_weights(&path, tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))).unwrap();
        Teacher::load(folder.path(), device())
    };
    let teacher = write(&tensors).unwrap();
    let original = Teacher::load(&source, device()).unwrap();
    assert_eq!(teacher.fingerprint().unwrap(), original.fingerprint().unwrap());

    let extra = Tensor::zeros([3, 5], (Kind::Float, device()));
    tensors.insert("bert.embeddings.relative.weight".to_owned(), extra);
    let error = write(&tensors).unwrap_err().to_string();
    let said = "bert.embeddings.relative.weight: unexpected, found shape [3, 5]";
    assert!(error.contains("model.safetensors: 1 tensor") && error.contains(said), "{error}");
}

#[test]
fn any_change_that_can_change_an_answer_changes_the_fingerprint() {
    let source = fixtures().join("bert/with_pooler");
    let original = Teacher::load(&source, device()).unwrap().fingerprint().unwrap();
    let changed = |edit: &dyn Fn(&mut serde_json::Value)| {
        let folder = tempfile::tempdir().unwrap();
        for file in fs::read_dir(&source).unwrap() {
            let file = file.unwrap().path();
            fs::copy(&file, folder.path().join(file.file_name().unwrap())).unwrap();
        }
        let path = folder.path().join("config.json");
        let mut config = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        edit(&mut config);
        fs::write(&path, config.to_string()).unwrap();
        Teacher::load(folder.path(), device()).unwrap().fingerprint().unwrap()
    };
    assert_eq!(changed(&|_| ()), original);
    assert_ne!(changed(&|c| c["num_attention_heads"] = 4.into()), original);
    assert_ne!(changed(&|c| c["hidden_act"] = "relu".into()), original);
    assert_ne!(changed(&|c| c["id2label"]["0"] = "renamed".into()), original);
    let shorter = serde_json::json!({"head": "family", "max_length": 20});
    assert_ne!(changed(&|c| c["lectern"] = shorter.clone()), original);
}

#[test]
fn a_broken_folder_names_the_file_and_every_tensor_that_does_not_fit() {
    let source = fixtures().join("bert/with_pooler");
    let folder = tempfile::tempdir().unwrap();
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"] {
        fs::copy(source.join(name), folder.path().join(name)).unwrap();
    }
    let path = folder.path().join("config.json");
    let config = fs::read_to_string(&path).unwrap();
    let refused = |edited: &str| {
        fs::write(&path, edited).unwrap();
        Teacher::load(folder.path(), device()).unwrap_err()
    };
    let wider = config.replace("\"intermediate_size\": 64", "\"intermediate_size\": 65");
    let ModelError::Tensors { problems, .. } = refused(&wider) else { panic!("not misfits") };
    // Two matrices and a bias in each of the two layers.
    assert_eq!(problems.len(), 6);
    assert!(problems.contains(
        &"bert.encoder.layer.0.intermediate.dense.weight: expected shape [65, 32], found [64, 32]"
            .to_owned()
    ));
    // The second layer's 8 tensors of attention, 4 of the feed-forward network and 4 of norms are too many.
    let shallower = wider.replace("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1");
    let ModelError::Tensors { problems, .. } = refused(&shallower) else { panic!("not misfits") };
    assert_eq!(problems.len(), 3 + 16);
    assert!(problems.contains(
        &"bert.encoder.layer.1.attention.self.key.bias: unexpected, found shape [32]".to_owned()
    ));
    let deeper = config.replace("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3");
    assert!(refused(&deeper).to_string().contains("bert.encoder.layer.2"));
    let foreign = config.replace("\"model_type\": \"bert\"", "\"model_type\": \"t5\"");
    assert!(refused(&foreign).to_string().contains("model_type \"t5\""));

    fs::write(&path, &config).unwrap();
    let weights = folder.path().join("model.safetensors");
    let bytes = fs::read(&weights).unwrap();
    fs::write(&weights, &bytes[..bytes.len() / 2]).unwrap();
    let message = Teacher::load(folder.path(), device()).unwrap_err().to_string();
    assert!(message.contains("model.safetensors: not a whole weights file"), "{message}");
    fs::remove_file(&weights).unwrap();
    let message = Teacher::load(folder.path(), device()).unwrap_err().to_string();
    assert!(message.contains("neither model.safetensors nor pytorch_model.bin"), "{message}");
}
