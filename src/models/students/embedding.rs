//! Tables of word vectors: trained, fixed, or one of each side by side.

use std::fmt;

use serde::{Deserialize, Serialize};
use tch::{Kind, TchError, Tensor};

use super::super::{Builder, Init, ModelError};

/// Name of the table that is trained.
pub const TUNED: &str = "embedding.weight";
/// Name of the table that is not.
pub const UNTRAINED: &str = "embedding.static";

/// What training does to word vectors (Kim 2014, section 3.1).
///
/// With both, a word is the concatenation of its two vectors. For a convolution that is the sum of one
/// convolution for each channel, as Kim adds them up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channels {
    /// They are trained with the rest.
    #[default]
    Tuned,
    /// They stay as they are.
    Static,
    /// Two tables, of which one is trained.
    Both,
}

impl Channels {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde wants")]
    fn is_tuned(&self) -> bool {
        *self == Self::Tuned
    }
}

/// Size of a student's word vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// `V`.
    pub vocabulary: i64,
    /// `E`.
    pub embedding: i64,
    /// Which tables there are.
    #[serde(default, skip_serializing_if = "Channels::is_tuned")]
    pub channels: Channels,
}

impl Table {
    /// One trained table.
    pub const fn tuned(vocabulary: i64, embedding: i64) -> Self {
        Self { vocabulary, embedding, channels: Channels::Tuned }
    }

    /// Numbers that stand for a word: `D`, `E` or two times `E`.
    pub const fn width(&self) -> i64 {
        match self.channels {
            Channels::Tuned | Channels::Static => self.embedding,
            Channels::Both => 2 * self.embedding,
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} words x {}", self.vocabulary, self.embedding)?;
        match self.channels {
            Channels::Tuned => Ok(()),
            Channels::Static => f.write_str(" static"),
            Channels::Both => f.write_str(" static and tuned"),
        }
    }
}

/// The tables, at least one.
#[derive(Debug)]
pub(super) struct Embedding {
    /// `[V, E]` each.
    tables: Vec<Tensor>,
}

impl Embedding {
    /// Takes the tables from `builder`, where `init` does not say what else they are.
    pub(super) fn new(builder: &Builder, table: Table, init: Init) -> Result<Self, ModelError> {
        let shape = [table.vocabulary, table.embedding];
        let fixed = || builder.fixed(UNTRAINED, &shape, init);
        let tuned = || builder.get(TUNED, &shape, init);
        let tables = match table.channels {
            Channels::Tuned => vec![tuned()?],
            Channels::Static => vec![fixed()?],
            Channels::Both => vec![fixed()?, tuned()?],
        };
        Ok(Self { tables })
    }

    /// `[..]` ids to `[.., D]`.
    pub(super) fn forward(&self, ids: &Tensor) -> Result<Tensor, ModelError> {
        self.joined(|table| Ok(Tensor::f_embedding(table, ids, -1, false, true)?))
    }

    /// [`forward`](Self::forward) of `[B, T]` with zeros in the place of padding.
    pub(super) fn forward_masked(
        &self,
        ids: &Tensor,
        mask: Option<&Tensor>,
    ) -> Result<Tensor, ModelError> {
        let embedded = self.forward(ids)?;
        match mask {
            None => Ok(embedded),
            Some(mask) => Ok(embedded.f_mul(&mask.f_unsqueeze(-1)?.f_to_kind(Kind::Float)?)?),
        }
    }

    /// The sums of the vectors of bags of words: `bags` to `[B, D]`.
    pub(super) fn sums(&self, bags: &Bags) -> Result<Tensor, ModelError> {
        self.joined(|table| Ok(bags.sums(table)?))
    }

    /// All vectors, `[V, D]`.
    pub(super) fn rows(&self) -> Result<Tensor, ModelError> {
        self.joined(|table| Ok(table.shallow_clone()))
    }

    fn joined(
        &self,
        of: impl Fn(&Tensor) -> Result<Tensor, ModelError>,
    ) -> Result<Tensor, ModelError> {
        match self.tables.as_slice() {
            [table] => of(table),
            tables => {
                let parts = tables.iter().map(of).collect::<Result<Vec<_>, _>>()?;
                Ok(Tensor::f_cat(&parts, -1)?)
            }
        }
    }
}

/// Rows of a table, some for each of `B` examples, one example after the other.
#[derive(Debug)]
pub(super) struct Bags {
    /// All rows, int64.
    pub(super) rows: Tensor,
    /// `[B]` int64: where each example's begin.
    pub(super) starts: Tensor,
}

impl Bags {
    /// `[N, E]` to `[B, E]`; an empty bag is 0.
    pub(super) fn sums(&self, table: &Tensor) -> Result<Tensor, TchError> {
        const SUM: i64 = 0;
        let (rows, starts) = (&self.rows, &self.starts);
        Ok(Tensor::f_embedding_bag(table, rows, starts, false, SUM, true, None::<Tensor>, false)?.0)
    }
}
