//! A batch with what is known of its examples, as the loss wants it.

use std::sync::Arc;

use anyhow::ensure;
use lectern::training::SoftTargets;
use tch::{Device, Tensor};

use super::state::State;
use crate::{
    config::OnMissing,
    labels::{Missing, Outcome},
};

/// Training examples by index, each with its row or without.
#[derive(Debug, Default)]
pub(super) struct LabelledBatch {
    pub(super) examples: Vec<usize>,
    rows: Vec<Option<Arc<[f32]>>>,
}

impl LabelledBatch {
    /// Decides what happens to examples without a row, and counts them; an error where the policy is to wait for one
    /// that the teacher refuses. Without a teacher no example has a row.
    pub(super) fn new(
        batch: Vec<usize>,
        outcomes: Option<Vec<Outcome>>,
        policy: OnMissing,
        state: &mut State,
        has_hard_label: impl Fn(usize) -> bool,
        refused: impl FnOnce(usize, &Missing) -> anyhow::Error,
    ) -> anyhow::Result<Self> {
        let Some(outcomes) = outcomes else {
            return Ok(Self { rows: vec![None; batch.len()], examples: batch });
        };
        ensure!(
            outcomes.len() == batch.len(),
            "{} rows for {} examples",
            outcomes.len(),
            batch.len()
        );
        let mut labelled = Self::default();
        for (example, outcome) in batch.into_iter().zip(outcomes) {
            match (outcome, policy) {
                (Ok(row), _) => labelled.push(example, Some(row)),
                (Err(_), OnMissing::HardOnly) if has_hard_label(example) => {
                    state.without_soft_label += 1;
                    labelled.push(example, None);
                }
                (Err(_), OnMissing::Skip | OnMissing::HardOnly) => state.left_out += 1,
                (Err(missing), OnMissing::Wait) => return Err(refused(example, &missing)),
            }
        }
        Ok(labelled)
    }

    fn push(&mut self, example: usize, row: Option<Arc<[f32]>>) {
        self.examples.push(example);
        self.rows.push(row);
    }

    /// `[S, C]` of the examples that have a row, and which ones they are; `None` without any.
    pub(super) fn soft_targets(
        &self,
        classes: usize,
        device: Device,
    ) -> anyhow::Result<Option<SoftTargets>> {
        let present: Vec<_> =
            self.rows.iter().enumerate().filter_map(|(i, row)| Some((i, row.as_ref()?))).collect();
        if present.is_empty() {
            return Ok(None);
        }
        let values: Vec<f32> = present.iter().flat_map(|(_, row)| row.iter().copied()).collect();
        let logits = Tensor::f_from_slice(&values)?
            .f_view([present.len() as i64, classes as i64])?
            .f_to_device(device)?;
        let positions = if present.len() == self.rows.len() {
            None
        } else {
            let positions: Vec<i64> = present.iter().map(|&(i, _)| i as i64).collect();
            Some(Tensor::f_from_slice(&positions)?.f_to_device(device)?)
        };
        Ok(Some(SoftTargets { logits, positions }))
    }
}
