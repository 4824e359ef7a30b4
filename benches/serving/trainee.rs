//! A student that is really trained, so that sharing a teacher is measured beside the work it is for.

use std::sync::Arc;

use anyhow::Result;
use lectern::{
    data::{LabelSet, Target},
    models::{
        Builder, Parameters, TokenBatch,
        bilstm::{BiLstm, BiLstmConfig},
    },
    text::Tokens,
    training::{HardTargets, Loss, Optimizer, OptimizerKind, SoftLoss, SoftTargets},
};
use tch::{Device, Tensor};

/// The BiLSTM of Tang et al. 2019 with its optimizer.
pub(crate) struct Trainee {
    model: BiLstm,
    /// The optimizer's tensors live as long as these.
    _parameters: Parameters,
    optimizer: Optimizer,
    examples: Arc<Vec<Tokens>>,
    labels: LabelSet,
}

impl Trainee {
    /// A student of `examples` with a vocabulary of `words`.
    pub(crate) fn new(examples: Arc<Vec<Tokens>>, words: usize, classes: usize) -> Result<Self> {
        let builder = Builder::fresh(Device::Cpu);
        let model = BiLstm::new(&builder, BiLstmConfig::paper(words as i64), classes, true)?;
        let parameters = builder.finish()?;
        parameters.set_trainable(|_| true)?;
        let sgd = OptimizerKind::Sgd { momentum: 0.0 };
        let optimizer = Optimizer::new(sgd, parameters.iter());
        let labels = LabelSet::new((0..classes).map(|class| class.to_string()).collect())?;
        Ok(Self { model, _parameters: parameters, optimizer, examples, labels })
    }

    /// One step towards the teacher's `rows` of the examples in `batch`.
    pub(crate) fn step(&mut self, batch: &[usize], rows: &[Arc<[f32]>]) -> Result<()> {
        let tokens: Vec<_> = batch.iter().map(|&i| &self.examples[i]).collect();
        let classes = rows.first().map_or(0, |row| row.len() as i64);
        let logits: Vec<f32> = rows.iter().flat_map(|row| row.iter().copied()).collect();
        let logits = Tensor::from_slice(&logits).view([-1, classes]);
        let targets: Vec<_> = batch.iter().map(|&i| Target::Label(i % self.labels.len())).collect();
        let hard = HardTargets::new(&self.labels, targets.iter().map(Some), Device::Cpu)?;
        let soft = SoftTargets { logits, positions: None };
        let output = self.model.traced(&TokenBatch::new(&tokens, Device::Cpu)?)?;
        let loss = Loss::weighed(SoftLoss::Mse, 0.0, 1.0);
        let loss = output.map(|output| loss.value(output, &hard, Some(&soft), 0.0))?;
        let gradients = self.optimizer.gradients(loss)?;
        self.optimizer.step(&gradients, 0.05)?;
        Ok(())
    }
}
