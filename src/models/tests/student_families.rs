//! Families of students against PyTorch; fixtures by `tests/fixtures/make_students.py`.

use std::{collections::BTreeMap, fs, path::Path};

use serde::Deserialize;
use tch::{Kind, Reduction, Tensor};

use super::{
    super::{
        Builder, Classifier as _, Family, Initial, Parameters, Student, StudentConfig, TokenBatch,
        read_weights,
        students::{
            Channels, EncoderSizes, StudentModel, WordTable, projected,
            transformer::TransformerConfig,
        },
    },
    fixtures,
};
use crate::{
    data::LabelSet,
    testing::{device, tensor_of},
    text::{Segmentation, Tokenizer, Tokens, WordCounts, WordKind, read_vectors},
    training::{Gradient, Optimizer, OptimizerKind},
};

#[derive(Deserialize)]
struct Expected {
    texts: Vec<Vec<i64>>,
    pairs: Vec<Vec<i64>>,
    labels: Vec<i64>,
    cases: BTreeMap<String, Case>,
}

#[derive(Clone, Deserialize)]
struct Case {
    config: Family,
    logits: Vec<Vec<f64>>,
    gradients: BTreeMap<String, Vec<f64>>,
}

/// float32 sums in another order, as `torch.testing.assert_close` allows them: so much, and so much of the largest
/// number compared, for an error is relative to the terms of a sum. DPCNN's logits are as large as 44, where
/// processors with other convolutions are six units in the last place apart.
const TOLERANCE: f64 = 1e-5;
const RELATIVE_TOLERANCE: f64 = 1.3e-6;

fn expected() -> Expected {
    serde_json::from_str(&fs::read_to_string(fixtures().join("students.json")).unwrap()).unwrap()
}

impl Expected {
    /// The examples of a case, which are pairs where it compares them.
    fn tokens(&self, case: &mut Case) -> Vec<Tokens> {
        let siamese = case.config.recurrent_mut().is_some_and(|config| config.siamese);
        (self.texts.iter().zip(&self.pairs))
            .map(|(text, pair)| {
                let pair: &[i64] = if siamese { pair } else { &[] };
                let ids = [text, pair].concat();
                let type_ids = (0..ids.len()).map(|i| i64::from(i >= text.len())).collect();
                Tokens { ids, type_ids, truncated: false }
            })
            .collect()
    }
}

fn model(name: &str, family: &Family) -> (Box<dyn StudentModel>, Parameters) {
    let path = fixtures().join("students.safetensors");
    let prefix = format!("{name}/");
    let tensors = read_weights(&path).unwrap().into_iter();
    let tensors =
        tensors.filter_map(|(key, tensor)| Some((key.strip_prefix(&prefix)?.to_owned(), tensor)));
    let builder = Builder::from_weights(tensors.collect(), &path, device());
    let model = family.build(&builder, 3, false).unwrap();
    (model, builder.finish().unwrap())
}

fn assert_close(what: &str, found: &Tensor, expected: &[f64]) {
    let expected = tensor_of(expected).view(found.size().as_slice());
    let largest = |tensor: Tensor| tensor.abs().max().double_value(&[]);
    let difference = largest(found.to_kind(Kind::Double) - &expected);
    let allowed = TOLERANCE + RELATIVE_TOLERANCE * largest(expected);
    assert!(difference < allowed, "{what}: differs by {difference}, more than {allowed}");
}

#[test]
fn every_family_and_its_gradients_agree_with_pytorch_however_wide_a_batch_is_padded() {
    let mut expected = expected();
    let cases = std::mem::take(&mut expected.cases);
    assert_eq!(cases.len(), 13);
    let twice = cases.into_iter().flat_map(|case| [1, 2].map(|threads| (threads, case.clone())));
    for (threads, (name, mut case)) in twice {
        tch::set_num_threads(threads);
        let (model, parameters) = model(&name, &case.config);
        parameters.set_trainable(|_| true).unwrap();
        let tokens = expected.tokens(&mut case);
        let examples: Vec<&Tokens> = tokens.iter().collect();
        let narrow = TokenBatch::new(&examples, device()).unwrap();
        let wide = TokenBatch::padded(&examples, 17).unwrap();
        assert_close(&name, &model.logits(&narrow, false).unwrap(), &case.logits.concat());
        for (tokens, expected) in tokens.iter().zip(&case.logits) {
            let alone = TokenBatch::new(&[tokens], device()).unwrap();
            assert_close(&name, &model.logits(&alone, false).unwrap(), expected);
        }

        let labels = tensor_of(&expected.labels);
        let loss = |logits: &Tensor| {
            logits.f_cross_entropy_loss::<Tensor>(&labels, None, Reduction::Mean, -100, 0.0)
        };
        let optimizer = Optimizer::new(OptimizerKind::Adam, parameters.iter());
        let trained = parameters.iter().filter(|(_, tensor)| tensor.requires_grad());
        let trained: Vec<_> = trained.collect();
        assert_eq!(trained.len(), case.gradients.len(), "{name}");
        let values: usize = trained.iter().map(|(_, tensor)| tensor.numel()).sum();
        assert_eq!(parameters.count(), values, "{name}");
        // Recorded by libtorch alone, and however the family trains.
        for logits in [model.logits(&wide, true).unwrap().into(), model.traced(&wide).unwrap()] {
            assert_close(&name, &logits.value, &case.logits.concat());
            let gradients = optimizer.gradients(logits.map(loss).unwrap()).unwrap();
            for ((parameter, tensor), gradient) in trained.iter().zip(gradients) {
                let what = format!("{name}, {parameter}");
                let is_table = ["embedding.weight", "bigrams.weight"].contains(parameter);
                let dense = match gradient {
                    Gradient::Dense(dense) if !is_table => dense,
                    Gradient::Rows { rows, values } if is_table => {
                        let zeros = Tensor::zeros(tensor.size(), (Kind::Float, device()));
                        zeros.index_copy(0, &rows, &values)
                    }
                    other => panic!("{what}: {other:?}"),
                };
                assert_close(&what, &dense, &case.gradients[*parameter]);
            }
        }
    }
}

#[test]
fn a_model_laid_out_for_inference_gives_the_same_answers_in_any_order_and_width() {
    let mut expected = expected();
    for (name, mut case) in std::mem::take(&mut expected.cases) {
        let (model, _parameters) = model(&name, &case.config);
        let model = model.prepared(device()).unwrap();
        let mut rows: Vec<_> = expected.tokens(&mut case).into_iter().zip(case.logits).collect();
        for _ in 0..rows.len() {
            rows.rotate_left(1);
            let tokens: Vec<&Tokens> = rows.iter().map(|(tokens, _)| tokens).collect();
            let logits: Vec<f64> = rows.iter().flat_map(|(_, row)| row.clone()).collect();
            let batch = TokenBatch::new(&tokens, device()).unwrap();
            assert_close(&name, &model.logits(&batch, false).unwrap(), &logits);
            let wide = TokenBatch::padded(&tokens, 19).unwrap();
            assert_close(&name, &model.logits(&wide, false).unwrap(), &logits);
        }
        // Enough examples to be shared out over threads.
        tch::set_num_threads(3);
        let many = 13;
        let tokens: Vec<&Tokens> = rows.iter().map(|(tokens, _)| tokens).collect();
        let logits: Vec<f64> = rows.iter().flat_map(|(_, row)| row.clone()).collect();
        let batch = TokenBatch::new(&tokens.repeat(many), device()).unwrap();
        assert_close(&name, &model.logits(&batch, false).unwrap(), &logits.repeat(many));
        assert_eq!(tch::get_num_threads(), 3, "{name}");
    }
}

fn words() -> Tokenizer {
    let texts = ["the film is good", "a bad plot , the end", "电影 很 好"];
    let words = WordCounts::new(WordKind::Unicode, texts.into_iter()).unwrap();
    Tokenizer::new(words.tokenizer(100, |_, _| true).unwrap(), 16).unwrap()
}

/// A student of this family in a run folder, and read from there.
fn saved_and_loaded(family: Family, tokenizer: Tokenizer, initial: Initial) -> (Student, Student) {
    let run = tempfile::tempdir().unwrap();
    let labels = LabelSet::new(vec!["a".to_owned(), "b".to_owned()]).unwrap();
    let config = StudentConfig { max_length: 16, segmentation: Segmentation::None, family };
    let student = Student::initialised(config, labels, tokenizer, initial, device()).unwrap();
    student.save_description(run.path()).unwrap();
    student.save_weights(run.path(), super::super::BEST_WEIGHTS).unwrap();
    let loaded = Student::load(run.path(), device()).unwrap();
    assert_eq!(loaded.config(), student.config());
    assert_eq!(loaded.parameter_count(), student.parameter_count());
    (student, loaded)
}

fn assert_same_answers(what: &str, student: &Student, loaded: &Student) {
    let texts = ["the film", "good", "", "the plot is bad , the film is good 电影"];
    let tokens: Vec<Tokens> = texts.iter().map(|text| loaded.encode(text, None).unwrap()).collect();
    let tokens: Vec<&Tokens> = tokens.iter().collect();
    let (trained, loaded) = (student.predict(&tokens).unwrap(), loaded.predict(&tokens).unwrap());
    for (trained, loaded) in trained.concat().iter().zip(loaded.concat()) {
        assert!((f64::from(trained - loaded)).abs() < TOLERANCE, "{what}: {trained}, {loaded}");
    }
}

#[test]
fn a_run_folder_of_any_family_holds_all_of_it() {
    for (name, mut case) in expected().cases {
        let tokenizer = words();
        let table = case.config.table_mut().unwrap();
        table.vocabulary = tokenizer.vocabulary_size() as i64;
        let (student, loaded) = saved_and_loaded(case.config, tokenizer, Initial::default());
        assert_same_answers(&name, &student, &loaded);
    }
}

#[test]
fn dropout_is_drawn_in_training_alone() {
    for (name, mut case) in expected().cases {
        let mut json = serde_json::to_value(&case.config).unwrap();
        json["dropout"] = 0.5.into();
        let (tokens, (model, _parameters)) =
            (expected().tokens(&mut case), model(&name, &serde_json::from_value(json).unwrap()));
        let batch = TokenBatch::new(&tokens.iter().collect::<Vec<_>>(), device()).unwrap();
        assert_close(&name, &model.logits(&batch, false).unwrap(), &case.logits.concat());
        tch::manual_seed(1);
        let (first, second) = (model.logits(&batch, true), model.logits(&batch, true));
        assert_ne!(first.unwrap(), second.unwrap(), "{name}");
    }
}

#[test]
fn a_small_transformer_is_complete_in_its_run_folder() {
    let folder = fixtures().join("families/roberta");
    let from = TransformerConfig::from_folder(&folder, &[1], 16, 0.1).unwrap();
    let family = Family::Transformer(Box::new(from.config));
    assert_eq!(family.to_string(), "transformer, roberta, 1 layers x 32, mean pooling");
    let (student, loaded) = saved_and_loaded(family, from.tokenizer, from.initial);
    assert_same_answers("roberta", &student, &loaded);
}

#[test]
fn a_fresh_transformer_reads_any_tokenizer_and_is_complete_in_its_run_folder() {
    let sizes = EncoderSizes { layers: Some(1), hidden: Some(16), ..EncoderSizes::default() };
    for (name, shown) in [("bert/with_pooler", "bert"), ("families/roberta", "roberta")] {
        let folder = fixtures().join(name);
        for tokenizer in [words(), Tokenizer::from_folder(&folder, 16).unwrap()] {
            let config = TransformerConfig::described(&folder, sizes, &tokenizer, 16, 0.1).unwrap();
            assert_eq!(config.encoder["vocab_size"], tokenizer.vocabulary_size());
            let family = Family::Transformer(Box::new(config));
            let said = format!("transformer, {shown}, 1 layers x 16, mean pooling");
            assert_eq!(family.to_string(), said);
            let (student, loaded) = saved_and_loaded(family, tokenizer, Initial::default());
            assert_same_answers(name, &student, &loaded);
        }
    }
}

#[test]
fn word_vectors_fill_a_table_and_words_without_one_are_as_spread_out() {
    let path = fixtures().join("vectors/glove.txt");
    let vectors = read_vectors(&path, None, ["the", "film", "电影"]).unwrap();
    let words: Vec<String> = ["[PAD]", "the", "电影", "unheard"].map(str::to_owned).to_vec();
    let table = WordTable::from_vectors(&vectors, &words, &[0], 7).unwrap();
    assert_eq!(table.covered, [false, true, true, false]);
    let both = table.initial(Channels::Both).0;
    assert_eq!(both.len(), 2);
    let values = &both["embedding.static"];
    assert_eq!(values, &both["embedding.weight"]);
    assert_eq!(Vec::<f32>::try_from(values.get(1)).unwrap(), vectors.get("the").unwrap());
    assert_eq!(Vec::<f32>::try_from(values.get(0)).unwrap(), [0.0; 4]);
    let bound = (3.0 * vectors.variance()).sqrt();
    let drawn = Vec::<f32>::try_from(values.get(3)).unwrap();
    assert!(drawn.iter().all(|&value| value != 0.0 && f64::from(value.abs()) <= bound));
    let again = WordTable::from_vectors(&vectors, &words, &[0], 7).unwrap();
    assert_eq!(again.initial(Channels::Static).0["embedding.static"], *values);
}

#[test]
fn static_vectors_are_not_trained_and_not_counted_but_saved() {
    let tokenizer = words();
    let mut case = expected().cases.remove("bilstm_both").unwrap();
    case.config.table_mut().unwrap().vocabulary = tokenizer.vocabulary_size() as i64;
    let mut tuned = case.config.clone();
    tuned.table_mut().unwrap().channels = Channels::Static;
    let (both, _) = saved_and_loaded(case.config, tokenizer.clone(), Initial::default());
    let (fixed, loaded) = saved_and_loaded(tuned, tokenizer, Initial::default());
    fixed.parameters().set_trainable(|_| true).unwrap();
    let trained = |student: &Student, name: &str| {
        student.parameters().iter().any(|(n, tensor)| n == name && tensor.requires_grad())
    };
    assert!(!trained(&fixed, "embedding.static") && trained(&fixed, "output.bias"));
    assert!(loaded.parameters().iter().any(|(name, _)| name == "embedding.static"));
    both.parameters().set_trainable(|_| true).unwrap();
    assert!(!trained(&both, "embedding.static") && trained(&both, "embedding.weight"));
    assert!(both.parameter_count() > fixed.parameter_count());
}

#[test]
fn an_encoders_embeddings_are_projected_on_their_principal_axes() {
    // Variances 2 along the first axis and 1/2 along the second; one component is the first coordinate, and
    // its values have the standard deviation √2.
    let table = tensor_of(&[3f32, 5.0, -1.0, 5.0, 1.0, 6.0, 1.0, 4.0]).view([4, 2]);
    let found = Vec::<f32>::try_from(projected(&table, 1).unwrap().flatten(0, 1)).unwrap();
    for (found, expected) in found.iter().zip([2f32.sqrt(), -2f32.sqrt(), 0.0, 0.0]) {
        assert!((found - expected).abs() < 1e-6, "{found}, {expected}");
    }
    let folder = fixtures().join("families/roberta");
    let tokenizer = Tokenizer::from_folder(&folder, 16).unwrap();
    let rows = tokenizer.vocabulary_size();
    let table = WordTable::projected(&folder, rows, 8).unwrap();
    assert_eq!(table.width().unwrap(), 8);
    let values = &table.initial(Channels::Tuned).0["embedding.weight"];
    assert_eq!(values.size(), [rows as i64, 8]);
    assert!((values.std(false).double_value(&[]) - 1.0).abs() < 1e-5);
    let error = WordTable::projected(Path::new(&folder), rows, 64).unwrap_err().to_string();
    assert!(error.contains("--embedding 64 is wider"), "{error}");
}
