//! The loss of a batch: what its texts hide, as tensors, against what the model says of it.
//!
//! `B` examples, `T` tokens, `P` the most tokens to predict in one, `N` tokens to predict in all, `V` vocabulary.

use lectern::{
    models::{
        LanguageModel, MaskedLm, ModelError, Objective, Permutation, PermutationLm, TokenBatch,
    },
    pretraining::{Draw, Masked, Masking, Permuted, Permuting},
    text::{Tokens, Worded},
};
use tch::{Device, Kind, Reduction, Tensor};

use super::config::PretrainConfig;

/// How a model's texts are hidden from it.
#[derive(Debug)]
pub(super) enum Task<'a> {
    Masked(&'a MaskedLm, Masking),
    Permutation(&'a PermutationLm, Permuting),
}

/// A batch of which tokens are hidden, and the model that it is hidden from; for any thread.
#[derive(Debug)]
pub(super) struct Hidden {
    batch: TokenBatch,
    model: Model,
    /// `[N]` places of the tokens to predict, in the flattened `[B, T]` of what is masked and `[B, P]` of targets.
    places: Tensor,
    /// `[N]` these tokens.
    labels: Tensor,
    count: usize,
}

#[derive(Debug)]
enum Model {
    Masked(MaskedLm),
    Permutation(PermutationLm, Permutation),
}

impl<'a> Task<'a> {
    /// What `model` is pre-trained by, as `config` says.
    pub(super) fn new(config: &PretrainConfig, model: &'a LanguageModel) -> Self {
        let mask = model.mask_token();
        match model.objective() {
            Objective::Masked(masked) => {
                let masking = Masking {
                    probability: config.mask_probability,
                    whole_words: !config.mask_pieces,
                    mask,
                    vocabulary: model.tokenizer().vocabulary_size() as i64,
                };
                Self::Masked(masked, masking)
            }
            Objective::Permutation(permuted) => {
                let (probability, max_span) = (config.plm_probability, config.max_span_length);
                Self::Permutation(permuted, Permuting { probability, max_span, mask })
            }
        }
    }

    /// Hides tokens of examples, each as its place in the training says.
    pub(super) fn hide(
        &self,
        examples: &[(&Worded, Draw)],
        device: Device,
    ) -> Result<Hidden, ModelError> {
        match self {
            Self::Masked(model, masking) => {
                let hidden = examples.iter().map(|(text, draw)| masking.apply(text, *draw));
                masked(model, examples, &hidden.collect::<Vec<_>>(), device)
            }
            Self::Permutation(model, permuting) => {
                let hidden = examples.iter().map(|(text, draw)| permuting.apply(text, *draw));
                permuted(model, examples, &hidden.collect::<Vec<_>>(), device)
            }
        }
    }
}

impl Hidden {
    /// `N`, at least 1.
    pub(super) const fn count(&self) -> usize {
        self.count
    }

    /// Cross-entropy in nats, summed over the tokens to predict, with dropout of probability `p` on the way.
    pub(super) fn loss(&self, p: f64) -> Result<Tensor, ModelError> {
        let logits = match &self.model {
            Model::Masked(model) => model.logits(&self.batch, &self.places, p)?,
            Model::Permutation(model, permutation) => {
                let logits = model.logits(&self.batch, permutation, p)?;
                logits.f_flatten(0, 1)?.f_index_select(0, &self.places)?
            }
        };
        let weight: Option<&Tensor> = None;
        Ok(logits.f_cross_entropy_loss(&self.labels, weight, Reduction::Sum, -100, 0.0)?)
    }
}

/// A batch of what the model sees: `ids` in the places of the examples' own.
fn batch(
    examples: &[(&Worded, Draw)],
    ids: impl Iterator<Item = Vec<i64>>,
    device: Device,
) -> Result<TokenBatch, ModelError> {
    let seen = examples.iter().zip(ids);
    let seen: Vec<Tokens> =
        seen.map(|((text, _), ids)| Tokens { ids, ..text.tokens.clone() }).collect();
    TokenBatch::new(&seen.iter().collect::<Vec<_>>(), device)
}

fn integers(values: &[i64], device: Device) -> Result<Tensor, ModelError> {
    Ok(Tensor::f_from_slice(values)?.f_to_device(device)?)
}

fn masked(
    model: &MaskedLm,
    examples: &[(&Worded, Draw)],
    hidden: &[Masked],
    device: Device,
) -> Result<Hidden, ModelError> {
    let batch = batch(examples, hidden.iter().map(|masked| masked.ids.clone()), device)?;
    let width = batch.ids.size2()?.1;
    let mut places = Vec::new();
    for (row, masked) in hidden.iter().enumerate() {
        places.extend(masked.places.iter().map(|&place| row as i64 * width + place as i64));
    }
    let labels: Vec<i64> = hidden.iter().flat_map(|masked| masked.labels.clone()).collect();
    Ok(Hidden {
        batch,
        model: Model::Masked(model.clone()),
        places: integers(&places, device)?,
        labels: integers(&labels, device)?,
        count: places.len(),
    })
}

fn permuted(
    model: &PermutationLm,
    examples: &[(&Worded, Draw)],
    hidden: &[Permuted],
    device: Device,
) -> Result<Hidden, ModelError> {
    let batch = batch(examples, hidden.iter().map(|permuted| permuted.ids.clone()), device)?;
    let width = batch.ids.size2()?.1 as usize;
    let most = hidden.iter().map(|permuted| permuted.places.len()).max().unwrap_or_default();
    // Padding sees everything: nobody sees padding, and nothing is asked of it.
    let mut unseen = vec![false; hidden.len() * width * width];
    let mut targets = vec![0; hidden.len() * most];
    let mut places = Vec::new();
    for (row, permuted) in hidden.iter().enumerate() {
        for place in 0..permuted.ids.len() {
            let start = (row * width + place) * width;
            for (cell, is_hidden) in unseen[start..].iter_mut().zip(permuted.hidden_from(place)) {
                *cell = is_hidden;
            }
        }
        // The rest asks for the first token, and its answer is left out.
        for (i, &place) in permuted.places.iter().enumerate() {
            targets[row * most + i] = place as i64;
            places.push((row * most + i) as i64);
        }
    }
    let (rows, width) = (hidden.len() as i64, width as i64);
    let unseen: Vec<u8> = unseen.into_iter().map(u8::from).collect();
    let unseen = Tensor::f_from_slice(&unseen)?.f_to_kind(Kind::Bool)?.f_to_device(device)?;
    let permutation = Permutation {
        hidden: unseen.f_view([rows, width, width])?,
        targets: integers(&targets, device)?.f_view([rows, most as i64])?,
    };
    let labels: Vec<i64> = hidden.iter().flat_map(|permuted| permuted.labels.clone()).collect();
    Ok(Hidden {
        batch,
        model: Model::Permutation(model.clone(), permutation),
        places: integers(&places, device)?,
        labels: integers(&labels, device)?,
        count: places.len(),
    })
}
