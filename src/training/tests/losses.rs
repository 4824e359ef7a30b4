//! Distillation losses against PyTorch, and where they meet their limits; fixture by `make_losses.py`.

use std::collections::BTreeMap;

use serde::Deserialize;
use tch::{Kind, Tensor};

use super::{difference, tensor};
use crate::{
    data::{LabelSet, Target, Task},
    testing::{device, tensor_of},
    training::{Alpha, Balance, HardTargets, Loss, Scheduled, SoftLoss, SoftTargets},
};

/// The losses of one task; `targets` are classes, or a number.
#[derive(Deserialize)]
struct Losses {
    student: Vec<Vec<f64>>,
    teacher: Vec<Vec<f64>>,
    targets: Vec<Vec<f64>>,
    cases: Vec<LossCase>,
}

#[derive(Debug, Deserialize)]
struct LossCase {
    loss: String,
    a: Option<f64>,
    b: Option<f64>,
    alpha: Option<Alpha>,
    first: Option<f64>,
    second: Option<f64>,
    k: Option<usize>,
    temperature: Option<Scheduled>,
    #[serde(default)]
    smoothing: f64,
    #[serde(default)]
    progress: f64,
    /// Examples that have a hard target, where not all have.
    hard: Option<Vec<i64>>,
    /// Examples that have a soft target, where not all have.
    soft: Option<Vec<i64>>,
    value: f64,
    gradient: Vec<Vec<f64>>,
}

impl LossCase {
    fn loss(&self) -> Loss {
        let weights = || (self.first.unwrap(), self.second.unwrap());
        let soft = match self.loss.as_str() {
            "cross-entropy" => None,
            "mse" | "ce-mse" => Some(SoftLoss::Mse),
            "kl" => Some(SoftLoss::Kl),
            "soft-cross-entropy" => Some(SoftLoss::SoftCrossEntropy),
            "reverse-kl" => Some(SoftLoss::ReverseKl),
            "jensen-shannon" => Some(SoftLoss::JensenShannon),
            "dkd" => Some(SoftLoss::Dkd { alpha: weights().0, beta: weights().1 }),
            "dist" => Some(SoftLoss::Dist { beta: weights().0, gamma: weights().1 }),
            "cosine" => Some(SoftLoss::Cosine),
            "top-k-kl" => Some(SoftLoss::TopKKl { k: self.k.unwrap() }),
            "bce" => Some(SoftLoss::Bce),
            "margin-mse" => Some(SoftLoss::MarginMse),
            other => panic!("unknown loss {other}"),
        };
        let balance = match (self.a, self.alpha) {
            (Some(hard), _) => {
                Balance::Weights { hard: hard.into(), soft: self.b.unwrap_or(1.0).into() }
            }
            (None, Some(Alpha::Entropy)) => Balance::Entropy,
            (None, Some(Alpha::Scheduled(alpha))) => Balance::Alpha(alpha),
            (None, None) => Balance::Alpha(0.0.into()),
        };
        let temperature = self.temperature.unwrap_or(1.0.into());
        Loss { soft, balance, temperature, label_smoothing: self.smoothing }
    }
}

impl Losses {
    fn hard(&self, task: Task, known: Option<&[i64]>) -> HardTargets {
        let names = (0..self.student[0].len()).map(|name| name.to_string()).collect();
        let labels = LabelSet::of_task(task, names).unwrap();
        let target = |values: &Vec<f64>| match task {
            Task::SingleLabel => Target::Label(values[0] as usize),
            Task::MultiLabel => {
                Target::Labels(values.iter().map(|&value| value as usize).collect())
            }
            Task::Regression => Target::Value(values[0] as f32),
        };
        let targets: Vec<Target> = self.targets.iter().map(target).collect();
        let known = |i: &i64| known.is_none_or(|known| known.contains(i));
        let targets = (0..).zip(&targets).map(|(i, target)| known(&i).then_some(target));
        HardTargets::new(&labels, targets, device()).unwrap()
    }

    fn soft(&self, known: Option<&[i64]>) -> Option<SoftTargets> {
        let logits = tensor(&self.teacher);
        match known {
            None => Some(SoftTargets { logits, positions: None }),
            Some([]) => None,
            Some(known) => {
                let positions = tensor_of(known);
                let logits = logits.index_select(0, &positions);
                Some(SoftTargets { logits, positions: Some(positions) })
            }
        }
    }
}

fn losses() -> BTreeMap<Task, Losses> {
    serde_json::from_str(include_str!("../../../tests/fixtures/losses.json")).unwrap()
}

#[test]
fn every_loss_and_its_gradient_agree_with_pytorch() {
    let fixture = losses();
    assert_eq!(fixture.keys().copied().collect::<Vec<_>>(), Task::ALL);
    for (task, losses) in &fixture {
        for case in &losses.cases {
            let hard = losses.hard(*task, case.hard.as_deref());
            let soft = losses.soft(case.soft.as_deref());
            let student = tensor(&losses.student).set_requires_grad(true);
            let loss = case.loss();
            let value = loss.value(&student, &hard, soft.as_ref(), case.progress).unwrap();
            let name = format!("{task}, {case:?}");
            assert!(loss.fits(*task), "{name}");
            // float64 on both sides: what is left is the order of sums, and in the fixture that of
            // subtracting probabilities from 1.
            assert!((value.double_value(&[]) - case.value).abs() < 1e-11, "{name}: {value}");
            value.backward();
            assert!(difference(&student.grad(), &tensor(&case.gradient)) < 1e-11, "{name}");
        }
    }
}

/// A loss of one soft part alone, and its gradient.
fn alone(
    soft: SoftLoss,
    student: &[Vec<f64>],
    teacher: &[Vec<f64>],
    t: f64,
    kind: Kind,
) -> (f64, Tensor) {
    let labels = LabelSet::new(vec!["a".to_owned(), "b".to_owned(), "c".to_owned()]).unwrap();
    let first = Target::Label(0);
    let targets = student.iter().map(|_| Some(&first));
    let hard = HardTargets::new(&labels, targets, device()).unwrap();
    let student = tensor(student).to_kind(kind).set_requires_grad(true);
    let soft_targets = SoftTargets { logits: tensor(teacher).to_kind(kind), positions: None };
    let loss = Loss::weighed(soft, 0.0, t);
    let value = loss.value(&student, &hard, Some(&soft_targets), 0.0).unwrap();
    value.backward();
    (value.double_value(&[]), student.grad())
}

const OF_PROBABILITIES: [SoftLoss; 6] = [
    SoftLoss::Kl,
    SoftLoss::ReverseKl,
    SoftLoss::JensenShannon,
    SoftLoss::TopKKl { k: 1 },
    SoftLoss::Dkd { alpha: 1.0, beta: 8.0 },
    SoftLoss::Dist { beta: 1.0, gamma: 1.0 },
];

#[test]
fn a_student_that_agrees_with_its_teacher_has_nothing_to_learn() {
    let teacher = [vec![1.0, -2.0, 0.5], vec![-0.5, 0.25, 3.0]];
    for soft in OF_PROBABILITIES.into_iter().chain([SoftLoss::Cosine, SoftLoss::Mse]) {
        let (value, gradient) = alone(soft, &teacher, &teacher, 2.0, Kind::Double);
        // DIST's correlation of equals is less than 1 by 1e-8 over the product of their norms, here down to 0.002.
        assert!(value.abs() < 1e-5 && gradient.abs().max().double_value(&[]) < 1e-5, "{soft:?}");
    }
}

#[test]
fn logits_far_apart_give_finite_losses_and_gradients() {
    // Probabilities of exp(-2000), which no float64 holds.
    let (student, teacher) = ([vec![1000.0, -1000.0, 0.0]], [vec![-1000.0, 0.0, 1000.0]]);
    for soft in OF_PROBABILITIES.into_iter().chain([SoftLoss::SoftCrossEntropy]) {
        let (value, gradient) = alone(soft, &student, &teacher, 1.0, Kind::Double);
        assert!(value.is_finite(), "{soft:?}: {value}");
        assert!(gradient.isfinite().all().int64_value(&[]) == 1, "{soft:?}: {gradient}");
    }
}

#[test]
fn the_correlation_of_a_constant_row_or_of_a_batch_of_one_is_no_reason_to_move() {
    let (varied, constant) = (vec![1.0, -2.0, 0.5], vec![0.5; 3]);
    let other = vec![0.25, 0.5, -1.0];
    let inter = SoftLoss::Dist { beta: 1.0, gamma: 0.0 };
    let rows = |row: &Vec<f64>| [row.clone(), varied.clone()];
    for (student, teacher) in [(&constant, &other), (&other, &constant)] {
        for (kind, rounding) in [(Kind::Double, 1e-6), (Kind::Float, 1e-5)] {
            let (value, gradient) = alone(inter, &rows(student), &rows(teacher), 1.0, kind);
            // Correlations 0 and 1.
            assert!((value - 0.5).abs() < rounding, "{value}");
            assert!(gradient.get(0).abs().max().double_value(&[]) == 0.0, "{gradient}");
        }
    }
    let intra = SoftLoss::Dist { beta: 0.0, gamma: 1.0 };
    let (value, gradient) = alone(intra, &[varied], &[other], 1.0, Kind::Double);
    assert!(value == 0.0 && gradient.abs().max().double_value(&[]) == 0.0, "{value} {gradient}");
}

#[test]
fn a_margin_of_one_example_is_none() {
    let labels = LabelSet::of_task(Task::Regression, vec!["value".to_owned()]).unwrap();
    let hard = HardTargets::new(&labels, std::iter::once(None), device()).unwrap();
    let soft = SoftTargets { logits: tensor(&[vec![3.0]]), positions: None };
    let loss = Loss::weighed(SoftLoss::MarginMse, 0.0, 1.0);
    let value = loss.value(&tensor(&[vec![1.0]]), &hard, Some(&soft), 0.0).unwrap();
    assert!(value.double_value(&[]) == 0.0);
}

#[test]
fn losses_work_in_the_float32_of_training() {
    let fixture = &losses()[&Task::SingleLabel];
    for case in &fixture.cases {
        let hard = fixture.hard(Task::SingleLabel, case.hard.as_deref());
        let soft = fixture.soft(case.soft.as_deref()).map(|soft| SoftTargets {
            logits: soft.logits.to_kind(Kind::Float),
            positions: soft.positions,
        });
        let student = tensor(&fixture.student).to_kind(Kind::Float).set_requires_grad(true);
        let value = case.loss().value(&student, &hard, soft.as_ref(), case.progress).unwrap();
        assert_eq!(value.kind(), Kind::Float, "{case:?}");
        // Five of float32's seven digits.
        let tolerance = 1e-5 * case.value.max(1.0);
        assert!((value.double_value(&[]) - case.value).abs() < tolerance, "{case:?}");
        value.backward();
        assert!(student.grad().isfinite().all().int64_value(&[]) == 1, "{case:?}");
    }
}
