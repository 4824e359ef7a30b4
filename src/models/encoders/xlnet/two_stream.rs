//! The two streams of permutation language modelling (Yang et al. 2019, arXiv 1906.08237, section 2.3).
//!
//! `B` examples, `T` tokens, `P` targets of each example, `H` hidden size.

use tch::{Kind, Tensor};

use super::{
    super::{
        super::{ModelError, Permutation, TokenBatch, dropout::dropout},
        Encoder as _, TwoStreams,
        attention::Shape,
    },
    View, XlNet,
};

/// Takes a score to nothing beside any other. Finite, as in the original: a target that may see nothing at all sees
/// everything alike, where -∞ would have no softmax.
const HIDDEN: f64 = -1e30;

/// `[B, 1, S, T]`, to be added to scores.
fn mask(hidden: &Tensor, kind: Kind) -> Result<Tensor, ModelError> {
    let zeros = Tensor::f_zeros(hidden.size(), (kind, hidden.device()))?;
    Ok(zeros.f_masked_fill(hidden, HIDDEN)?.f_unsqueeze(1)?)
}

impl TwoStreams for XlNet {
    fn queries(
        &self,
        batch: &TokenBatch,
        permutation: &Permutation,
        drop: f64,
    ) -> Result<Tensor, ModelError> {
        let Permutation { hidden, targets } = permutation;
        let (examples, tokens) = batch.ids.size2()?;
        let (count, width) = (targets.size()[1], self.config.d_model);
        let content = self.embed(batch, drop)?;
        let (kind, device) = (content.kind(), content.device());

        // Nobody sees padding; content sees itself, a query never does unless the permutation says so.
        let hidden = match &batch.mask {
            Some(mask) => hidden.f_logical_or(&mask.f_logical_not()?.f_unsqueeze(1)?)?,
            None => hidden.shallow_clone(),
        };
        let others = Tensor::f_eye(tokens, (Kind::Bool, device))?.f_logical_not()?;
        let bias = mask(&hidden.f_logical_and(&others)?, kind)?;
        let view = View::of_content(Shape { examples, tokens, bias: Some(bias) }, batch, kind)?;

        let rows = targets.f_unsqueeze(2)?.f_expand([examples, count, tokens], false)?;
        let bias = mask(&hidden.f_gather(1, &rows, false)?, kind)?;
        let types = batch.type_ids.f_gather(1, targets, false)?;
        let shape = Shape { examples, tokens: count, bias: Some(bias) };
        let asking = View::new(shape, targets, &types, batch, kind)?;

        let positions = self.positions(tokens, &content, drop)?;
        let queries = self.query.f_expand([examples, count, width], false)?;
        let mut streams = [
            content.f_reshape([examples * tokens, width])?,
            dropout(queries.f_reshape([examples * count, width])?, drop)?,
        ];
        for layer in &self.layers {
            let [h, g] = &streams;
            streams = layer.forward_both([h, g], &positions, [&view, &asking], drop)?;
        }
        let [_, queries] = streams;
        dropout(queries.f_view([examples, count, width])?, drop)
    }

    fn words(&self) -> &Tensor {
        &self.words
    }
}
