//! Hard targets of a batch as tensors, and the loss against them that each task has.

use tch::{Device, Kind, Reduction, TchError, Tensor};

use crate::data::{LabelSet, Target, Task};

/// What is true of those `N` examples of a batch of `B` of which it is known, for a model of `C` outputs. The other
/// examples, of text without a label, have no part in a hard loss.
#[derive(Debug)]
pub struct HardTargets {
    task: Task,
    /// Single-label `[N]` int64 classes; multi-label `[N, C]` float32, 1 for a label that applies and else
    /// 0; regression `[N, 1]` float32. Absent when `N` is 0.
    values: Option<Tensor>,
    /// `[N]` int64 positions in the batch; absent when all have a target, in order.
    positions: Option<Tensor>,
}

impl HardTargets {
    /// Of the examples of a batch in order, each with its target of `labels` or without. One that is of another task
    /// counts as none; no reader makes any.
    pub fn new<'a>(
        labels: &LabelSet,
        targets: impl Iterator<Item = Option<&'a Target>>,
        device: Device,
    ) -> Result<Self, TchError> {
        let task = labels.task();
        let of_task = |target: &&Target| match target {
            Target::Label(_) => task == Task::SingleLabel,
            Target::Labels(_) => task == Task::MultiLabel,
            Target::Value(_) => task == Task::Regression,
        };
        let (mut known, mut positions, mut examples): (Vec<&Target>, Vec<i64>, _) =
            (Vec::new(), Vec::new(), 0);
        for target in targets {
            if let Some(target) = target.filter(of_task) {
                known.push(target);
                positions.push(examples);
            }
            examples += 1;
        }
        if known.is_empty() {
            return Ok(Self { task, values: None, positions: None });
        }
        let values = values(labels, &known)?.f_to_device(device)?;
        let positions = if known.len() as i64 == examples {
            None
        } else {
            Some(Tensor::f_from_slice(&positions)?.f_to_device(device)?)
        };
        Ok(Self { task, values: Some(values), positions })
    }

    /// The task's loss of raw outputs `[B, C]`, a scalar, absent when no example has a target; the same as the
    /// `problem_type` of that name has in `transformers`:
    ///
    /// - single-label: `-log softmax(s)_y`, mean over `N`;
    /// - multi-label: binary cross-entropy `-y log σ(s) - (1 - y) log(1 - σ(s))`, mean over `N · C`;
    /// - regression: `(s - y)²`, mean over `N`.
    pub fn loss(&self, outputs: &Tensor) -> Result<Option<Tensor>, TchError> {
        self.smoothed(outputs, 0.0)
    }

    /// The same, single-label with label smoothing `ε`:
    /// `-(1 - ε) · log p_y - ε/C · Σ_c log p_c` for `p = softmax(s)` (Szegedy et al. 2016, arXiv 1512.00567,
    /// section 7). Other tasks have none.
    pub(super) fn smoothed(
        &self,
        outputs: &Tensor,
        smoothing: f64,
    ) -> Result<Option<Tensor>, TchError> {
        let Some(values) = &self.values else { return Ok(None) };
        let outputs = select(outputs, self.positions.as_ref())?;
        let loss = match self.task {
            Task::SingleLabel => cross_entropy(&outputs, values, Reduction::Mean, smoothing)?,
            Task::MultiLabel => {
                binary_cross_entropy(&outputs, &values.f_to_kind(outputs.kind())?, Reduction::Mean)?
            }
            Task::Regression => {
                outputs.f_mse_loss(&values.f_to_kind(outputs.kind())?, Reduction::Mean)?
            }
        };
        Ok(Some(loss))
    }

    /// The mean over `N` of a single-label task's smoothed losses, each times its weight, a scalar.
    ///
    /// - `outputs`: `[B, C]` raw outputs
    /// - `weights`: `[B]`, of the whole batch
    pub(super) fn weighted(
        &self,
        outputs: &Tensor,
        smoothing: f64,
        weights: &Tensor,
    ) -> Result<Option<Tensor>, TchError> {
        let Some(values) = &self.values else { return Ok(None) };
        let positions = self.positions.as_ref();
        let outputs = select(outputs, positions)?;
        let rows = cross_entropy(&outputs, values, Reduction::None, smoothing)?;
        rows.f_mul(&select(weights, positions)?)?.f_mean(None::<Kind>).map(Some)
    }

    /// The classes of a single-label task for the whole batch, `[B]` int64, with -1 where there is none; absent when
    /// no example has one.
    pub(super) fn classes(&self, examples: i64) -> Result<Option<Tensor>, TchError> {
        match (&self.values, &self.positions) {
            (None, _) => Ok(None),
            (Some(values), None) => Ok(Some(values.shallow_clone())),
            (Some(values), Some(positions)) => {
                let none = Tensor::f_full([examples], -1, (Kind::Int64, values.device()))?;
                none.f_index_copy(0, positions, values).map(Some)
            }
        }
    }
}

/// As [`HardTargets`] keeps them; none of `targets` is of another task.
fn values(labels: &LabelSet, targets: &[&Target]) -> Result<Tensor, TchError> {
    match labels.task() {
        Task::SingleLabel => {
            let classes = targets.iter().flat_map(|target| target.labels());
            Tensor::f_from_slice(&classes.map(|&class| class as i64).collect::<Vec<_>>())
        }
        Task::MultiLabel => {
            let mut values = vec![0f32; targets.len() * labels.len()];
            for (row, target) in values.chunks_mut(labels.len()).zip(targets) {
                for &class in target.labels() {
                    row[class] = 1.0;
                }
            }
            Tensor::f_from_slice(&values)?.f_view([-1, labels.len() as i64])
        }
        Task::Regression => {
            let value = |target: &&Target| match target {
                Target::Value(value) => Some(*value),
                Target::Label(_) | Target::Labels(_) => None,
            };
            let values: Vec<f32> = targets.iter().filter_map(value).collect();
            Tensor::f_from_slice(&values)?.f_view([-1, 1])
        }
    }
}

/// The rows at these positions; all of them without any.
pub(super) fn select(rows: &Tensor, positions: Option<&Tensor>) -> Result<Tensor, TchError> {
    match positions {
        None => Ok(rows.shallow_clone()),
        Some(positions) => rows.f_index_select(0, positions),
    }
}

fn cross_entropy(
    outputs: &Tensor,
    classes: &Tensor,
    reduction: Reduction,
    smoothing: f64,
) -> Result<Tensor, TchError> {
    outputs.f_cross_entropy_loss::<Tensor>(classes, None, reduction, -100, smoothing)
}

/// `-y log σ(s) - (1 - y) log(1 - σ(s))` of all elements, for `y` in `[0, 1]`.
pub(super) fn binary_cross_entropy(
    outputs: &Tensor,
    y: &Tensor,
    reduction: Reduction,
) -> Result<Tensor, TchError> {
    outputs.f_binary_cross_entropy_with_logits::<Tensor>(y, None, None, reduction)
}
