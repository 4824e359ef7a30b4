//! From states to class scores: a ReLU layer and a linear one, and the highest score over a text's tokens.
//!
//! `T` tokens, `B` examples, `X` numbers of a state, `C` classes.

use tch::{Kind, Tensor};

use super::{
    super::{ModelError, TokenBatch, linear::Linear},
    states::maximum,
};
use crate::threads::Pair;

/// Fewest tokens of a text for each class where scores are computed twice, see [`Scores::highest_trained`].
const FEWEST_TOKENS_A_CLASS: i64 = 2;

/// A ReLU layer and class scores.
#[derive(Debug, Clone)]
pub(super) struct Scores {
    pub(super) hidden: Linear,
    pub(super) output: Linear,
}

impl Scores {
    /// `[.., X]` to `[.., C]`.
    pub(super) fn of(&self, states: &Tensor) -> Result<Tensor, ModelError> {
        self.output.forward(&self.hidden.forward(states)?.f_relu()?)
    }

    /// The highest of each class over the tokens: `[T, B, X]` to `[B, C]`.
    pub(super) fn highest(
        &self,
        states: &Tensor,
        texts: &TokenBatch,
    ) -> Result<Tensor, ModelError> {
        Ok(maximum(&self.of(states)?, texts.mask.as_ref())?.0)
    }

    /// [`highest`](Self::highest) in training: all scores are computed without a record, and those that win once
    /// more with one, for gradients flow through these alone.
    pub(super) fn highest_trained(
        &self,
        states: &Tensor,
        texts: &TokenBatch,
        pair: &Pair,
    ) -> Result<Tensor, ModelError> {
        let (width, examples, _) = states.size3()?;
        let classes = self.output.outputs();
        if width < FEWEST_TOKENS_A_CLASS * classes {
            return self.highest(states, texts);
        }
        let positions =
            Tensor::f_arange(examples, (Kind::Int64, states.device()))?.f_unsqueeze(1)?;
        let winners = self.winners(states, texts, pair)?;
        let winners = winners.f_mul_scalar(examples)?.f_add_(&positions)?.f_flatten(0, 1)?;
        let states = states.f_flatten(0, 1)?.f_index_select(0, &winners)?;
        let scores = self.of(&states)?.f_view([examples, classes, classes])?;
        Ok(scores.f_diagonal(0, 1, 2)?)
    }

    /// The token with the highest score of each class, `[B, C]`: of the first half of the tokens and of the second, then of
    /// both.
    fn winners(
        &self,
        states: &Tensor,
        texts: &TokenBatch,
        pair: &Pair,
    ) -> Result<Tensor, ModelError> {
        let width = states.size()[0];
        let middle = width / 2;
        let half = |start: i64, count: i64| {
            let mask = texts.mask.as_ref().map(|mask| mask.f_narrow(1, start, count));
            Ok::<_, ModelError>((
                self.clone(),
                states.f_narrow(0, start, count)?,
                mask.transpose()?,
            ))
        };
        let halves = [half(0, middle)?, half(middle, width - middle)?];
        let [(first, at), (second, later)] = pair
            .both(halves, |(scores, states, mask)| maximum(&scores.of(&states)?, mask.as_ref()))?;
        Ok(later.f_add_scalar(middle)?.f_where_self(&second.f_gt_tensor(&first)?, &at)?)
    }
}
