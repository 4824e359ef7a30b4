//! Fits a textGCN to the documents whose labels are known, and stops when those held out get no better.

use anyhow::{bail, ensure};
use lectern::{
    commands::Progress,
    training::{Optimizer, OptimizerKind},
};
use tch::{Device, Kind, Reduction, Tensor};
use tracing::info;

use super::model::Gcn;

/// How it is trained; the defaults of the command are the paper's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrainingConfig {
    /// Units of the hidden layer.
    pub hidden: i64,
    /// Probability of dropout.
    pub dropout: f64,
    /// Learning rate of Adam.
    pub lr: f64,
    /// Steps at most; each is of the whole graph.
    pub epochs: usize,
    /// Epochs without a lower validation loss after which it stops.
    pub patience: usize,
    /// Share of the labelled documents that is held out to tell.
    pub validation: f64,
    /// Decides weights, dropout and what is held out.
    pub seed: i64,
}

/// The answers of the epoch with the lowest validation loss.
#[derive(Debug)]
pub(super) struct Trained {
    /// `[documents, C]`, row-major.
    pub(super) logits: Vec<f32>,
    pub(super) epoch: usize,
    /// Mean cross-entropy of the documents held out, in nats.
    pub(super) loss: f64,
}

/// Documents by their place, with their labels.
struct Known {
    places: Tensor,
    labels: Tensor,
}

impl Known {
    fn new(known: &[(i64, i64)], device: Device) -> anyhow::Result<Self> {
        let (places, labels): (Vec<i64>, Vec<i64>) = known.iter().copied().unzip();
        let tensor = |values: &[i64]| Tensor::f_from_slice(values)?.f_to_device(device);
        Ok(Self { places: tensor(&places)?, labels: tensor(&labels)? })
    }

    /// Mean cross-entropy of these documents' rows of `[documents, C]` logits.
    fn loss(&self, logits: &Tensor) -> anyhow::Result<Tensor> {
        let rows = logits.f_index_select(0, &self.places)?;
        Ok(rows.f_cross_entropy_loss::<Tensor>(&self.labels, None, Reduction::Mean, -100, 0.0)?)
    }
}

/// Trains `gcn`; `labels` has a place for every document.
pub(super) fn train(
    gcn: &Gcn,
    labels: &[Option<usize>],
    config: &TrainingConfig,
) -> anyhow::Result<Trained> {
    let device = gcn.device();
    let known: Vec<(i64, i64)> =
        labels.iter().zip(0..).filter_map(|(label, at)| Some((at, (*label)? as i64))).collect();
    let held_out = ((known.len() as f64 * config.validation).round() as usize).max(1);
    ensure!(
        held_out < known.len(),
        "{} labelled documents, of which {held_out} would be held out (--validation); too few to train on",
        known.len()
    );
    let order = Tensor::f_randperm(known.len() as i64, (Kind::Int64, Device::Cpu))?;
    let order = Vec::<i64>::try_from(order)?;
    let shuffled: Vec<_> = order.iter().map(|&at| known[at as usize]).collect();
    let (validation, training) = shuffled.split_at(held_out);
    let validation = Known::new(validation, device)?;
    let training = Known::new(training, device)?;

    let mut optimizer = Optimizer::new(OptimizerKind::Adam, gcn.parameters().into_iter());
    let mut best: Option<Trained> = None;
    let mut progress = Progress::new("textGCN", config.epochs);
    for epoch in 1..=config.epochs {
        let loss = training.loss(&gcn.forward(config.dropout)?)?;
        let value = loss.f_double_value(&[])?;
        ensure!(value.is_finite(), "epoch {epoch}: the loss is {value}; lower --lr");
        let gradients = optimizer.gradients(&loss)?;
        optimizer.step(&gradients, config.lr)?;

        let logits = tch::no_grad(|| gcn.forward(0.0))?;
        let held_out = validation.loss(&logits)?.f_double_value(&[])?;
        ensure!(held_out.is_finite(), "epoch {epoch}: the logits are not finite; lower --lr");
        progress.step(|| format!("loss {value:.4}, held out {held_out:.4}"));
        if best.as_ref().is_none_or(|best| held_out < best.loss) {
            let flat = logits.f_to_device(Device::Cpu)?.f_contiguous()?.f_flatten(0, -1)?;
            best = Some(Trained { logits: Vec::try_from(flat)?, epoch, loss: held_out });
        } else if best.as_ref().is_some_and(|best| epoch - best.epoch >= config.patience) {
            break;
        }
    }
    drop(progress);
    let Some(best) = best else { bail!("--epochs 0 trains nothing") };
    info!(epoch = best.epoch, validation_loss = best.loss, "best epoch kept");
    Ok(best)
}
