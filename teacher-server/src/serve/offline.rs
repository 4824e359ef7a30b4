//! The served model without a server: computes the rows of given texts, to compare stored rows with.

use std::error::Error;

use lectern::{
    text::Tokens,
    wire::{ContentHash, Limits, Row, TeacherCard},
};

use super::{ServeConfig, ServeError, model::Model};
use crate::store::commands::Recompute;

/// Examples in one forward pass: with texts sorted by length, more is no faster on a CPU.
const BATCH: usize = 16;

/// See the module.
#[derive(Debug)]
pub struct Offline {
    model: Model,
    card: TeacherCard,
    batch: usize,
}

impl Offline {
    /// Loads what a server of `config` would answer with, onto its first device.
    pub fn load(config: &ServeConfig) -> Result<Self, ServeError> {
        tch::set_num_threads(config.threads as i32);
        let device = config.devices.first().ok_or(ServeError::NoDevice)?;
        let model = Model::load(config, *device)?;
        let card = model.card(Limits::default())?;
        Ok(Self { model, card, batch: if config.pinned { 1 } else { BATCH } })
    }
}

impl Recompute for Offline {
    fn card(&self) -> &TeacherCard {
        &self.card
    }

    fn rows(
        &self,
        texts: &[(&str, Option<&str>)],
    ) -> Result<Vec<Row>, Box<dyn Error + Send + Sync>> {
        let reader = self.model.reader();
        let read = |&(text, pair): &(&str, Option<&str>)| reader.read(text, pair);
        let tokens = texts.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        // Texts of one length stand together, so that little is padded.
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|&i| tokens[i].iter().map(Tokens::len).max());
        let mut rows: Vec<(usize, Row)> = Vec::with_capacity(texts.len());
        let preparer = self.model.preparer();
        for batch in order.chunks(self.batch) {
            let examples: Vec<&[Tokens]> = batch.iter().map(|&i| &*tokens[i]).collect();
            let values = self.model.predict(&preparer.prepare(&examples)?)?;
            for (&i, values) in batch.iter().zip(values) {
                let (text, pair) = texts[i];
                let row = Row {
                    content: ContentHash::new(text, pair),
                    logits: values.logits.into(),
                    variance: values.variance.map(Into::into),
                    truncated: tokens[i].iter().any(|tokens| tokens.truncated),
                };
                rows.push((i, row));
            }
        }
        rows.sort_by_key(|(i, _)| *i);
        Ok(rows.into_iter().map(|(_, row)| row).collect())
    }
}
