//! Hard targets of a batch as tensors, and the loss against them that each task has.

use tch::{Device, Reduction, TchError, Tensor};

use crate::data::{LabelSet, Target, Task};

/// What is true of a batch of `B` examples, for a model of `C` outputs.
#[derive(Debug)]
pub struct HardTargets {
    task: Task,
    /// Single-label `[B]` int64 classes; multi-label `[B, C]` float32, 1 for a label that applies and else
    /// 0; regression `[B, 1]` float32.
    values: Tensor,
}

impl HardTargets {
    /// Of targets of `labels`; one that is of another task is left out, as no reader makes any.
    pub fn new<'a>(
        labels: &LabelSet,
        targets: impl Iterator<Item = &'a Target>,
        device: Device,
    ) -> Result<Self, TchError> {
        let task = labels.task();
        let values = match task {
            Task::SingleLabel => {
                let class = |target: &Target| match target {
                    Target::Label(class) => Some(*class as i64),
                    _ => None,
                };
                Tensor::f_from_slice(&targets.filter_map(class).collect::<Vec<_>>())?
            }
            Task::MultiLabel => {
                let mut values: Vec<f32> = Vec::new();
                for target in targets {
                    let begin = values.len();
                    values.resize(begin + labels.len(), 0.0);
                    for &class in target.labels() {
                        values[begin + class] = 1.0;
                    }
                }
                Tensor::f_from_slice(&values)?.f_view([-1, labels.len() as i64])?
            }
            Task::Regression => {
                let value = |target: &Target| match target {
                    Target::Value(value) => Some(*value),
                    _ => None,
                };
                let values: Vec<f32> = targets.filter_map(value).collect();
                Tensor::f_from_slice(&values)?.f_view([-1, 1])?
            }
        };
        Ok(Self { task, values: values.f_to_device(device)? })
    }

    /// The task's loss of raw outputs `[B, C]`, a scalar; the same as the `problem_type` of that name has in
    /// `transformers`:
    ///
    /// - single-label: `-log softmax(s)_y`, mean over `B`;
    /// - multi-label: binary cross-entropy `-y log σ(s) - (1 - y) log(1 - σ(s))`, mean over `B · C`;
    /// - regression: `(s - y)²`, mean over `B`.
    pub fn loss(&self, outputs: &Tensor) -> Result<Tensor, TchError> {
        match self.task {
            Task::SingleLabel => outputs.f_cross_entropy_loss::<Tensor>(
                &self.values,
                None,
                Reduction::Mean,
                -100,
                0.0,
            ),
            Task::MultiLabel => {
                binary_cross_entropy(outputs, &self.values.f_to_kind(outputs.kind())?)
            }
            Task::Regression => {
                outputs.f_mse_loss(&self.values.f_to_kind(outputs.kind())?, Reduction::Mean)
            }
        }
    }
}

/// Mean over all elements of `-y log σ(s) - (1 - y) log(1 - σ(s))`, for `y` in `[0, 1]`.
pub(super) fn binary_cross_entropy(outputs: &Tensor, y: &Tensor) -> Result<Tensor, TchError> {
    outputs.f_binary_cross_entropy_with_logits::<Tensor>(y, None, None, Reduction::Mean)
}
