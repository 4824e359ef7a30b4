//! What tables of word vectors start from: pretrained vectors, or an encoder's own table made narrower.

use std::{collections::HashMap, path::Path};

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use tch::{Kind, Tensor};

use super::{
    super::{
        ModelError,
        encoder_folder::canonical_names,
        encoders::architecture,
        folder::{malformed, read_json},
        weights::find_weights,
    },
    Channels, Initial, TUNED, UNTRAINED,
};
use crate::text::WordVectors;

/// The first values of a table of word vectors, `[V, E]`.
#[derive(Debug)]
pub struct WordTable {
    values: Tensor,
    /// `[V]` which rows are a pretrained vector.
    pub covered: Vec<bool>,
}

impl WordTable {
    /// The vectors of `words`, row by row. A word without one is drawn uniformly with the variance that the
    /// values of the others have, as Kim 2014 (section 3) does it; the rows of `blank` are zero.
    pub fn from_vectors(
        vectors: &WordVectors,
        words: &[String],
        blank: &[usize],
        seed: u64,
    ) -> Result<Self, ModelError> {
        let width = vectors.width();
        let bound = (3.0 * vectors.variance()).sqrt();
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut values = Vec::with_capacity(words.len() * width);
        let covered = words.iter().map(|word| vectors.get(word).is_some()).collect();
        for (row, word) in words.iter().enumerate() {
            match vectors.get(word) {
                Some(vector) => values.extend_from_slice(vector),
                None if blank.contains(&row) => values.resize(values.len() + width, 0.0),
                None => values.extend((0..width).map(|_| {
                    let share = f64::from(random.next_u32()) / f64::from(u32::MAX);
                    ((2.0 * share - 1.0) * bound) as f32
                })),
            }
        }
        let size = [words.len() as i64, width as i64];
        Ok(Self { values: Tensor::f_from_slice(&values)?.f_view(size)?, covered })
    }

    /// An encoder's `[V, D]` table of word embeddings made `width` wide: centred, turned to its principal
    /// components, of which the first are kept, and scaled to unit variance. Its first `rows` are those of
    /// the folder's tokenizer.
    pub fn projected(folder: &Path, rows: usize, width: i64) -> Result<Self, ModelError> {
        let path = folder.join("config.json");
        let config: Value = read_json(&path)?;
        let architecture = architecture(folder, &config)?;
        let (weights, tensors) = find_weights(folder)?;
        let mut tensors = canonical_names(tensors, architecture.facts().prefix);
        let name = architecture.word_table();
        let table =
            tensors.remove(&name).ok_or_else(|| malformed(&weights, format!("has no {name}")))?;
        let (found, wide) = table.size2()?;
        if width > wide {
            let cause = format!(
                "--embedding {width} is wider than the encoder's own embeddings, {wide}; choose at most that"
            );
            return Err(malformed(&path, cause));
        }
        if (found as usize) < rows {
            let cause = format!("{name} has {found} rows, the tokenizer {rows} ids");
            return Err(malformed(&weights, cause));
        }
        let values = projected(&table.f_narrow(0, 0, rows as i64)?, width)?;
        Ok(Self { values, covered: vec![true; rows] })
    }

    /// `E`.
    pub fn width(&self) -> Result<i64, ModelError> {
        Ok(self.values.size2()?.1)
    }

    /// As the parameters of a student whose table has these channels.
    pub fn initial(&self, channels: Channels) -> Initial {
        let names: &[&str] = match channels {
            Channels::Tuned => &[TUNED],
            Channels::Static => &[UNTRAINED],
            Channels::Both => &[UNTRAINED, TUNED],
        };
        let tensors = names.iter().map(|name| ((*name).to_owned(), self.values.copy()));
        Initial(tensors.collect::<HashMap<_, _>>())
    }
}

/// The first `width` principal components of `[V, D]`, scaled to unit variance over all values: `[V, width]`.
/// The sign of a component is that which makes the sum of its axis positive.
pub fn projected(table: &Tensor, width: i64) -> Result<Tensor, ModelError> {
    let _no_grad = tch::no_grad_guard();
    let table = table.f_to_kind(Kind::Double)?;
    let centred = table.f_sub(&table.f_mean_dim([0i64].as_slice(), true, None)?)?;
    let covariance =
        centred.f_transpose(0, 1)?.f_matmul(&centred)?.f_div_scalar(table.size()[0] as f64)?;
    // Eigenvalues ascend.
    let (_, axes) = covariance.f_linalg_eigh("L")?;
    let axes = axes.f_narrow(1, axes.size()[1] - width, width)?.f_flip([1])?;
    let signs = axes.f_sum_dim_intlist([0i64].as_slice(), true, None)?.f_sign()?;
    // A sum of exactly 0 says nothing.
    let signs = signs.f_add(&signs.f_eq(0.0)?)?;
    let components = centred.f_matmul(&axes.f_mul(&signs)?)?;
    let deviation = components.f_std(false)?.f_clamp_min(f64::MIN_POSITIVE)?;
    Ok(components.f_div(&deviation)?.f_to_kind(Kind::Float)?)
}
