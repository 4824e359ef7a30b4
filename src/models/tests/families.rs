//! BERT's relatives against `transformers`; fixtures by `tests/fixtures/make_families.py`.

use std::{collections::BTreeMap, fs, path::PathBuf};

use serde::Deserialize;
use serde_json::{Value, json};
use tch::{Kind, Reduction, Tensor};

use super::{
    super::{
        Classifier as _, HeadKind, Pooling, Teacher, TeacherSettings, TokenBatch, read_weights,
        write_weights,
    },
    ExpectedBatch, arithmetics, assert_close, assert_rows, fixtures, served_bound,
};
use crate::{
    data::LabelSet,
    testing::{device, tensor_of},
    text::Tokens,
    training::{Optimizer, OptimizerKind},
};

const FAMILIES: [&str; 6] = ["albert", "distilbert", "electra", "mpnet", "roberta", "xlm_roberta"];

#[derive(Deserialize)]
struct Expected {
    batches: Vec<ExpectedBatch>,
    gradients: BTreeMap<String, Option<f64>>,
    checkpoints: BTreeMap<String, BTreeMap<String, Vec<i64>>>,
}

fn folder(family: &str) -> PathBuf {
    fixtures().join("families").join(family)
}

fn expected(family: &str) -> Expected {
    serde_json::from_str(&fs::read_to_string(folder(family).join("expected.json")).unwrap())
        .unwrap()
}

fn load(family: &str) -> Teacher {
    Teacher::load(&folder(family), device()).unwrap()
}

/// A copy of a family's folder without its weights, and with an edited configuration.
fn copy(family: &str, edit: impl Fn(&mut Value)) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    let source = folder(family);
    fs::copy(source.join("tokenizer.json"), copy.path().join("tokenizer.json")).unwrap();
    let config = fs::read_to_string(source.join("config.json")).unwrap();
    let mut config = serde_json::from_str(&config).unwrap();
    edit(&mut config);
    fs::write(copy.path().join("config.json"), config.to_string()).unwrap();
    copy
}

#[test]
fn every_family_agrees_with_transformers() {
    for family in FAMILIES {
        let teacher = load(family);
        for batch in expected(family).batches {
            let name = format!("{family}, {}", batch.name);
            let padded = batch.padded();
            let logits = tch::no_grad(|| teacher.logits(&padded).unwrap());
            assert_close(&name, &logits, batch.logits.as_ref().unwrap());
            if batch.last_hidden_state.is_some() {
                let (hidden, _) = tch::no_grad(|| teacher.hidden_and_pooled(&padded).unwrap());
                batch.assert_hidden(&name, &hidden);
            }
        }
    }
}

#[test]
fn every_family_is_served_within_its_arithmetics_bound() {
    for family in FAMILIES {
        for arithmetic in arithmetics() {
            let teacher = Teacher::load_for_serving(&folder(family), device(), arithmetic).unwrap();
            for batch in expected(family).batches {
                let rows = teacher.predict_batch(&batch.padded()).unwrap();
                let what = format!("{family}, {arithmetic}");
                assert_rows(&what, &rows, &batch, served_bound(arithmetic));
            }
        }
    }
}

#[test]
fn an_encoder_is_found_in_every_checkpoint_of_its_family() {
    let settings =
        TeacherSettings { head: HeadKind::Linear { pooling: Pooling::Mean }, max_length: 40 };
    for family in FAMILIES {
        let Expected { batches, checkpoints, .. } = expected(family);
        let weights = read_weights(&folder(family).join("model.safetensors")).unwrap();
        for (class, names) in checkpoints {
            // The encoder's tensors under the names of that checkpoint; what only it has, such as its own head, is zero.
            let tensors: Vec<_> = (names.iter())
                .map(|(name, shape)| {
                    let known = weights
                        .iter()
                        .find(|(ours, _)| *ours == name || ours.ends_with(&format!(".{name}")));
                    let zeros = || Tensor::zeros(shape.as_slice(), (Kind::Float, device()));
                    (name.as_str(), known.map_or_else(zeros, |(_, tensor)| tensor.shallow_clone()))
                })
                .collect();
            let checkpoint = copy(family, |_| ());
            let path = checkpoint.path().join("model.safetensors");
            write_weights(&path, tensors.iter().map(|(name, tensor)| (*name, tensor))).unwrap();
            let labels = LabelSet::new(vec!["a".into(), "b".into()]).unwrap();
            let teacher =
                Teacher::from_encoder(checkpoint.path(), labels, settings, device()).unwrap();
            for batch in batches.iter().filter(|batch| batch.last_hidden_state.is_some()) {
                let (hidden, _) =
                    tch::no_grad(|| teacher.hidden_and_pooled(&batch.padded()).unwrap());
                batch.assert_hidden(&class, &hidden);
            }
        }
    }
}

#[test]
fn a_saved_family_has_the_names_of_transformers_and_the_same_fingerprint() {
    for family in FAMILIES {
        let teacher = load(family);
        let saved = tempfile::tempdir().unwrap();
        teacher.save(saved.path()).unwrap();
        let again = Teacher::load(saved.path(), device()).unwrap();
        assert_eq!(teacher.fingerprint().unwrap(), again.fingerprint().unwrap(), "{family}");
        let names = |folder: PathBuf| {
            let weights = read_weights(&folder.join("model.safetensors")).unwrap();
            let mut names: Vec<_> = weights.into_keys().collect();
            names.sort_unstable();
            names
        };
        assert_eq!(names(saved.path().to_owned()), names(folder(family)), "{family}");
        let class = |folder: PathBuf| -> Value {
            let config = fs::read_to_string(folder.join("config.json")).unwrap();
            serde_json::from_str::<Value>(&config).unwrap()["architectures"].clone()
        };
        assert_eq!(class(saved.path().to_owned()), class(folder(family)), "{family}");
    }
}

#[test]
fn gradients_agree_with_pytorch_and_reach_every_parameter() {
    for family in FAMILIES {
        let teacher = load(family);
        let Expected { batches, gradients: expected, .. } = expected(family);
        let parameters = teacher.parameters();
        parameters.set_trainable(|_| true).unwrap();
        let logits = teacher.forward(&batches[0].padded(), 0.0).unwrap();
        let labels: Vec<_> = (0..logits.size()[0]).map(|i| i % 3).collect();
        let labels = tensor_of(&labels);
        let loss = logits.cross_entropy_loss::<Tensor>(&labels, None, Reduction::Mean, -100, 0.0);
        let kind = OptimizerKind::Sgd { momentum: 0.0 };
        let optimizer = Optimizer::new(kind, parameters.iter());
        let gradients = optimizer.gradients(&loss).unwrap();
        assert_eq!(gradients.len(), expected.len(), "{family}");
        for ((name, _), gradient) in parameters.iter().zip(gradients) {
            let norm = gradient.values().unwrap().norm().double_value(&[]);
            let expected = expected[name].unwrap();
            // Sums of other orders, and norms of seven digits.
            let close = (norm - expected).abs() < 1e-4 * expected + 1e-6;
            assert!(close, "{family}, {name}: {norm} for {expected}");
            // A constant added to every key of a query changes no attention: softmax takes it out.
            let is_key_bias = ["key.bias", "k_lin.bias", "attn.k.bias"];
            let has_none = is_key_bias.iter().any(|end| name.ends_with(end));
            assert!(has_none || norm > 1e-4, "{family}, {name}: {norm}");
        }
    }
}

#[test]
fn layers_that_share_parameters_can_only_be_cut_between_groups() {
    // Four layers in two groups.
    let teacher = load("albert");
    assert_eq!(teacher.layers(), 4);
    assert_eq!(teacher.cuts(), [0, 2, 4]);
    let of = |group| format!("albert.encoder.albert_layer_groups.{group}.albert_layers.1.ffn.bias");
    assert_eq!(teacher.layer_of(&of(0)), Some(0));
    assert_eq!(teacher.layer_of(&of(1)), Some(2));
    assert_eq!(teacher.layer_of("albert.encoder.embedding_hidden_mapping_in.weight"), None);
    assert_eq!(load("roberta").cuts(), [0, 1, 2]);
}

#[test]
fn operations_count_every_run_of_a_shared_layer_and_the_way_from_narrow_embeddings() {
    let tokens = Tokens { ids: vec![1; 5], type_ids: vec![0; 5], truncated: false };
    let batch = TokenBatch::new(&[&tokens, &tokens], device()).unwrap();
    // Each of the layers: H wide, I inside, 10 rows, 2 examples of width 5.
    let layer = |h: f64, i: f64| 2.0 * 10.0 * (4.0 * h * h + 2.0 * h * i) + 4.0 * 2.0 * 25.0 * h;
    let narrow = |h: f64| 2.0 * 10.0 * 12.0 * h;
    for (family, by_hand) in [
        ("albert", 8.0 * layer(24.0, 20.0) + narrow(24.0)),
        ("electra", 2.0 * layer(32.0, 40.0) + narrow(32.0)),
        ("mpnet", 2.0 * layer(32.0, 40.0)),
    ] {
        assert!((load(family).flops(&batch) - by_hand).abs() < 1e-6, "{family}");
    }
}

#[test]
fn the_longest_input_of_positions_after_padding_is_two_less_than_their_table() {
    for (family, longest) in [("roberta", 48), ("mpnet", 178), ("electra", 48)] {
        assert_eq!(load(family).settings().max_length, longest, "{family}");
    }
}

#[test]
fn a_configuration_that_cannot_be_computed_is_refused_by_key_and_value() {
    for (family, key, value, expected) in [
        ("albert", "hidden_act", json!("swiglu"), "`hidden_act`: unknown variant `swiglu`"),
        (
            "albert",
            "num_hidden_groups",
            json!(5),
            "`num_hidden_groups` 5 is more than `num_hidden_layers` 4",
        ),
        ("albert", "inner_group_num", json!(0), "`inner_group_num` is 0, must be positive"),
        ("distilbert", "activation", json!("silu"), "`activation`: unknown variant `silu`"),
        ("distilbert", "n_heads", json!(5), "`dim` 32 is no multiple of 5 heads"),
        ("electra", "embedding_size", json!(-1), "`embedding_size` is -1, must be positive"),
        (
            "electra",
            "position_embedding_type",
            json!("relative_key"),
            "`position_embedding_type`: unknown variant `relative_key`",
        ),
        (
            "mpnet",
            "relative_attention_num_buckets",
            json!(16),
            "`relative_attention_num_buckets` is 16",
        ),
        (
            "roberta",
            "pad_token_id",
            json!(49),
            "`max_position_embeddings` 50 leaves no position after `pad_token_id` 49",
        ),
        (
            "roberta",
            "position_embedding_type",
            json!("relative_key_query"),
            "`position_embedding_type`: unknown variant `relative_key_query`",
        ),
        ("xlm_roberta", "hidden_size", json!(33), "`hidden_size` 33 is no multiple of 2 heads"),
        ("xlm_roberta", "vocab_size", json!("many"), "`vocab_size`: invalid type: string \"many\""),
    ] {
        let edited = copy(family, |config| config[key] = value.clone());
        let error = Teacher::load(edited.path(), device()).unwrap_err().to_string();
        assert!(error.contains("config.json: ") && error.contains(expected), "{family}: {error}");
    }
}
