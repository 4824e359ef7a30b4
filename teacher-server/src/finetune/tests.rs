//! What moves, how fast, and a frozen prefix against the whole forward pass, on a tiny encoder of two layers.

use std::path::Path;

use lectern::{
    data::LabelSet,
    models::{Classifier as _, HeadKind, Pooling, Teacher, TeacherSettings, TokenBatch},
    text::Tokens,
    threads::Pair,
    training::{CrossEntropy, Halves, Optimizer, OptimizerKind, Step},
};
use tch::{Device, Reduction, TchError, Tensor};

use super::{
    config::Trainable,
    freezing::{freeze, rate},
    prefix::PartlyFrozen,
};

fn teacher() -> Teacher {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/bert/encoder_no_pooler");
    let labels = LabelSet::new(vec!["negative".to_owned(), "positive".to_owned()]).unwrap();
    let head = HeadKind::Linear { pooling: Pooling::Mean };
    let settings = TeacherSettings { head, max_length: 32 };
    tch::manual_seed(1);
    Teacher::from_encoder(&folder, labels, settings, Device::Cpu).unwrap()
}

fn trained(teacher: &Teacher) -> Vec<&str> {
    let parameters = teacher.parameters().iter();
    parameters.filter(|(_, tensor)| tensor.requires_grad()).map(|(name, _)| name).collect()
}

#[test]
fn layers_before_the_first_that_moves_are_frozen() {
    let teacher = teacher();
    for (trainable, frozen) in [
        (Trainable::All, 0),
        (Trainable::Layers(2), 0),
        (Trainable::Layers(1), 1),
        (Trainable::Layers(0), 2),
        (Trainable::Tensors(16), 1),
        (Trainable::Tensors(17), 0),
    ] {
        assert_eq!(freeze(&teacher, trainable, false).unwrap(), frozen, "{trainable:?}");
    }
    let three = freeze(&teacher, Trainable::Layers(3), false).unwrap_err().to_string();
    assert!(three.contains("--trainable-layers 3: the encoder has only 2 layers"), "{three}");
    assert!(freeze(&teacher, Trainable::Tensors(1000), false).is_err());
}

#[test]
fn the_last_tensors_are_those_of_the_models_own_order() {
    let teacher = teacher();
    freeze(&teacher, Trainable::Tensors(2), false).unwrap();
    assert_eq!(
        trained(&teacher),
        [
            "bert.encoder.layer.1.output.LayerNorm.bias",
            "bert.encoder.layer.1.output.LayerNorm.weight",
            "classifier.bias",
            "classifier.weight",
        ]
    );
}

#[test]
fn frozen_embeddings_are_the_word_table_alone() {
    let teacher = teacher();
    freeze(&teacher, Trainable::All, true).unwrap();
    let all = teacher.parameters().iter().count();
    assert_eq!(trained(&teacher).len(), all - 1);
    assert!(!trained(&teacher).contains(&"bert.embeddings.word_embeddings.weight"));
}

#[test]
fn rates_fall_from_the_head_to_the_embeddings() {
    let teacher = teacher();
    for (name, expected) in [
        ("classifier.weight", 1.0),
        ("bert.encoder.layer.1.output.dense.weight", 0.5),
        ("bert.encoder.layer.0.attention.self.query.bias", 0.25),
        ("bert.embeddings.word_embeddings.weight", 0.125),
        ("bert.embeddings.LayerNorm.weight", 0.125),
    ] {
        assert!((rate(&teacher, 0.5, name) - expected).abs() < 1e-15, "{name}");
    }
}

/// Three distinct texts of unequal lengths and one of them again.
fn texts(teacher: &Teacher) -> Vec<Tokens> {
    let texts = ["the film is dull", "a great story of a great cast", "play", "the film is dull"];
    texts.iter().map(|text| teacher.tokenizer().encode(text, None).unwrap()).collect()
}

/// The loss and the gradient of every trained parameter.
fn loss_and_gradients(teacher: &Teacher, logits: &Tensor) -> (f64, Vec<Tensor>) {
    let labels = Tensor::from_slice(&[0i64, 1, 1, 0]);
    let loss = logits.cross_entropy_loss::<Tensor>(&labels, None, Reduction::Mean, -100, 0.0);
    let parameters = teacher.parameters().iter().map(|(_, tensor)| tensor);
    let trained: Vec<&Tensor> = parameters.filter(|tensor| tensor.requires_grad()).collect();
    (loss.double_value(&[]), Tensor::run_backward(&[&loss], &trained, false, false))
}

#[test]
fn a_kept_prefix_changes_no_loss_and_no_gradient() {
    let teacher = teacher();
    for trainable in [Trainable::Layers(1), Trainable::Layers(0), Trainable::Tensors(2)] {
        let frozen = freeze(&teacher, trainable, false).unwrap();
        let texts = texts(&teacher);
        let examples: Vec<&Tokens> = texts.iter().collect();
        let batch = TokenBatch::new(&examples, Device::Cpu).unwrap();
        let (whole, expected) =
            loss_and_gradients(&teacher, &teacher.forward(&batch, 0.0).unwrap());
        for budget in [usize::MAX, 0] {
            let model = PartlyFrozen::new(&teacher, frozen, &examples, budget).unwrap();
            let (loss, gradients) =
                loss_and_gradients(&teacher, &model.pass(&examples).unwrap().logits(0.0).unwrap());
            // The same sums over batches of other shapes: float32's last bits.
            assert!((loss - whole).abs() < 1e-6, "{trainable:?}");
            for (a, b) in gradients.iter().zip(&expected) {
                assert!((a - b).abs().max().double_value(&[]) < 1e-6, "{trainable:?}");
            }
        }
    }
}

/// The step of a batch of four texts, whole or cut in two, with dropout `p`.
fn step(teacher: &Teacher, pair: &Pair, p: f64) -> Step {
    let parameters = teacher.parameters().iter();
    let optimizer = Optimizer::new(OptimizerKind::AdamW { weight_decay: 0.0 }, parameters);
    let (texts, labels) = (texts(teacher), [0i64, 1, 1, 0]);
    let job = |rows: Vec<usize>| {
        let tokens: Vec<&Tokens> = rows.iter().map(|&i| &texts[i]).collect();
        let labels: Vec<i64> = rows.iter().map(|&i| labels[i]).collect();
        let (teacher, batch) = (teacher.clone(), TokenBatch::new(&tokens, Device::Cpu).unwrap());
        Ok::<_, TchError>(move || {
            let sum = CrossEntropy::new(None, 0.0, Device::Cpu)?
                .sum(&teacher.forward(&batch, p).unwrap(), &Tensor::from_slice(&labels))?;
            sum.f_div_scalar(4.0)
        })
    };
    let part = Halves::of(pair, &[0, 1, 2, 3], job);
    Step::sum_of_halves(&optimizer, pair, [part], (7, 0), 1e9).unwrap()
}

#[test]
fn halves_add_up_to_the_whole() {
    let teacher = teacher();
    freeze(&teacher, Trainable::All, false).unwrap();
    let whole = step(&teacher, &Pair::none(), 0.0);
    let halves = step(&teacher, &Pair::hire(2), 0.0);
    assert!((whole.loss - halves.loss).abs() < 1e-6);
    assert_eq!(whole.gradients.len(), halves.gradients.len());
    for (a, b) in whole.gradients.iter().zip(&halves.gradients) {
        let (a, b) = (a.values().unwrap(), b.values().unwrap());
        // The same sums in another order: float32's last bits.
        assert!((a - b).abs().max().double_value(&[]) < 1e-6);
    }
}

#[test]
fn the_dropout_of_halves_is_a_function_of_seed_and_place() {
    let teacher = teacher();
    freeze(&teacher, Trainable::All, false).unwrap();
    let pair = Pair::hire(2);
    let (once, again) = (step(&teacher, &pair, 0.5), step(&teacher, &pair, 0.5));
    assert_eq!(once.loss.to_bits(), again.loss.to_bits());
    for (a, b) in once.gradients.iter().zip(&again.gradients) {
        assert!(a.values().unwrap().equal(b.values().unwrap()));
    }
    assert_ne!(once.loss.to_bits(), step(&teacher, &pair, 0.0).loss.to_bits());
}

#[test]
fn frozen_layers_see_each_distinct_example_once_in_all_epochs_and_evaluations() {
    let teacher = teacher();
    let frozen = freeze(&teacher, Trainable::Layers(1), false).unwrap();
    let texts = texts(&teacher);
    let examples: Vec<&Tokens> = texts.iter().collect();
    let model = PartlyFrozen::new(&teacher, frozen, &examples, 1 << 20).unwrap();
    for _epoch in 0..3 {
        let _logits = model.pass(&examples).unwrap().logits(0.1).unwrap();
        model.predict(&examples).unwrap();
    }
    assert_eq!(model.computed(), 3);
}

#[test]
fn what_does_not_fit_the_budget_is_computed_with_every_batch() {
    let teacher = teacher();
    let frozen = freeze(&teacher, Trainable::Layers(1), false).unwrap();
    let texts = texts(&teacher);
    let examples: Vec<&Tokens> = texts.iter().collect();
    // The longest text alone: 32 floats and two ids for each token.
    let longest = texts.iter().map(Tokens::len).max().unwrap();
    let model = PartlyFrozen::new(&teacher, frozen, &examples, longest * (32 * 4 + 16)).unwrap();
    assert_eq!(model.computed(), 1);
    let _logits = model.pass(&examples).unwrap().logits(0.0).unwrap();
    assert_eq!(model.computed(), 1 + 3);
}
