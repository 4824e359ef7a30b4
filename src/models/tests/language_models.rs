//! Masked language models against `transformers`, fixtures by `tests/fixtures/make_masked_lm.py`, and language models as
//! folders.

use std::{collections::BTreeMap, fs, path::Path};

use serde::Deserialize;
use serde_json::Value;
use tch::{Kind, Reduction, Tensor};

use super::{
    super::{
        HeadKind, LanguageModel, Objective, Pooling, Teacher, TeacherSettings, TokenBatch,
        read_weights, write_weights,
    },
    TOLERANCE, assert_close, fixtures,
};
use crate::{
    data::LabelSet,
    testing::{device, tensor_of},
    text::Tokens,
    training::{Optimizer, OptimizerKind},
};

const FAMILIES: [&str; 10] = [
    "albert",
    "bert",
    "deberta",
    "deberta_not_legacy",
    "distilbert",
    "electra",
    "modernbert",
    "mpnet",
    "roberta",
    "xlm_roberta",
];

#[derive(Deserialize)]
struct Expected {
    ids: Vec<Vec<i64>>,
    type_ids: Vec<Vec<i64>>,
    places: Vec<i64>,
    labels: Vec<i64>,
    loss: f64,
    logits: Vec<Vec<f64>>,
    /// Norm, and product with `cos(0), cos(1), ..`.
    gradients: BTreeMap<String, [f64; 2]>,
}

impl Expected {
    fn of(family: &str) -> Self {
        let path = fixtures().join("masked_lm").join(family).join("expected.json");
        serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
    }

    fn batch(&self) -> TokenBatch {
        let of = |(ids, types): (&Vec<i64>, &Vec<i64>)| Tokens {
            ids: ids.clone(),
            type_ids: types.clone(),
            truncated: false,
        };
        let tokens: Vec<Tokens> = self.ids.iter().zip(&self.type_ids).map(of).collect();
        TokenBatch::new(&tokens.iter().collect::<Vec<_>>(), device()).unwrap()
    }

    fn logits(&self, model: &LanguageModel) -> Tensor {
        let Objective::Masked(masked) = model.objective() else { panic!("{model:?}") };
        masked.logits(&self.batch(), &tensor_of(&self.places), 0.0).unwrap()
    }
}

fn load(folder: &Path) -> LanguageModel {
    LanguageModel::load(folder, 16, device()).unwrap()
}

fn load_family(family: &str) -> LanguageModel {
    load(&fixtures().join("masked_lm").join(family))
}

/// A copy of a family's folder with the tensors that are left by `keep`, and an edited configuration.
fn copy(family: &str, keep: impl Fn(&str) -> bool, edit: impl Fn(&mut Value)) -> tempfile::TempDir {
    let (source, copy) = (fixtures().join("masked_lm").join(family), tempfile::tempdir().unwrap());
    fs::copy(source.join("tokenizer.json"), copy.path().join("tokenizer.json")).unwrap();
    let config = fs::read_to_string(source.join("config.json")).unwrap();
    let mut config: Value = serde_json::from_str(&config).unwrap();
    edit(&mut config);
    fs::write(copy.path().join("config.json"), config.to_string()).unwrap();
    let weights = read_weights(&source.join("model.safetensors")).unwrap();
    let kept = weights.iter().filter(|(name, _)| keep(name));
    write_weights(
        &copy.path().join("model.safetensors"),
        kept.map(|(name, tensor)| (name.as_str(), tensor)),
    )
    .unwrap();
    copy
}

#[test]
fn masked_language_models_and_their_gradients_agree_with_transformers() {
    for family in FAMILIES {
        let (expected, model) = (Expected::of(family), load_family(family));
        let parameters = model.parameters();
        parameters.set_trainable(|_| true).unwrap();
        let logits = expected.logits(&model);
        assert_close(family, &logits, &expected.logits);
        let labels = tensor_of(&expected.labels);
        let loss = logits.cross_entropy_loss::<Tensor>(&labels, None, Reduction::Mean, -100, 0.0);
        assert!((loss.double_value(&[]) - expected.loss).abs() < TOLERANCE, "{family}");

        let optimizer = Optimizer::new(OptimizerKind::Adam, parameters.iter());
        let gradients = optimizer.gradients(&loss).unwrap();
        // `transformers` has the same parameters, but those that no loss depends on.
        let names: Vec<_> = parameters.iter().map(|(name, _)| name).collect();
        assert!(expected.gradients.keys().all(|name| names.contains(&name.as_str())), "{family}");
        for (name, gradient) in names.into_iter().zip(gradients) {
            let [norm, product] = expected.gradients[name];
            let found = gradient.values().unwrap().to_kind(Kind::Double).flatten(0, -1);
            let turning = Tensor::arange(found.size()[0], (Kind::Double, device())).cos();
            // Sums of other orders, of numbers up to the norm.
            let bound = 1e-4 * norm + 1e-6;
            let found = [found.norm().double_value(&[]), found.dot(&turning).double_value(&[])];
            assert!((found[0] - norm).abs() < bound, "{family}, {name}: {found:?}, {norm}");
            assert!(
                (found[1] - product).abs() < 10.0 * bound,
                "{family}, {name}: {found:?}, {product}"
            );
        }
    }
}

#[test]
fn a_saved_language_model_has_the_tensors_of_transformers_and_computes_the_same() {
    for family in FAMILIES {
        let (expected, model) = (Expected::of(family), load_family(family));
        let saved = tempfile::tempdir().unwrap();
        model.save(saved.path()).unwrap();
        let names = |folder: &Path| {
            let weights = read_weights(&folder.join("model.safetensors")).unwrap();
            let mut names: Vec<_> = weights.into_keys().collect();
            names.sort_unstable();
            names
        };
        let source = fixtures().join("masked_lm").join(family);
        assert_eq!(names(saved.path()), names(&source), "{family}");
        let class = |folder: &Path| -> Value {
            let config = fs::read_to_string(folder.join("config.json")).unwrap();
            serde_json::from_str::<Value>(&config).unwrap()["architectures"].clone()
        };
        assert_eq!(class(saved.path()), class(&source), "{family}");
        assert_close(family, &expected.logits(&load(saved.path())), &expected.logits);
        assert_eq!(model.hash().unwrap(), load(saved.path()).hash().unwrap(), "{family}");

        let settings =
            TeacherSettings { head: HeadKind::Linear { pooling: Pooling::Mean }, max_length: 16 };
        let labels = LabelSet::new(vec!["a".into(), "b".into()]).unwrap();
        Teacher::from_encoder(saved.path(), labels, settings, device()).unwrap();
    }
}

#[test]
fn an_encoder_without_the_head_gets_a_fresh_one() {
    // Bare, under the names that `BertModel` has.
    let bare = copy("bert", |name| name.starts_with("bert."), |_| ());
    let path = bare.path().join("model.safetensors");
    let weights = read_weights(&path).unwrap();
    write_weights(&path, weights.iter().map(|(name, t)| (name.strip_prefix("bert.").unwrap(), t)))
        .unwrap();
    tch::manual_seed(1);
    let model = load(bare.path());
    assert_eq!(model.parameters().count(), load_family("bert").parameters().count());
    let all: BTreeMap<_, _> = model.parameters().iter().collect();
    // Biases zero, scale one, the matrix drawn with BERT's standard deviation of 0.02.
    assert!(all["cls.predictions.bias"].abs().max().double_value(&[]) < 1e-12);
    let scale = all["cls.predictions.transform.LayerNorm.weight"] - 1.0;
    assert!(scale.abs().max().double_value(&[]) < 1e-12);
    let drawn = all["cls.predictions.transform.dense.weight"].std(true).double_value(&[]);
    // 256 numbers: the deviation is known to 4.4 %; four of that.
    assert!((drawn - 0.02).abs() < 0.0036, "{drawn}");
}

#[test]
fn what_cannot_be_pre_trained_is_refused_by_name() {
    let untied = copy("bert", |_| true, |config| config["tie_word_embeddings"] = false.into());
    let said = LanguageModel::load(untied.path(), 16, device()).unwrap_err().to_string();
    assert!(said.contains("config.json: `tie_word_embeddings` is false"), "{said}");

    let unmasked = copy("bert", |_| true, |_| ());
    let path = unmasked.path().join("tokenizer.json");
    let tokenizer = fs::read_to_string(&path).unwrap().replace("[MASK]", "[GAP]");
    fs::write(&path, tokenizer).unwrap();
    let said = LanguageModel::load(unmasked.path(), 16, device()).unwrap_err().to_string();
    assert!(said.contains("no mask token, [MASK] or <mask>"), "{said}");
    // Unless the folder says what it is called.
    fs::write(unmasked.path().join("tokenizer_config.json"), r#"{"mask_token": "[GAP]"}"#).unwrap();
    assert_eq!(load(unmasked.path()).mask_token(), 4);

    let said = LanguageModel::load(unmasked.path(), 21, device()).unwrap_err().to_string();
    assert!(said.contains("maximum length 21 must lie between 3 and the encoder's 20"), "{said}");

    let lacking = copy("bert", |name| !name.contains("layer.1.output.dense"), |_| ());
    let said = LanguageModel::load(lacking.path(), 16, device()).unwrap_err().to_string();
    assert!(said.contains("bert.encoder.layer.1.output.dense.weight: missing"), "{said}");
}
