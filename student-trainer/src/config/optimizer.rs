//! How gradients become steps: the optimizer, its rates, and which weights are kept.

use lectern::{
    commands::{BestBy, Usage},
    data::Task,
    training::OptimizerKind,
};

use super::{OptimizerName, StudentKind, TrainOptions, share};

impl TrainOptions {
    pub(super) fn resolve_optimizer(&mut self) -> Result<OptimizerKind, Usage> {
        let kind = *self.optimizer.get_or_insert(OptimizerName::Adam);
        let only_for = |flag: &str, value: Option<f64>, wanted: OptimizerName, name: &str| {
            if value.is_some() && kind != wanted {
                return Err(Usage(format!("--{flag} belongs to --optimizer {name}")));
            }
            Ok(())
        };
        only_for("momentum", self.momentum, OptimizerName::Sgd, "sgd")?;
        only_for("weight-decay", self.weight_decay, OptimizerName::Adamw, "adamw")?;
        only_for("rho", self.rho, OptimizerName::Adadelta, "adadelta")?;
        Ok(match kind {
            OptimizerName::Sgd => OptimizerKind::Sgd {
                momentum: share("momentum", *self.momentum.get_or_insert(0.0))?,
            },
            OptimizerName::Adam => OptimizerKind::Adam,
            OptimizerName::Adamw => OptimizerKind::AdamW {
                weight_decay: share("weight-decay", *self.weight_decay.get_or_insert(0.01))?,
            },
            OptimizerName::Adadelta => {
                OptimizerKind::Adadelta { rho: share("rho", *self.rho.get_or_insert(0.95))? }
            }
        })
    }

    /// The usual learning rate of each optimizer: of SGD that of the repository HoyTta0/KnowledgeDistillation, of Adadelta
    /// that of its paper. Adam's was better for a BiLSTM at twice that of its paper; a Transformer that begins with trained
    /// layers is fine-tuned, a fresh one has further to go.
    pub(super) fn resolve_lr(&mut self, optimizer: OptimizerKind, student: StudentKind) -> f64 {
        let is_fresh = self.encoder_config.is_some();
        *self.lr.get_or_insert(match (optimizer, student) {
            (OptimizerKind::Sgd { .. }, _) => 0.05,
            (OptimizerKind::Adadelta { .. }, _) => 1.0,
            (_, StudentKind::Transformer) if is_fresh => 5e-4,
            (_, StudentKind::Transformer) => 1e-4,
            _ => 2e-3,
        })
    }

    /// The running average's decay.
    pub(super) fn resolve_average(&self) -> Result<Option<f64>, Usage> {
        let below_one = |decay| {
            match share("ema-decay", decay)? {
            1.0 => Err(Usage(
                "--ema-decay 1: the average would stay at the first weights; choose a number below 1, \
                 as 0.999"
                    .to_owned(),
            )),
            decay => Ok(decay),
        }
        };
        self.ema_decay.map(below_one).transpose()
    }

    /// Whether the number that chooses the best epoch exists for `task`.
    pub(super) fn check_best_by(&self, task: Task) -> Result<(), Usage> {
        match self.best_by {
            Some(best_by) if !best_by.fits(task) => Err(Usage(format!(
                "--best-by: a {task} task has no such score; choose score or loss"
            ))),
            _ => Ok(()),
        }
    }

    pub(super) fn resolve_best_by(&mut self) -> BestBy {
        *self.best_by.get_or_insert(BestBy::Score)
    }
}
