//! Losses and optimizers against PyTorch; fixtures by `tests/fixtures/make_losses.py`, `make_cross_entropy.py` and
//! `make_optimizers.py`.

mod checkpoints;
mod losses;

use serde::Deserialize;
use tch::{Kind, Tensor};

use super::{ClassWeights, CrossEntropy, Gradient, Optimizer, OptimizerKind, clip_by_norm};
use crate::testing::{device, tensor_of};

fn tensor(rows: &[Vec<f64>]) -> Tensor {
    tensor_of(&rows.concat()).view([rows.len() as i64, rows[0].len() as i64])
}

fn difference(a: &Tensor, b: &Tensor) -> f64 {
    (a - b).abs().max().double_value(&[])
}

#[derive(Deserialize)]
struct Optimizers {
    start: Vec<Vec<f64>>,
    gradients: Vec<Vec<Vec<f64>>>,
    cases: Vec<OptimizerCase>,
}

#[derive(Deserialize)]
struct OptimizerCase {
    optimizer: String,
    lr: f64,
    momentum: Option<f64>,
    weight_decay: Option<f64>,
    rho: Option<f64>,
    after: Vec<Vec<Vec<f64>>>,
}

fn optimizers() -> Optimizers {
    serde_json::from_str(include_str!("../../tests/fixtures/optimizers.json")).unwrap()
}

impl OptimizerCase {
    fn kind(&self) -> OptimizerKind {
        match self.optimizer.as_str() {
            "sgd" | "sgd-momentum" => OptimizerKind::Sgd { momentum: self.momentum.unwrap_or(0.0) },
            "adam" => OptimizerKind::Adam,
            "adamw" => OptimizerKind::AdamW { weight_decay: self.weight_decay.unwrap() },
            "adadelta" => OptimizerKind::Adadelta { rho: self.rho.unwrap() },
            other => panic!("unknown optimizer {other}"),
        }
    }
}

/// A few units in the last place of float32 at the parameters' size.
const ROUNDING: f64 = 1e-6;

#[test]
fn every_optimizer_takes_the_steps_of_pytorch() {
    let fixture = optimizers();
    for case in &fixture.cases {
        let p = tensor(&fixture.start).to_kind(Kind::Float).set_requires_grad(true);
        let mut optimizer = Optimizer::new(case.kind(), std::iter::once(("p", &p)));
        for (gradient, after) in fixture.gradients.iter().zip(&case.after) {
            let gradient = Gradient::Dense(tensor(gradient).to_kind(Kind::Float));
            optimizer.step(&[gradient], case.lr).unwrap();
            let found = p.detach().to_kind(Kind::Double);
            assert!(difference(&found, &tensor(after)) < ROUNDING, "{}", case.optimizer);
        }
    }
}

#[test]
fn a_running_average_changes_places_with_the_weights_and_back() {
    let p = Tensor::zeros([1], (Kind::Float, device())).set_requires_grad(true);
    let kind = OptimizerKind::Sgd { momentum: 0.0 };
    let mut optimizer = Optimizer::new(kind, std::iter::once(("p", &p))).with_average(0.99);
    let value = || p.double_value(&[0]);
    optimizer.swap_average().unwrap();
    for _ in 0..16 {
        // After n steps p is n.
        let gradient = Gradient::Dense(-Tensor::ones([1], (Kind::Float, device())));
        optimizer.step(&[gradient], 1.0).unwrap();
    }
    optimizer.swap_average().unwrap();
    // It begins with step 8; at step 16 the decay is min(0.99, 17/26), eight times.
    let decay = (17.0f64 / 26.0).powi(8);
    assert!((value() - (decay * 8.0 + (1.0 - decay) * 16.0)).abs() < 1e-5, "{}", value());
    optimizer.swap_average().unwrap();
    assert!((value() - 16.0).abs() < 1e-6);
}

#[test]
fn a_sparse_gradient_moves_its_rows_as_a_dense_one_would_and_no_others() {
    let fixture = optimizers();
    for case in &fixture.cases {
        let start = tensor(&fixture.start).to_kind(Kind::Float);
        let sparse = start.copy().set_requires_grad(true);
        let dense = start.narrow(0, 0, 2).copy().set_requires_grad(true);
        let mut on_sparse = Optimizer::new(case.kind(), std::iter::once(("p", &sparse)));
        let mut on_dense = Optimizer::new(case.kind(), std::iter::once(("p", &dense)));
        let rows = tensor_of(&[0i64, 1]);
        for gradient in &fixture.gradients {
            let values = tensor(gradient).to_kind(Kind::Float).narrow(0, 0, 2);
            let gradient =
                Gradient::Rows { rows: rows.shallow_clone(), values: values.shallow_clone() };
            on_sparse.step(&[gradient], case.lr).unwrap();
            on_dense.step(&[Gradient::Dense(values)], case.lr).unwrap();
        }
        assert!(difference(&sparse.narrow(0, 0, 2), &dense) < 1e-12, "{}", case.optimizer);
        assert!(difference(&sparse.get(2), &start.get(2)) == 0.0, "{}", case.optimizer);
    }
}

#[test]
fn a_gradient_may_lie_in_memory_in_another_order_than_its_parameter() {
    let fixture = optimizers();
    for case in &fixture.cases {
        let start = tensor(&fixture.start).to_kind(Kind::Float);
        let [expected, found] = [false, true].map(|transposed| {
            let p = start.copy().set_requires_grad(true);
            let mut optimizer = Optimizer::new(case.kind(), std::iter::once(("p", &p)));
            for gradient in &fixture.gradients {
                let gradient = tensor(gradient).to_kind(Kind::Float);
                let gradient = if transposed { gradient.tr().contiguous().tr() } else { gradient };
                optimizer.step(&[Gradient::Dense(gradient)], case.lr).unwrap();
            }
            p.detach()
        });
        assert!(difference(&found, &expected) < ROUNDING, "{}", case.optimizer);
    }
}

#[test]
fn clipping_scales_all_gradients_by_their_joint_norm() {
    // Norms 3 and 4 make 5.
    let gradients = [
        Gradient::Dense(tensor_of(&[3.0f32, 0.0])),
        Gradient::Rows { rows: tensor_of(&[7i64]), values: tensor_of(&[0.0f32, 4.0]) },
        Gradient::Absent,
    ];
    let before = clip_by_norm(&gradients, 1.0).unwrap();
    assert!((before - 5.0).abs() < 1e-6);
    assert!(difference(gradients[0].values().unwrap(), &tensor_of(&[0.6f32, 0.0])) < 1e-6);
    assert!(difference(gradients[1].values().unwrap(), &tensor_of(&[0.0f32, 0.8])) < 1e-6);
    let unchanged = clip_by_norm(&gradients, 1.0).unwrap();
    assert!((unchanged - 1.0).abs() < 1e-6);
}

#[derive(Deserialize)]
struct CrossEntropies {
    logits: Vec<Vec<f64>>,
    labels: Vec<i64>,
    balanced: Vec<f64>,
    balanced_without_class_1: Vec<Option<f64>>,
    cases: Vec<CrossEntropyCase>,
}

#[derive(Deserialize)]
struct CrossEntropyCase {
    weights: Option<Vec<f64>>,
    smoothing: f64,
    value: f64,
    gradient: Vec<Vec<f64>>,
}

fn cross_entropies() -> CrossEntropies {
    serde_json::from_str(include_str!("../../tests/fixtures/cross_entropy.json")).unwrap()
}

impl CrossEntropyCase {
    fn loss(&self) -> CrossEntropy {
        CrossEntropy::new(self.weights.clone(), self.smoothing, device()).unwrap()
    }
}

fn indices(labels: &[i64]) -> impl Iterator<Item = usize> {
    labels.iter().map(|&label| label as usize)
}

#[test]
fn weighted_and_smoothed_cross_entropy_and_its_gradient_agree_with_pytorch() {
    let fixture = cross_entropies();
    assert_eq!(fixture.cases.len(), 9);
    for case in &fixture.cases {
        let logits = tensor(&fixture.logits).to_kind(Kind::Float).set_requires_grad(true);
        let loss = case.loss();
        let sum = loss.sum(&logits, &tensor_of(&fixture.labels)).unwrap();
        let mean = sum / loss.weight(indices(&fixture.labels));
        assert!((mean.double_value(&[]) - case.value).abs() < ROUNDING, "{:?}", case.weights);
        mean.backward();
        let gradient = tensor(&case.gradient);
        assert!(difference(&logits.grad(), &gradient) < ROUNDING, "{:?}", case.weights);
    }
}

#[test]
fn balanced_class_weights_are_those_of_scikit_learn() {
    let fixture = cross_entropies();
    let close = |found: f64, expected: f64| (found - expected).abs() < 1e-12;
    let balanced = ClassWeights::Balanced.of(&[2, 1, 3, 1]).unwrap();
    assert!(balanced.iter().zip(&fixture.balanced).all(|(&a, &b)| close(a, b)), "{balanced:?}");
    // scikit-learn has no weight for a class without examples.
    let absent = ClassWeights::Balanced.of(&[3, 0, 1, 2]).unwrap();
    let expected = fixture.balanced_without_class_1.iter().map(|weight| weight.unwrap_or(0.0));
    assert!(absent.iter().zip(expected).all(|(&a, b)| close(a, b)), "{absent:?}");
}

#[test]
fn class_weights_are_balanced_or_one_positive_number_for_each_label() {
    assert_eq!("balanced".parse(), Ok(ClassWeights::Balanced));
    assert_eq!("1, 2.5".parse(), Ok(ClassWeights::Given(vec![1.0, 2.5])));
    for wrong in ["", "1,,2", "1,0", "1,-2", "1,nan", "inf", "even"] {
        assert!(wrong.parse::<ClassWeights>().is_err(), "{wrong}");
    }
    let two = ClassWeights::Given(vec![1.0, 2.0]);
    assert_eq!(two.of(&[5, 5, 5]), Err("2 weights for 3 labels".to_owned()));
}

/// A word table and a matrix on it; the loss of labelled words.
struct Words {
    table: Tensor,
    output: Tensor,
    optimizer: Optimizer,
}

impl Words {
    fn new() -> Self {
        let fresh = |shape: [i64; 2], last: i64| {
            let values = Tensor::arange(shape[0] * shape[1], (Kind::Float, device()));
            (values.remainder(last).view(shape) / 10.0).set_requires_grad(true)
        };
        let (table, output) = (fresh([9, 4], 7), fresh([4, 3], 5));
        let adamw = OptimizerKind::AdamW { weight_decay: 0.01 };
        let parameters = [("output", &output), ("table", &table)];
        let optimizer = Optimizer::new(adamw, parameters.into_iter());
        Self { table, output, optimizer }
    }

    fn gradients(
        &self,
        loss: &CrossEntropy,
        words: &[i64],
        labels: &[i64],
        by: f64,
    ) -> Vec<Gradient> {
        let words = Tensor::embedding(&self.table, &tensor_of(words), -1, false, true);
        let logits = words.matmul(&self.output);
        let sum = loss.sum(&logits, &tensor_of(labels)).unwrap();
        self.optimizer.gradients(&(sum / by)).unwrap()
    }

    fn dense(&self, gradient: &Gradient) -> Tensor {
        match gradient {
            Gradient::Dense(dense) => dense.shallow_clone(),
            Gradient::Rows { rows, values } => {
                self.table.detach().zeros_like().index_copy(0, rows, values)
            }
            Gradient::Absent => panic!("absent"),
        }
    }
}

#[test]
fn gradients_of_unequal_batches_add_up_to_those_of_the_whole() {
    let model = Words::new();
    let (words, labels) = ([1, 3, 3, 8, 1, 0, 5], [0, 2, 1, 1, 0, 2, 2]);
    for weights in [None, Some(vec![0.5, 2.0, 1.5])] {
        let loss = CrossEntropy::new(weights, 0.1, device()).unwrap();
        let by = loss.weight(indices(&labels));
        let whole = model.gradients(&loss, &words, &labels, by);
        let sum = [0..3, 3..6, 6..7]
            .into_iter()
            .map(|part| model.gradients(&loss, &words[part.clone()], &labels[part], by))
            .reduce(|sum, more| model.optimizer.sum(sum, more).unwrap());
        for (sum, whole) in sum.unwrap().iter().zip(&whole) {
            assert!(difference(&model.dense(sum), &model.dense(whole)) < ROUNDING);
        }
        let Gradient::Rows { rows, .. } = &whole[1] else { panic!("the table's is not sparse") };
        assert_eq!(rows.size(), [5], "words 0, 1, 3, 5, 8");
    }
}

#[test]
fn a_parameter_with_half_the_rate_moves_as_under_half_the_learning_rate() {
    let (half, whole) = (Words::new(), Words::new());
    let mut half = Words {
        optimizer: half.optimizer.with_rates(|name| if name == "table" { 0.5 } else { 1.0 }),
        ..half
    };
    let mut whole = whole;
    let loss = CrossEntropy::new(None, 0.0, device()).unwrap();
    let gradients = whole.gradients(&loss, &[1, 2], &[0, 1], 2.0);
    half.optimizer.step(&gradients, 0.2).unwrap();
    whole.optimizer.step(&gradients, 0.1).unwrap();
    assert!(difference(&half.table, &whole.table) < 1e-12);
    assert!(difference(&half.output, &whole.output) > 0.05);
}
