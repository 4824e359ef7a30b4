//! DPCNN (Johnson and Zhang 2017, "Deep Pyramid Convolutional Neural Networks for Text Categorization"): a
//! region embedding, then blocks of two convolutions with a shortcut, each of which but the first begins by
//! halving the text. The region embedding is a convolution over word vectors (their section 2.4, without
//! its unsupervised views), and the blocks are fewer than the paper's seven, for texts of some ten words.
//!
//! `B` examples, `T` tokens, `D` numbers of a word, `F` filters, `C` classes.

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

/// Sizes of a DPCNN.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DpcnnConfig {
    /// `V` and `E`.
    #[serde(flatten)]
    pub table: Table,
    /// `F`.
    pub filters: i64,
    /// Blocks of two convolutions; all but the first halve the text.
    pub layers: usize,
    /// Probability of dropout before the output layer.
    pub dropout: f64,
}

impl DpcnnConfig {
    /// The paper's 250 filters and dropout 0.5; four blocks, which bring 8 to 15 tokens down to one or two.
    pub const fn small(vocabulary: i64) -> Self {
        Self { table: Table::tuned(vocabulary, 300), filters: 250, layers: 4, dropout: 0.5 }
    }
}

impl fmt::Display for DpcnnConfig {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}, {} blocks of {} filters", self.table, self.layers, self.filters)
    }
}

/// A convolution over three places: `[F, input, 3]` and `[F]`.
type Convolution = (Tensor, Tensor);

/// Tokens that a filter sees, and places that are pooled.
const WIDTH: i64 = 3;
/// Places from one pool to the next.
const STRIDE: i64 = 2;

/// Embedding, region embedding, blocks, maximum over what is left, class scores.
///
/// Places beyond a text are zero before every convolution and left out of every maximum. A text of one
/// place stays one when it is halved.
#[derive(Debug)]
pub(super) struct Dpcnn {
    embedding: Embedding,
    region: Convolution,
    blocks: Vec<[Convolution; 2]>,
    output: Linear,
    config: DpcnnConfig,
}

impl Dpcnn {
    pub(super) fn new(
        builder: &Builder,
        config: DpcnnConfig,
        classes: usize,
        fresh: bool,
    ) -> Result<Self, ModelError> {
        let f = config.filters;
        let convolution = |name: &str, input: i64| -> Result<Convolution, ModelError> {
            let start = uniform(fresh, input * WIDTH);
            let weight = builder.get(&format!("{name}.weight"), &[f, input, WIDTH], start)?;
            Ok((weight, builder.get(&format!("{name}.bias"), &[f], start)?))
        };
        let embedding = Embedding::new(builder, config.table, init(fresh, Init::Normal(1.0)))?;
        let region = convolution("region", config.table.width())?;
        let block = |block: usize| {
            let part = |part: usize| convolution(&format!("blocks.{block}.{part}"), f);
            Ok([part(0)?, part(1)?])
        };
        let blocks = (0..config.layers).map(block).collect::<Result<Vec<_>, ModelError>>()?;
        let start = uniform(fresh, f);
        let output = Linear::new(builder, "output", f, classes as i64, start, start)?;
        Ok(Self { embedding, region, blocks, output, config })
    }
}

/// `[B, input, T]` to `[B, F, T]`, zeros around the text.
fn convolved(x: &Tensor, (weight, bias): &Convolution) -> Result<Tensor, ModelError> {
    let one = [1i64].as_slice();
    Ok(x.f_conv1d(weight, Some(bias), one, one, one, 1)?)
}

/// Places that a text of `length` is halved to.
const fn halved(length: i64) -> i64 {
    (length + STRIDE - 1) / STRIDE
}

/// What each example holds of `[B, .., T]`.
struct Extent {
    lengths: Vec<i64>,
    width: i64,
    device: Device,
}

impl Extent {
    fn fill(&self, x: Tensor, value: f64) -> Result<Tensor, ModelError> {
        if self.lengths.iter().all(|&length| length == self.width) {
            return Ok(x);
        }
        let ends = Tensor::f_from_slice(&self.lengths)?.f_to_device(self.device)?;
        let places = Tensor::f_arange(self.width, (Kind::Int64, self.device))?;
        let beyond = places.f_view([1, 1, -1])?.f_ge_tensor(&ends.f_view([-1, 1, 1])?)?;
        Ok(x.f_masked_fill(&beyond, value)?)
    }

    /// Maximum over three places at every second one, and what is left then.
    fn pooled(self, x: Tensor) -> Result<(Self, Tensor), ModelError> {
        let x = self.fill(x, f64::NEG_INFINITY)?;
        let x = x.f_pad([0, WIDTH - 1], "constant", f64::NEG_INFINITY)?;
        let (none, one) = ([0i64].as_slice(), [1i64].as_slice());
        let x = x.f_max_pool1d([WIDTH], [STRIDE], none, one, false)?;
        let lengths = self.lengths.into_iter().map(halved).collect();
        let extent = Self { lengths, width: halved(self.width), ..self };
        let x = extent.fill(x, 0.0)?;
        Ok((extent, x))
    }
}

impl StudentModel for Dpcnn {
    fn logits(&self, batch: &TokenBatch, train: bool) -> Result<Tensor, ModelError> {
        let mut extent = Extent {
            lengths: batch.lengths.iter().map(|&length| length as i64).collect(),
            width: batch.ids.size()[1],
            device: batch.ids.device(),
        };
        let embedded = self.embedding.forward_masked(&batch.ids, batch.mask.as_ref())?;
        let region = convolved(&embedded.f_transpose(1, 2)?.f_contiguous()?, &self.region)?;
        let mut x = extent.fill(region, 0.0)?;
        for (i, [first, second]) in self.blocks.iter().enumerate() {
            if i > 0 {
                (extent, x) = extent.pooled(x)?;
            }
            let inner = extent.fill(convolved(&x.f_relu()?, first)?, 0.0)?;
            let outer = extent.fill(convolved(&inner.f_relu()?, second)?, 0.0)?;
            x = x.f_add(&outer)?;
        }
        let features = extent.fill(x, f64::NEG_INFINITY)?.f_max_dim(2, false)?.0;
        self.output.forward(&dropout(features, when(train, self.config.dropout))?)
    }

    fn flops(&self, examples: usize, width: usize) -> f64 {
        let DpcnnConfig { table, filters, layers, .. } = self.config;
        let mut places = width as i64;
        let mut products = places * table.width() * filters;
        for block in 0..layers {
            places = if block > 0 { halved(places) } else { places };
            products += 2 * places * filters * filters;
        }
        2.0 * examples as f64 * (WIDTH * products) as f64
    }

    fn prepared(self: Box<Self>, _: Device) -> Result<Box<dyn StudentModel>, ModelError> {
        Ok(self)
    }
}
