//! The order of training: which examples make up which batch. Who asks for rows and who trains on them both ask here, so
//! they agree.

use std::sync::Arc;

use crate::config::{TrainConfig, TransferCounts};

/// The batches of a run, as indices of its training examples.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    config: Arc<TrainConfig>,
    lengths: Arc<[usize]>,
    counts: TransferCounts,
}

impl Order {
    /// Of training examples of these lengths, so many of each kind.
    pub(crate) fn new(config: &TrainConfig, lengths: Vec<usize>, counts: TransferCounts) -> Self {
        Self { config: Arc::new(config.clone()), lengths: lengths.into(), counts }
    }

    /// How many training examples there are of each kind.
    pub(crate) const fn counts(&self) -> TransferCounts {
        self.counts
    }

    /// Of an epoch, counted from 1.
    pub(crate) fn batches(&self, epoch: usize) -> Vec<Vec<usize>> {
        self.config.batches(&self.lengths, self.counts, epoch)
    }

    /// Of all epochs, but for those of whole `epochs` and `batches` of the next.
    pub(crate) fn after(
        &self,
        (epochs, batches): (usize, usize),
    ) -> impl Iterator<Item = Vec<usize>> + Send + 'static {
        let order = self.clone();
        (epochs + 1..=order.config.epochs).flat_map(move |epoch| order.batches(epoch)).skip(batches)
    }
}
