//! `TextCNN` (Kim 2014, arXiv 1408.5882): filters of several widths over word vectors, the maximum of each over
//! time, dropout, class scores. Kim's limit on the norm of the output weights is left out.
//!
//! `B` examples, `T` tokens, `D` numbers of a word, `F` filters of a width, `C` classes.

use std::fmt;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::{
    super::{Builder, Init, ModelError, TokenBatch, dropout::dropout, linear::Linear},
    StudentModel, Table,
    embedding::Embedding,
    family::{init, uniform},
    when,
};

/// Sizes of a `TextCNN`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TextCnnConfig {
    /// `V` and `E`.
    #[serde(flatten)]
    pub table: Table,
    /// Tokens that a filter sees, each width with `F` filters.
    pub widths: Vec<i64>,
    /// `F`.
    pub filters: i64,
    /// Probability of dropout before the output layer.
    pub dropout: f64,
}

impl TextCnnConfig {
    /// Kim 2014, section 3.1: widths 3, 4 and 5 with 100 filters each, dropout 0.5, vectors of 300.
    pub fn kim(vocabulary: i64) -> Self {
        let table = Table::tuned(vocabulary, 300);
        Self { table, widths: vec![3, 4, 5], filters: 100, dropout: 0.5 }
    }

    fn widest(&self) -> i64 {
        self.widths.iter().copied().max().unwrap_or(1)
    }
}

impl fmt::Display for TextCnnConfig {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let widths: Vec<String> = self.widths.iter().map(ToString::to_string).collect();
        write!(f, "{}, widths {} x {}", self.table, widths.join(" "), self.filters)
    }
}

/// Embedding, convolutions, maximum over time, class scores.
///
/// A text shorter than the widest filter is padded to it with zeros; of a batch, no filter sees a place
/// beyond that, so that padding never changes an answer.
#[derive(Debug)]
pub(super) struct TextCnn {
    embedding: Embedding,
    /// `[F, D, width]` and `[F]` of each width.
    convolutions: Vec<(Tensor, Tensor)>,
    output: Linear,
    config: TextCnnConfig,
}

impl TextCnn {
    pub(super) fn new(
        builder: &Builder,
        config: TextCnnConfig,
        classes: usize,
        fresh: bool,
    ) -> Result<Self, ModelError> {
        let (d, f) = (config.table.width(), config.filters);
        let embedding = Embedding::new(builder, config.table, init(fresh, Init::Normal(1.0)))?;
        let convolution = |&width: &i64| -> Result<(Tensor, Tensor), ModelError> {
            let (name, start) = (format!("convolutions.{width}"), uniform(fresh, d * width));
            let weight = builder.get(&format!("{name}.weight"), &[f, d, width], start)?;
            Ok((weight, builder.get(&format!("{name}.bias"), &[f], start)?))
        };
        let convolutions =
            config.widths.iter().map(convolution).collect::<Result<Vec<_>, ModelError>>()?;
        let features = f * config.widths.len() as i64;
        let start = uniform(fresh, features);
        let output = Linear::new(builder, "output", features, classes as i64, start, start)?;
        Ok(Self { embedding, convolutions, output, config })
    }

    /// `[B, D, T]` with `T` at least the widest filter.
    fn embedded(&self, batch: &TokenBatch) -> Result<Tensor, ModelError> {
        let x = self.embedding.forward_masked(&batch.ids, batch.mask.as_ref())?;
        let x = x.f_transpose(1, 2)?;
        let missing = self.config.widest() - x.size()[2];
        Ok(if missing > 0 { x.f_constant_pad_nd([0, missing])? } else { x.f_contiguous()? })
    }

    /// `[B, 1, places]`, true where a filter of `width` sees more than an example holds; `None` where none
    /// does.
    fn beyond(&self, batch: &TokenBatch, width: i64) -> Result<Option<Tensor>, ModelError> {
        if batch.mask.is_none() {
            return Ok(None);
        }
        let widest = self.config.widest();
        let places = |length: i64| length.max(widest) - width + 1;
        let ends: Vec<i64> = batch.lengths.iter().map(|&length| places(length as i64)).collect();
        let device = batch.ids.device();
        let ends = Tensor::f_from_slice(&ends)?.f_to_device(device)?.f_view([-1, 1, 1])?;
        let all = Tensor::f_arange(places(batch.ids.size()[1]), (Kind::Int64, device))?;
        Ok(Some(all.f_view([1, 1, -1])?.f_ge_tensor(&ends)?))
    }
}

impl StudentModel for TextCnn {
    fn logits(&self, batch: &TokenBatch, train: bool) -> Result<Tensor, ModelError> {
        let x = self.embedded(batch)?;
        let mut features = Vec::with_capacity(self.convolutions.len());
        for (&width, (weight, bias)) in self.config.widths.iter().zip(&self.convolutions) {
            let (none, one) = ([0i64].as_slice(), [1i64].as_slice());
            let seen = x.f_conv1d(weight, Some(bias), one, none, one, 1)?;
            let seen = match self.beyond(batch, width)? {
                None => seen,
                Some(beyond) => seen.f_masked_fill(&beyond, f64::NEG_INFINITY)?,
            };
            // ReLU keeps order, so it may come after the maximum, of which there is less.
            features.push(seen.f_max_dim(2, false)?.0.f_relu()?);
        }
        let features = Tensor::f_cat(&features, 1)?;
        self.output.forward(&dropout(features, when(train, self.config.dropout))?)
    }

    fn flops(&self, examples: usize, width: usize) -> f64 {
        let TextCnnConfig { table, widths, filters, .. } = &self.config;
        let tokens = (width as i64).max(self.config.widest());
        let products = widths.iter().map(|&w| (tokens - w + 1) * w * table.width() * filters);
        2.0 * examples as f64 * products.sum::<i64>() as f64
    }

    fn prepared(self: Box<Self>, _: Device) -> Result<Box<dyn StudentModel>, ModelError> {
        Ok(self)
    }
}
