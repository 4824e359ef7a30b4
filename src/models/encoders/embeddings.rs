//! What enters the first layer of BERT and its relatives: vectors of each token's word, place and segment, added
//! up, normalised, and brought to the width of the layers where they are narrower.
//!
//! `B` examples, `T` tokens, `E` embedding size, `H` hidden size, `R >= B T` rows.

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::super::{
    Builder, Init, ModelError, TokenBatch,
    dropout::dropout,
    layers::{LayerNorm, padded_to},
    linear::{Kernels, Linear},
};
use crate::shared::Shared;

/// `position_embedding_type` of `config.json`. Only absolute positions are read; the key is there to refuse the rest.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum PositionEmbedding {
    #[default]
    Absolute,
}

/// Which row of the table of positions a token has.
#[derive(Debug, Clone, Copy)]
pub(super) enum Numbering {
    /// Its index.
    FromZero,
    /// The rows after that of the padding token's id, as fairseq numbers them. The padding token itself, should a
    /// text spell it, has the row of its id and is not counted.
    AfterPadding(i64),
}

/// What marks the two texts of a pair.
#[derive(Debug, Clone, Copy)]
pub(super) enum Segments {
    /// Separators alone: there is no table.
    Unmarked,
    /// A table of so many rows, indexed by the tokenizer's type ids.
    Typed(i64),
    /// A table of so many rows, of which every token has the first, whatever the tokenizer says: the family's
    /// tokenizers of `transformers` give no type ids, and its models then take zeros.
    First(i64),
}

/// Numbers of the tables.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tables {
    pub(super) words: i64,
    pub(super) positions: i64,
    pub(super) numbering: Numbering,
    pub(super) segments: Segments,
    /// `E`.
    pub(super) width: i64,
    /// Added to the variance in layer normalisation.
    pub(super) epsilon: f64,
}

/// `norm(word + position + segment)`, perhaps times a matrix.
#[derive(Debug, Clone)]
pub(super) struct Embeddings {
    words: Shared,
    positions: Shared,
    numbering: Numbering,
    segments: Option<Shared>,
    /// Every token has the first row of `segments`.
    first_segment: bool,
    norm: LayerNorm,
    projection: Option<Projection>,
}

#[derive(Debug, Clone)]
struct Projection {
    linear: Linear,
    /// `E`, `H`.
    sizes: [i64; 2],
}

impl Embeddings {
    /// Takes the tables `name.word_embeddings`, `name.position_embeddings` and `name.token_type_embeddings`, and
    /// `name.LayerNorm`, from `builder`.
    pub(super) fn new(builder: &Builder, name: &str, tables: Tables) -> Result<Self, ModelError> {
        let Tables { width, epsilon, .. } = tables;
        let table = |part: &str, rows| {
            builder
                .get(&format!("{name}.{part}.weight"), &[rows, width], Init::Required)
                .map(Shared::from)
        };
        let segments = match tables.segments {
            Segments::Unmarked => None,
            Segments::Typed(rows) | Segments::First(rows) => {
                Some(table("token_type_embeddings", rows)?)
            }
        };
        Ok(Self {
            words: table("word_embeddings", tables.words)?,
            positions: table("position_embeddings", tables.positions)?,
            numbering: tables.numbering,
            segments,
            first_segment: matches!(tables.segments, Segments::First(_)),
            norm: LayerNorm::new(builder, &format!("{name}.LayerNorm"), width, epsilon)?,
            projection: None,
        })
    }

    /// The same, times the matrix `name`, `[B, T, E]` to `[B, T, H]`.
    pub(super) fn projected(
        self,
        builder: &Builder,
        name: &str,
        hidden: i64,
    ) -> Result<Self, ModelError> {
        let width = self.words.size()[1];
        let linear = Linear::new(builder, name, width, hidden, Init::Required, Init::Required)?;
        Ok(Self { projection: Some(Projection { linear, sizes: [width, hidden] }), ..self })
    }

    /// `[B, T]` tokens to `[B, T, H]`.
    pub(super) fn forward(
        &self,
        batch: &TokenBatch,
        kernels: Option<&Kernels>,
        drop: f64,
    ) -> Result<Tensor, ModelError> {
        let mut sum = Tensor::f_embedding(&self.words, &batch.ids, -1, false, true)?;
        if let Some(segments) = &self.segments {
            sum = sum.f_add(&if self.first_segment {
                segments.f_narrow(0, 0, 1)?
            } else {
                Tensor::f_embedding(segments, &batch.type_ids, -1, false, false)?
            })?;
        }
        let sum = sum.f_add(&match self.numbering {
            Numbering::FromZero => self.positions.f_narrow(0, 0, batch.ids.size()[1])?,
            Numbering::AfterPadding(id) => {
                let rows = rows_after_padding(&batch.ids, id)?;
                Tensor::f_embedding(&self.positions, &rows, -1, false, false)?
            }
        })?;
        let embedded = dropout(self.norm.forward(&sum)?, drop)?;
        match &self.projection {
            Some(projection) => projection.forward(&embedded, kernels),
            None => Ok(embedded),
        }
    }

    /// Operations of the matrix product, if there is one, over `[B, T]` tokens.
    pub(super) fn flops(&self, examples: usize, tokens: usize) -> f64 {
        self.projection.as_ref().map_or(0.0, |Projection { sizes: [width, hidden], .. }| {
            2.0 * (examples * tokens) as f64 * (width * hidden) as f64
        })
    }

    pub(super) fn served(self, kernels: &Kernels) -> Result<Self, ModelError> {
        let projection = self.projection.map(|projection| {
            Ok::<_, ModelError>(Projection {
                linear: kernels.linear(&projection.linear)?,
                ..projection
            })
        });
        Ok(Self {
            words: kernels.tensor(&self.words)?,
            positions: kernels.tensor(&self.positions)?,
            segments: self.segments.map(|table| kernels.tensor(&table)).transpose()?,
            norm: self.norm.served(kernels)?,
            projection: projection.transpose()?,
            ..self
        })
    }
}

impl Projection {
    /// `[B, T, E]` to `[B, T, H]`, in as many rows as the kernels like.
    fn forward(&self, x: &Tensor, kernels: Option<&Kernels>) -> Result<Tensor, ModelError> {
        let (b, t, width) = x.size3()?;
        let rows = kernels.map_or(b * t, |kernels| kernels.rows(b * t));
        let rows = self.linear.forward(&padded_to(rows, x.f_view([b * t, width])?)?)?;
        Ok(rows.f_narrow(0, 0, b * t)?.f_view([b, t, self.sizes[1]])?)
    }
}

/// `create_position_ids_from_input_ids` of `transformers`: `[B, T]` ids to rows of the table of positions.
fn rows_after_padding(ids: &Tensor, padding: i64) -> Result<Tensor, ModelError> {
    let counted = ids.f_ne(padding)?.f_to_kind(Kind::Int64)?;
    Ok(counted.f_cumsum(1, Kind::Int64)?.f_mul(&counted)?.f_add_scalar(padding)?)
}
