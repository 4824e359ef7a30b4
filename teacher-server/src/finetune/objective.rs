//! What training lowers: the task's loss over the examples of a step, in parts that add up to the mean over all of them.

use anyhow::{Context as _, anyhow};
use lectern::{
    data::{Example, LabelSet, Target, Task},
    training::{CrossEntropy, HardTargets},
};
use tch::{Device, Tensor};

use super::config::FinetuneConfig;

/// The task's loss. Class weights and label smoothing are of the single-label one alone.
#[derive(Debug, Clone)]
pub(super) struct Objective<'a> {
    labels: &'a LabelSet,
    cross_entropy: CrossEntropy,
    device: Device,
}

impl<'a> Objective<'a> {
    /// As configured, for these training examples.
    pub(super) fn new(
        config: &FinetuneConfig,
        labels: &'a LabelSet,
        examples: &[Example],
    ) -> anyhow::Result<Self> {
        let weights = config.class_weights.as_ref().map(|weights| {
            let mut counts = vec![0; labels.len()];
            classes(examples.iter()).for_each(|class| counts[class] += 1);
            weights.of(&counts).map_err(|cause| {
                anyhow!("--class-weights: {cause}, which are {}", labels.names().join(", "))
            })
        });
        let cross_entropy =
            CrossEntropy::new(weights.transpose()?, config.label_smoothing, config.device)?;
        Ok(Self { labels, cross_entropy, device: config.device })
    }

    /// What examples count together.
    pub(super) fn weight<'e>(&self, examples: impl Iterator<Item = &'e Example>) -> f64 {
        match self.labels.task() {
            Task::SingleLabel => self.cross_entropy.weight(classes(examples)),
            Task::MultiLabel | Task::Regression => examples.count() as f64,
        }
    }

    /// The sum of the examples' losses, each times what it counts; a scalar. `logits` are `[B, C]`.
    pub(super) fn sum(&self, logits: &Tensor, examples: &[&Example]) -> anyhow::Result<Tensor> {
        match self.labels.task() {
            Task::SingleLabel => {
                let classes: Vec<i64> =
                    classes(examples.iter().copied()).map(|class| class as i64).collect();
                let classes = Tensor::f_from_slice(&classes)?.f_to_device(self.device)?;
                Ok(self.cross_entropy.sum(logits, &classes)?)
            }
            Task::MultiLabel | Task::Regression => {
                let targets = examples.iter().map(|example| example.target.as_ref());
                let targets = HardTargets::new(self.labels, targets, self.device)?;
                let mean = targets.loss(logits)?.context("a batch without a hard target")?;
                mean.f_mul_scalar(examples.len() as f64).context("cannot weigh the loss")
            }
        }
    }
}

fn classes<'e>(examples: impl Iterator<Item = &'e Example>) -> impl Iterator<Item = usize> {
    examples.filter_map(|example| match example.target {
        Some(Target::Label(class)) => Some(class),
        _ => None,
    })
}
