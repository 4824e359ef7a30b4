//! Checkpoints against the optimizer that wrote them.

use std::fs;

use serde::{Deserialize, Serialize};
use serde_json::json;
use tch::{Kind, Tensor};

use super::{
    super::{Checkpoint, CrossEntropy, Optimizer, OptimizerKind, Settings, step_seed},
    Words,
};
use crate::testing::device;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Position {
    step: usize,
}

fn settings(lr: f64) -> Settings {
    let settings = json!({"lr": lr, "seed": 1});
    settings.as_object().unwrap().clone()
}

#[test]
fn a_training_from_a_checkpoint_takes_the_same_steps_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = Checkpoint::new(folder.path().join("checkpoint"), settings(0.1));
    let loss = CrossEntropy::new(None, 0.0, device()).unwrap();
    let step = |model: &mut Words, word: i64| {
        let gradients = model.gradients(&loss, &[word, 4], &[0, 1], 2.0);
        model.optimizer.step(&gradients, 0.1).unwrap();
    };
    let mut uninterrupted = Words::new();
    assert!(!checkpoint.exists());
    checkpoint.write(&uninterrupted.optimizer, &Position { step: 0 }).unwrap();
    for word in 0..3 {
        step(&mut uninterrupted, word);
    }
    checkpoint.write(&uninterrupted.optimizer, &Position { step: 3 }).unwrap();

    let mut resumed = Words::new();
    let position: Position = checkpoint.resume(&mut resumed.optimizer).unwrap();
    assert_eq!(position, Position { step: 3 });
    for word in 3..6 {
        step(&mut uninterrupted, word);
        step(&mut resumed, word);
    }
    assert!(resumed.table.equal(&uninterrupted.table));
    assert!(resumed.output.equal(&uninterrupted.output));
    checkpoint.remove().unwrap();
    assert!(!checkpoint.exists());
}

#[test]
fn a_checkpoint_that_cannot_be_gone_on_from_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint");
    let model = Words::new();
    let checkpoint = Checkpoint::new(path.clone(), settings(0.1));
    checkpoint.write(&model.optimizer, &Position { step: 0 }).unwrap();
    let said = |settings, optimizer: &mut Optimizer| {
        let checkpoint = Checkpoint::new(path.clone(), settings);
        checkpoint.resume::<Position>(optimizer).unwrap_err().to_string()
    };

    let other = said(settings(0.2), &mut Words::new().optimizer);
    assert!(other.contains("\n  lr: 0.1, now 0.2") && !other.contains("seed"), "{other}");
    let mut fewer = json!({"seed": 1, "epochs": 3}).as_object().unwrap().clone();
    let absent = said(std::mem::take(&mut fewer), &mut Words::new().optimizer);
    assert!(absent.contains("lr: 0.1, now absent\n  epochs: absent, now 3"), "{absent}");

    let table = Tensor::zeros([9, 5], (Kind::Float, device())).set_requires_grad(true);
    let parameters = [("table", &table)];
    let mut other = Optimizer::new(OptimizerKind::Adam, parameters.into_iter());
    let shape = said(settings(0.1), &mut other);
    assert!(shape.contains("value/table: expected shape [9, 5], found [9, 4]"), "{shape}");

    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    let cut = said(settings(0.1), &mut Words::new().optimizer);
    assert!(cut.contains("checkpoint: the checkpoint cannot be read"), "{cut}");
}

#[test]
fn every_batch_of_every_seed_has_randomness_of_its_own() {
    let mut seeds: Vec<i64> =
        (0..20).flat_map(|seed| (0..50).map(move |batch| step_seed(seed, batch))).collect();
    assert_eq!(seeds[0], step_seed(0, 0));
    seeds.sort_unstable();
    seeds.dedup();
    assert_eq!(seeds.len(), 1000);
}
