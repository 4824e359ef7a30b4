//! Models against `transformers` and PyTorch; fixtures by `tests/fixtures/make_bert.py` and
//! `make_student.py`.

mod relative;

use std::{collections::HashMap, fs, path::PathBuf};

use serde::Deserialize;
use tch::{Device, Kind, Reduction, Tensor};

use super::{
    Arithmetic, Builder, Classifier as _, HeadKind, ModelError, Pooling, Teacher, TeacherSettings,
    TokenBatch,
    bilstm::{BiLstm, BiLstmConfig, Head},
    read_weights, write_weights,
};
use crate::{
    data::LabelSet,
    text::Tokens,
    training::{Gradient, Optimizer, OptimizerKind},
};

/// Largest difference that float32 sums in another order are allowed.
const TOLERANCE: f64 = 1e-4;

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

#[derive(Deserialize)]
struct Expected {
    batches: Vec<ExpectedBatch>,
}

#[derive(Deserialize)]
struct ExpectedBatch {
    name: String,
    texts: Vec<String>,
    text_pairs: Option<Vec<String>>,
    max_length: Option<usize>,
    input_ids: Vec<Vec<i64>>,
    token_type_ids: Vec<Vec<i64>>,
    attention_mask: Vec<Vec<i64>>,
    logits: Option<Vec<Vec<f64>>>,
    last_hidden_state: Option<Vec<Vec<Vec<f64>>>>,
    mean_pooled: Option<Vec<Vec<f64>>>,
}

impl ExpectedBatch {
    /// What the tokenizer of `transformers` gave, without its padding.
    fn tokens(&self) -> Vec<Tokens> {
        (self.input_ids.iter().zip(&self.token_type_ids).zip(&self.attention_mask))
            .map(|((ids, types), mask)| {
                let length = mask.iter().sum::<i64>() as usize;
                let (ids, type_ids) = (ids[..length].to_vec(), types[..length].to_vec());
                Tokens { ids, type_ids, truncated: false }
            })
            .collect()
    }

    fn width(&self) -> usize {
        self.input_ids[0].len()
    }
}

fn expected(case: &str) -> Vec<ExpectedBatch> {
    let text =
        fs::read_to_string(fixtures().join("bert").join(case).join("expected.json")).unwrap();
    serde_json::from_str::<Expected>(&text).unwrap().batches
}

fn assert_close(what: &str, found: &Tensor, expected: &[Vec<f64>]) {
    let flat: Vec<f64> = expected.concat();
    let expected = Tensor::from_slice(&flat).view(found.size().as_slice());
    let difference = (found.to_kind(Kind::Double) - expected).abs().max().double_value(&[]);
    assert!(difference < TOLERANCE, "{what}: differs by {difference}");
}

#[test]
fn classifiers_agree_with_transformers() {
    for case in ["with_pooler", "bin_with_vocab_txt"] {
        let teacher = Teacher::load(&fixtures().join("bert").join(case), Device::Cpu).unwrap();
        for batch in expected(case) {
            let tokens = batch.tokens();
            let tokens: Vec<_> = tokens.iter().collect();
            let padded = TokenBatch::padded(&tokens, batch.width()).unwrap();
            let logits = tch::no_grad(|| teacher.logits(&padded).unwrap());
            assert_close(&format!("{case}, {}", batch.name), &logits, &batch.logits.unwrap());
        }
    }
}

#[test]
fn a_bare_encoder_agrees_with_transformers_in_every_hidden_state_and_its_mean() {
    let case = "encoder_no_pooler";
    let settings =
        TeacherSettings { head: HeadKind::Linear { pooling: Pooling::Mean }, max_length: 64 };
    let labels = LabelSet::new(vec!["a".into(), "b".into()]).unwrap();
    let folder = fixtures().join("bert").join(case);
    let teacher = Teacher::from_encoder(&folder, labels, settings, Device::Cpu).unwrap();
    for batch in expected(case) {
        let tokens = batch.tokens();
        let padded = TokenBatch::padded(&tokens.iter().collect::<Vec<_>>(), batch.width()).unwrap();
        let (hidden, pooled) = tch::no_grad(|| teacher.hidden_and_pooled(&padded).unwrap());
        let name = format!("{case}, {}", batch.name);
        assert_close(&name, &pooled, batch.mean_pooled.as_ref().unwrap());
        for (i, expected) in batch.last_hidden_state.unwrap().iter().enumerate() {
            // States of padding have no meaning and are not compared.
            let length = tokens[i].len();
            let found = hidden.get(i as i64).narrow(0, 0, length as i64);
            assert_close(&name, &found, &expected[..length]);
        }
    }
}

#[test]
fn tokenizers_give_the_ids_of_transformers() {
    for case in ["with_pooler", "encoder_no_pooler", "bin_with_vocab_txt"] {
        for batch in expected(case) {
            let folder = fixtures().join("bert").join(case);
            let max_length = batch.max_length.unwrap_or(64);
            let tokenizer = crate::text::Tokenizer::from_folder(&folder, max_length).unwrap();
            for (i, wanted) in batch.tokens().iter().enumerate() {
                let pair = batch.text_pairs.as_ref().map(|pairs| pairs[i].as_str());
                let found = tokenizer.encode(&batch.texts[i], pair).unwrap();
                assert_eq!(
                    (&found.ids, &found.type_ids),
                    (&wanted.ids, &wanted.type_ids),
                    "{case}"
                );
            }
        }
    }
}

#[test]
fn a_saved_teacher_answers_as_before_under_the_same_fingerprint() {
    let teacher = Teacher::load(&fixtures().join("bert/bin_with_vocab_txt"), Device::Cpu).unwrap();
    let folder = tempfile::tempdir().unwrap();
    teacher.save(folder.path()).unwrap();
    let again = Teacher::load(folder.path(), Device::Cpu).unwrap();
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
        [&source, folder.path()].map(|folder| Teacher::load(folder, Device::Cpu).unwrap());
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
        tensors.insert(name.to_owned(), Tensor::zeros([3], (Kind::Float, Device::Cpu)));
    }
    let write = |tensors: &HashMap<String, Tensor>| {
        let path = folder.path().join("model.safetensors");
        write_weights(&path, tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))).unwrap();
        Teacher::load(folder.path(), Device::Cpu)
    };
    let teacher = write(&tensors).unwrap();
    let original = Teacher::load(&source, Device::Cpu).unwrap();
    assert_eq!(teacher.fingerprint().unwrap(), original.fingerprint().unwrap());

    let extra = Tensor::zeros([3, 5], (Kind::Float, Device::Cpu));
    tensors.insert("bert.embeddings.relative.weight".to_owned(), extra);
    let error = write(&tensors).unwrap_err().to_string();
    let said = "bert.embeddings.relative.weight: unexpected, found shape [3, 5]";
    assert!(error.contains("model.safetensors: 1 tensor") && error.contains(said), "{error}");
}

#[test]
fn any_change_that_can_change_an_answer_changes_the_fingerprint() {
    let source = fixtures().join("bert/with_pooler");
    let original = Teacher::load(&source, Device::Cpu).unwrap().fingerprint().unwrap();
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
        Teacher::load(folder.path(), Device::Cpu).unwrap().fingerprint().unwrap()
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
        Teacher::load(folder.path(), Device::Cpu).unwrap_err()
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
    let message = Teacher::load(folder.path(), Device::Cpu).unwrap_err().to_string();
    assert!(message.contains("model.safetensors: not a whole weights file"), "{message}");
    fs::remove_file(&weights).unwrap();
    let message = Teacher::load(folder.path(), Device::Cpu).unwrap_err().to_string();
    assert!(message.contains("neither model.safetensors nor pytorch_model.bin"), "{message}");
}

#[derive(Deserialize)]
struct ExpectedStudent {
    token_ids: Vec<Vec<i64>>,
    labels: Vec<i64>,
    logits: Vec<Vec<f64>>,
    gradients: std::collections::BTreeMap<String, serde_json::Value>,
}

fn flat(value: &serde_json::Value) -> Vec<f64> {
    match value.as_array() {
        Some(values) => values.iter().flat_map(flat).collect(),
        None => vec![value.as_f64().unwrap()],
    }
}

#[test]
fn the_bilstm_and_its_gradients_agree_with_packed_sequences_in_pytorch() {
    let text = fs::read_to_string(fixtures().join("student.json")).unwrap();
    let expected: ExpectedStudent = serde_json::from_str(&text).unwrap();
    let path = fixtures().join("student.safetensors");
    let builder = Builder::from_weights(read_weights(&path).unwrap(), &path, Device::Cpu);
    let config =
        BiLstmConfig { vocabulary: 50, embedding: 8, hidden: 6, inner: 5, head: Head::MaxOverTime };
    let model = BiLstm::new(&builder, config, 3, false).unwrap();
    let parameters = builder.finish().unwrap();
    parameters.set_trainable(|_| true).unwrap();

    let tokens: Vec<_> = (expected.token_ids.iter())
        .map(|ids| Tokens { ids: ids.clone(), type_ids: vec![0; ids.len()], truncated: false })
        .collect();
    let batch = TokenBatch::padded(&tokens.iter().collect::<Vec<_>>(), 9).unwrap();
    let logits = model.logits(&batch, true).unwrap();
    assert_close("logits", &logits, &expected.logits);

    let labels = Tensor::from_slice(&expected.labels);
    let loss = logits.cross_entropy_loss::<Tensor>(&labels, None, Reduction::Mean, -100, 0.0);
    let optimizer = Optimizer::new(OptimizerKind::Adam, parameters.iter());
    let gradients = optimizer.gradients(&loss).unwrap();
    assert_eq!(gradients.len(), expected.gradients.len());
    for ((name, _), gradient) in parameters.iter().zip(gradients) {
        let dense = match gradient {
            Gradient::Dense(dense) => dense,
            // Rows that no example holds, padding's among them, have no gradient.
            Gradient::Rows { rows, values } => {
                Tensor::zeros([50, 8], (Kind::Float, Device::Cpu)).index_copy(0, &rows, &values)
            }
            Gradient::Absent => panic!("{name} has no gradient"),
        };
        assert_close(name, &dense, &[flat(&expected.gradients[name])]);
    }
}

#[test]
fn padding_never_changes_a_students_answer() {
    for head in [Head::MaxOverTime, Head::LastStates] {
        let builder = Builder::fresh(Device::Cpu);
        let config = BiLstmConfig { vocabulary: 20, embedding: 8, hidden: 6, inner: 5, head };
        let model = BiLstm::new(&builder, config, 3, true).unwrap();
        let tokens = |ids: &[i64]| Tokens {
            ids: ids.to_vec(),
            type_ids: vec![0; ids.len()],
            truncated: false,
        };
        let (short, long) = (tokens(&[3, 4]), tokens(&[5, 6, 7, 8, 9]));
        let together = TokenBatch::new(&[&short, &long], Device::Cpu).unwrap();
        let together = model.logits(&together, false).unwrap();
        for (row, alone) in [(0, &short), (1, &long)] {
            let batch = TokenBatch::new(&[alone], Device::Cpu).unwrap();
            let alone = model.logits(&batch, false).unwrap();
            let difference = (alone.get(0) - together.get(row)).abs().max().double_value(&[]);
            assert!(difference < 1e-6, "{head:?}: {difference}");
        }
    }
}

const ARITHMETICS: [Arithmetic; 3] = [Arithmetic::Float32, Arithmetic::BFloat16, Arithmetic::Int8];

/// Every batch of the classifier fixtures: tokens, the width `transformers` padded them to, logits.
fn served_cases() -> Vec<(PathBuf, Vec<ExpectedBatch>)> {
    ["with_pooler", "bin_with_vocab_txt"]
        .map(|case| (fixtures().join("bert").join(case), expected(case)))
        .into()
}

#[test]
fn a_served_teacher_agrees_with_transformers_within_its_arithmetics_bound() {
    for (folder, batches) in served_cases() {
        for arithmetic in ARITHMETICS {
            // The fixtures' logits have standard deviations of 0.5 and 1. bfloat16 keeps 8 binary
            // digits of a number, int8 7 of the largest of its row, of a weight 6 where the processor adds
            // products in 16 bits, and sums average most of it out.
            let bound = match arithmetic {
                Arithmetic::Float32 => TOLERANCE,
                Arithmetic::Int8 => 0.1,
                _ => 0.05,
            };
            let teacher = Teacher::load_for_serving(&folder, Device::Cpu, arithmetic).unwrap();
            for batch in &batches {
                let tokens = batch.tokens();
                let tokens: Vec<_> = tokens.iter().collect();
                let padded = TokenBatch::padded(&tokens, batch.width()).unwrap();
                let rows = teacher.predict_batch(&padded).unwrap();
                for (row, expected) in rows.iter().zip(batch.logits.as_ref().unwrap()) {
                    for (found, expected) in row.iter().zip(expected) {
                        let difference = (f64::from(*found) - expected).abs();
                        let name = &batch.name;
                        assert!(difference < bound, "{arithmetic}, {name}: off by {difference}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_row_computed_alone_has_the_same_bits_every_time() {
    let (folder, batches) = served_cases().remove(0);
    for arithmetic in ARITHMETICS {
        let teacher = Teacher::load_for_serving(&folder, Device::Cpu, arithmetic).unwrap();
        for tokens in batches[0].tokens().into_iter().take(2) {
            let first = teacher.predict(&[&tokens]).unwrap();
            for _ in 0..3 {
                // Other work in between must leave nothing behind.
                teacher.predict(&[&tokens, &tokens]).unwrap();
                assert_eq!(teacher.predict(&[&tokens]).unwrap(), first, "{arithmetic}");
            }
        }
    }
}

#[test]
fn arithmetic_is_part_of_the_fingerprint_and_float32_is_the_trained_teachers_own() {
    let (folder, _) = served_cases().remove(0);
    let trained = Teacher::load(&folder, Device::Cpu).unwrap().fingerprint().unwrap();
    let served = |arithmetic| {
        let teacher = Teacher::load_for_serving(&folder, Device::Cpu, arithmetic).unwrap();
        assert_eq!(teacher.arithmetic(), arithmetic.on(Device::Cpu));
        teacher.fingerprint().unwrap()
    };
    assert_eq!(served(Arithmetic::Auto), trained);
    assert_eq!(served(Arithmetic::Float32), trained);
    let (bfloat16, int8) = (served(Arithmetic::BFloat16), served(Arithmetic::Int8));
    assert!(bfloat16 != trained && int8 != trained && bfloat16 != int8);
}

#[test]
fn a_served_teacher_counts_its_parameters_but_cannot_be_saved() {
    let (folder, _) = served_cases().remove(0);
    let trained = Teacher::load(&folder, Device::Cpu).unwrap();
    let served = Teacher::load_for_serving(&folder, Device::Cpu, Arithmetic::Int8).unwrap();
    assert_eq!(served.parameters().count(), trained.parameters().count());
    let target = tempfile::tempdir().unwrap();
    let error = served.save(&target.path().join("copy")).unwrap_err();
    assert!(matches!(error, ModelError::Released), "{error}");
    assert!(!target.path().join("copy").exists());
}

#[test]
fn operations_are_two_for_each_weight_and_token_and_attentions_products() {
    let teacher = Teacher::load(&fixtures().join("bert/with_pooler"), Device::Cpu).unwrap();
    let tokens = |n| Tokens { ids: vec![1; n], type_ids: vec![0; n], truncated: false };
    let batch = TokenBatch::new(&[&tokens(3), &tokens(5)], Device::Cpu).unwrap();
    // 2 layers of 32 units with 64 inside, 10 rows with padding, 2 examples of width 5.
    let weights = 4.0 * 32.0 * 32.0 + 2.0 * 32.0 * 64.0;
    let by_hand = 2.0 * (2.0 * 10.0 * weights + 4.0 * 2.0 * 25.0 * 32.0);
    assert!((teacher.flops(&batch) - by_hand).abs() < 1e-6);
}

#[test]
fn a_batch_can_be_prepared_on_another_thread() {
    fn assert_send<T: Send>() {}
    assert_send::<TokenBatch>();
}
