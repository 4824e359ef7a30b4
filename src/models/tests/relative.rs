//! DeBERTa-v3, ModernBERT and XLNet, whose positions are relative, against `transformers`; fixtures by
//! `tests/fixtures/make_relative_families.py`.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tch::{Kind, Reduction, Tensor};

use super::{
    super::{
        Arithmetic, Classifier as _, HeadKind, LanguageModel, Objective, Permutation, Pooling,
        Teacher, TeacherSettings, TokenBatch, read_weights,
    },
    TOLERANCE, arithmetics, assert_close, fixtures,
};
use crate::{
    data::LabelSet,
    testing::{device, tensor_of},
    text::Tokens,
    training::{Gradient, Optimizer, OptimizerKind},
};

const FAMILIES: [&str; 3] = ["deberta", "modernbert", "xlnet"];

#[derive(Deserialize)]
struct Batches {
    batches: Vec<Batch>,
}

#[derive(Deserialize)]
struct Batch {
    name: String,
    ids: Vec<Vec<i64>>,
    type_ids: Vec<Vec<i64>>,
    width: usize,
    logits: Option<Vec<Vec<f64>>>,
    hidden: Option<Vec<Vec<Vec<f64>>>>,
}

fn tokens(ids: &[Vec<i64>], type_ids: &[Vec<i64>]) -> Vec<Tokens> {
    let tokens = |(ids, types): (&Vec<i64>, &Vec<i64>)| Tokens {
        ids: ids.clone(),
        type_ids: types.clone(),
        truncated: false,
    };
    ids.iter().zip(type_ids).map(tokens).collect()
}

impl Batch {
    fn padded(&self) -> TokenBatch {
        let tokens = tokens(&self.ids, &self.type_ids);
        TokenBatch::padded(&tokens.iter().collect::<Vec<_>>(), self.width).unwrap()
    }

    /// States of tokens alone; those of padding have no meaning.
    fn assert_hidden(&self, what: &str, found: &Tensor) {
        for (i, expected) in self.hidden.iter().flatten().enumerate() {
            let found = found.get(i as i64).narrow(0, 0, expected.len() as i64);
            assert_close(&format!("{what}, {}", self.name), &found, expected);
        }
    }
}

fn folder(family: &str, case: &str) -> PathBuf {
    fixtures().join(family).join(case)
}

fn read<T: DeserializeOwned>(path: &Path) -> T {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn batches(family: &str, case: &str) -> Vec<Batch> {
    read::<Batches>(&folder(family, case).join("expected.json")).batches
}

fn classifier(family: &str) -> Teacher {
    Teacher::load(&folder(family, "classifier"), device()).unwrap()
}

/// An encoder with a new head.
fn encoder(folder: &Path, head: HeadKind) -> Teacher {
    let settings = TeacherSettings { head, max_length: 64 };
    let labels = LabelSet::new(vec!["a".into(), "b".into()]).unwrap();
    Teacher::from_encoder(folder, labels, settings, device()).unwrap()
}

#[test]
fn classifiers_with_relative_positions_agree_with_transformers() {
    for family in FAMILIES {
        let teacher = classifier(family);
        for batch in batches(family, "classifier") {
            let name = format!("{family}, {}", batch.name);
            let padded = batch.padded();
            let logits = tch::no_grad(|| teacher.logits(&padded).unwrap());
            assert_close(&name, &logits, batch.logits.as_ref().unwrap());
            let (hidden, _) = tch::no_grad(|| teacher.hidden_and_pooled(&padded).unwrap());
            batch.assert_hidden(&name, &hidden);
        }
    }
}

#[test]
fn bare_encoders_and_language_models_are_read_as_the_same_encoder() {
    for family in FAMILIES {
        for case in ["encoder", "language_model"] {
            for head in [HeadKind::Linear { pooling: Pooling::Mean }, HeadKind::Family] {
                let teacher = encoder(&folder(family, case), head);
                for batch in batches(family, "encoder") {
                    let (hidden, _) =
                        tch::no_grad(|| teacher.hidden_and_pooled(&batch.padded()).unwrap());
                    batch.assert_hidden(&format!("{family}, {case}"), &hidden);
                }
            }
        }
    }
}

#[test]
fn an_encoder_cut_anywhere_computes_the_same() {
    for family in FAMILIES {
        let teacher = classifier(family);
        for batch in batches(family, "classifier") {
            let padded = batch.padded();
            tch::no_grad(|| {
                for layer in 0..=teacher.layers() {
                    let hidden = teacher.hidden_after(layer, &padded).unwrap();
                    let logits = teacher.forward_from(layer, hidden, &padded, 0.0).unwrap();
                    assert_close(family, &logits, batch.logits.as_ref().unwrap());
                }
            });
        }
    }
}

#[test]
fn a_saved_classifier_has_the_same_tensors_and_fingerprint() {
    for family in FAMILIES {
        let source = folder(family, "classifier");
        let teacher = classifier(family);
        let saved = tempfile::tempdir().unwrap();
        teacher.save(saved.path()).unwrap();
        let again = Teacher::load(saved.path(), device()).unwrap();
        assert_eq!(teacher.fingerprint().unwrap(), again.fingerprint().unwrap(), "{family}");
        let weights = |folder: &Path| {
            let weights = read_weights(&folder.join("model.safetensors")).unwrap();
            let mut shapes: Vec<_> =
                weights.into_iter().map(|(name, tensor)| (name, tensor.size())).collect();
            shapes.sort_unstable();
            shapes
        };
        assert_eq!(weights(saved.path()), weights(&source), "{family}");
        let classes =
            |folder: &Path| read::<Value>(&folder.join("config.json"))["architectures"].clone();
        assert_eq!(classes(saved.path()), classes(&source));
    }
}

#[test]
fn relative_positions_are_served_within_the_arithmetics_bound() {
    for family in FAMILIES {
        let batches = batches(family, "classifier");
        let logits: Vec<f64> =
            batches.iter().flat_map(|b| b.logits.as_ref().unwrap().concat()).collect();
        let spread = tensor_of(&logits).std(true).double_value(&[]);
        for arithmetic in arithmetics() {
            // As in the tests of BERT, whose logits have standard deviations up to 1 and come from two layers. What
            // layers round away adds up as independent numbers do.
            let layers = classifier(family).layers() as f64;
            let factor = spread.max(1.0) * (layers / 2.0).sqrt();
            let bound = match arithmetic {
                Arithmetic::Float32 => TOLERANCE,
                Arithmetic::Int8 => 0.1 * factor,
                _ => 0.05 * factor,
            };
            let source = folder(family, "classifier");
            let teacher = Teacher::load_for_serving(&source, device(), arithmetic).unwrap();
            for batch in &batches {
                let rows = teacher.predict_batch(&batch.padded()).unwrap();
                for (row, expected) in rows.iter().zip(batch.logits.as_ref().unwrap()) {
                    for (found, expected) in row.iter().zip(expected) {
                        let difference = (f64::from(*found) - expected).abs();
                        let what = format!("{family}, {arithmetic}, {}", batch.name);
                        assert!(difference < bound, "{what}: off by {difference} of {spread}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_training_step_changes_every_parameter_that_classification_uses() {
    for family in FAMILIES {
        for drop in [0.0, 0.1] {
            let teacher = classifier(family);
            let parameters = teacher.parameters();
            parameters.set_trainable(|_| true).unwrap();
            let batch = batches(family, "classifier").remove(3);
            let logits = teacher.forward(&batch.padded(), drop).unwrap();
            let labels = tensor_of(&[0i64, 1, 2, 1]);
            let loss =
                logits.cross_entropy_loss::<Tensor>(&labels, None, Reduction::Mean, -100, 0.0);
            let before = parameters.snapshot().unwrap();
            let mut optimizer = Optimizer::new(OptimizerKind::Adam, parameters.iter());
            let gradients = optimizer.gradients(&loss).unwrap();
            optimizer.step(&gradients, 1e-3).unwrap();
            for ((name, after), (_, before)) in parameters.iter().zip(&before) {
                // What XLNet's query stream begins with, and classification has none.
                let used = name != "transformer.mask_emb";
                // Snapshots are on the CPU.
                assert_eq!(after.to_device(before.device()) != *before, used, "{family}, {name}");
            }
        }
    }
}

#[derive(Deserialize)]
struct ExpectedPermutation {
    ids: Vec<Vec<i64>>,
    type_ids: Vec<Vec<i64>>,
    hidden: Vec<Vec<Vec<i64>>>,
    targets: Vec<Vec<i64>>,
    labels: Vec<Vec<i64>>,
    logits: Vec<Vec<Vec<f64>>>,
    loss: f64,
}

#[test]
fn permutation_language_modelling_and_its_gradients_agree_with_transformers() {
    let source = folder("xlnet", "language_model");
    let expected: ExpectedPermutation = read(&source.join("permutation.json"));
    let loaded = LanguageModel::load(&source, 64, device()).unwrap();
    let Objective::Permutation(model) = loaded.objective() else { panic!("{loaded:?}") };
    let parameters = loaded.parameters();
    parameters.set_trainable(|_| true).unwrap();

    let width = expected.hidden[0].len() as i64;
    let examples = expected.hidden.len() as i64;
    let hidden = tensor_of(&expected.hidden.concat().concat());
    let targets = tensor_of(&expected.targets.concat()).view([examples, -1]);
    let permutation =
        Permutation { hidden: hidden.view([examples, width, width]).to_kind(Kind::Bool), targets };
    let tokens = tokens(&expected.ids, &expected.type_ids);
    let batch = TokenBatch::padded(&tokens.iter().collect::<Vec<_>>(), width as usize).unwrap();

    let logits = model.logits(&batch, &permutation, 0.0).unwrap();
    assert_close("logits", &logits, &expected.logits.concat());
    let labels = tensor_of(&expected.labels.concat());
    let loss = logits.flatten(0, 1).cross_entropy_loss::<Tensor>(
        &labels,
        None,
        Reduction::Mean,
        -100,
        0.0,
    );
    assert!((loss.double_value(&[]) - expected.loss).abs() < TOLERANCE);

    let gradients: HashMap<_, _> = read_weights(&source.join("gradients.safetensors")).unwrap();
    assert_eq!(gradients.len(), parameters.iter().count());
    let optimizer = Optimizer::new(OptimizerKind::Adam, parameters.iter());
    for ((name, _), found) in parameters.iter().zip(optimizer.gradients(&loss).unwrap()) {
        let Gradient::Dense(found) = found else { panic!("{name}: {found:?}") };
        let difference =
            (found - gradients[name].to_device(device())).abs().max().double_value(&[]);
        assert!(difference < TOLERANCE, "{name}: differs by {difference}");
    }
}

#[test]
fn operations_count_what_relative_positions_add() {
    let tokens = |n| Tokens { ids: vec![5; n], type_ids: vec![0; n], truncated: false };
    // 10 rows, 2 examples of width 5, 32 units.
    let batch = TokenBatch::new(&[&tokens(3), &tokens(5)], device()).unwrap();
    let products = 4.0 * 2.0 * 25.0 * 32.0;
    let layer = |weights: f64| 2.0 * 10.0 * weights + products;
    let flops = |family| classifier(family).flops(&batch);
    let near =
        |found: f64, expected: f64| assert!((found - expected).abs() < 1e-6, "{found} {expected}");

    // 2 layers of 48 inside. Distances -4 to 4 in two terms, and their query and key.
    let terms = 2.0 * (2.0 * 10.0 * 9.0 * 32.0) + 2.0 * (2.0 * 9.0 * 32.0 * 32.0);
    near(flops("deberta"), 2.0 * (layer(4.0 * 1024.0 + 2.0 * 32.0 * 48.0) + terms));
    // 4 layers of 24 inside, with a gate.
    near(flops("modernbert"), 4.0 * layer(4.0 * 1024.0 + 3.0 * 32.0 * 24.0));
    // 2 layers of 48 inside. Keys of 9 distances, queries that meet them, and the two segments.
    let terms = 2.0 * 9.0 * 1024.0 + 2.0 * 10.0 * 9.0 * 32.0 + 2.0 * 10.0 * 2.0 * 32.0;
    near(flops("xlnet"), 2.0 * (layer(4.0 * 1024.0 + 2.0 * 32.0 * 48.0) + terms));

    // Served, DeBERTa's positions are projected once and for all.
    let source = folder("deberta", "classifier");
    let served = Teacher::load_for_serving(&source, device(), Arithmetic::Float32).unwrap();
    let terms = 2.0 * (2.0 * 10.0 * 9.0 * 32.0);
    near(served.flops(&batch), 2.0 * (layer(4.0 * 1024.0 + 2.0 * 32.0 * 48.0) + terms));
}

#[test]
fn what_all_layers_share_belongs_to_none_and_a_last_norm_to_the_last() {
    let modernbert = classifier("modernbert");
    assert_eq!(modernbert.layer_of("model.final_norm.weight"), Some(3));
    assert_eq!(modernbert.layer_of("model.layers.2.mlp.Wi.weight"), Some(2));
    let deberta = classifier("deberta");
    assert_eq!(deberta.layer_of("deberta.encoder.rel_embeddings.weight"), None);
    assert_eq!(deberta.layer_of("deberta.encoder.layer.1.output.dense.bias"), Some(1));
    assert_eq!(classifier("xlnet").layer_of("transformer.layer.1.rel_attn.q"), Some(1));
    for family in FAMILIES {
        let teacher = classifier(family);
        let table = teacher.word_table();
        assert!(teacher.parameters().iter().any(|(name, _)| name == table), "{table}");
    }
}

#[test]
fn a_switch_that_is_not_supported_is_refused_by_key() {
    let cases = [
        ("deberta", "conv_kernel_size", json!(3), "`conv_kernel_size` must be 0"),
        ("deberta", "num_attention_heads", json!(3), "`hidden_size` 32 is no multiple of 3 heads"),
        (
            "deberta",
            "pooler_hidden_act",
            json!("mish"),
            "`pooler_hidden_act`: unknown variant `mish`",
        ),
        (
            "deberta",
            "pos_att_type",
            json!("c2p|p2p"),
            "`pos_att_type`: \"p2p\" is neither c2p nor p2c",
        ),
        ("deberta", "position_biased_input", json!(true), "`position_biased_input` must be false"),
        ("deberta", "position_buckets", json!(60), "`position_buckets` 60 must lie between"),
        ("deberta", "share_att_key", json!(false), "`share_att_key` must be true"),
        ("modernbert", "global_attn_every_n_layers", json!(0), "`global_attn_every_n_layers` is 0"),
        (
            "modernbert",
            "hidden_activation",
            json!("mish"),
            "`hidden_activation`: unknown variant `mish`",
        ),
        (
            "modernbert",
            "layer_types",
            json!(["full_attention"]),
            "`layer_types` has 1 entries for 4 layers",
        ),
        ("modernbert", "local_attention", json!(0), "`local_attention` is 0, must be positive"),
        ("modernbert", "num_attention_heads", json!(32), "a head has 1 units, an odd number"),
        (
            "modernbert",
            "rope_parameters",
            json!({"full_attention": {"rope_type": "yarn"}}),
            "`rope_parameters.full_attention.rope_type`: unknown variant `yarn`",
        ),
        ("modernbert", "rope_scaling", json!({"factor": 2}), "`rope_scaling` is not supported"),
        ("xlnet", "attn_type", json!("uni"), "`attn_type`: unknown variant `uni`"),
        ("xlnet", "bi_data", json!(true), "`bi_data` true is not supported"),
        ("xlnet", "d_head", json!(5), "`d_head` is 5, must be `d_model` / `n_head`, 16"),
        ("xlnet", "n_head", json!(5), "`d_model` 32 is no multiple of 5 heads"),
        ("xlnet", "summary_type", json!("mean"), "`summary_type`: unknown variant `mean`"),
        ("xlnet", "vocab_size", json!(null), "`vocab_size`: invalid type: null"),
    ];
    for (family, key, value, expected) in cases {
        let edited = tempfile::tempdir().unwrap();
        let mut config: Value = read(&folder(family, "classifier").join("config.json"));
        config[key] = value;
        fs::write(edited.path().join("config.json"), config.to_string()).unwrap();
        let error = Teacher::load(edited.path(), device()).unwrap_err().to_string();
        assert!(error.contains("config.json: ") && error.contains(expected), "{family}: {error}");
    }
}
