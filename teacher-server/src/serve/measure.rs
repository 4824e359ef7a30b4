//! What a device can do, measured once at start-up: the smallest batch that uses it fully, and the peak
//! of its matrix products.

use std::time::Instant;

use lectern::models::ModelError;
use tch::{Device, Kind, Tensor};
use tracing::{debug, info};

use super::model::Model;

/// Length of the made-up examples: short, as most classified texts are.
const LENGTH: usize = 32;

/// Tokens of the smallest batch that is tried; doubled as long as that gains.
const FIRST: usize = 128;

/// Tokens of the largest batch that is tried: 2,048 examples of 32 tokens.
const LAST: usize = 1 << 16;

/// A larger batch must be faster by this much: below, it only delays answers.
const WORTH_IT: f64 = 1.05;

/// Runs forward passes of growing size, which also warms the model up, and returns the tokens of the
/// smallest batch from which larger ones no longer gain.
pub(super) fn batch_tokens(model: &Model) -> Result<usize, ModelError> {
    let mut chosen = (FIRST, 0.0);
    let mut tokens = FIRST;
    while tokens <= LAST {
        let rate = tokens as f64 / seconds(model, tokens)?;
        debug!(tokens, rate, "measured");
        if rate < chosen.1 * WORTH_IT {
            break;
        }
        chosen = (tokens, rate);
        tokens *= 2;
    }
    info!(max_batch_tokens = chosen.0, tokens_per_second = chosen.1, "batch size measured");
    Ok(chosen.0)
}

/// The best of three passes: the others were disturbed.
fn seconds(model: &Model, tokens: usize) -> Result<f64, ModelError> {
    let example = model.made_up(LENGTH)?;
    let batch = model.preparer().prepare(&vec![example.as_ref(); tokens / LENGTH])?;
    let mut best = f64::INFINITY;
    for _ in 0..3 {
        let start = Instant::now();
        model.predict(&batch)?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(best)
}

/// Operations a second of a product of two square matrices in `kind`, the best of five.
pub(super) fn peak_flops(device: Device, kind: Kind) -> Result<f64, ModelError> {
    const SIDE: i64 = 1024;
    let _no_grad = tch::no_grad_guard();
    let matrix = Tensor::f_rand([SIDE, SIDE], (Kind::Float, device))?.f_to_kind(kind)?;
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let start = Instant::now();
        // Reading one value back waits for a GPU to finish.
        matrix.f_matmul(&matrix)?.f_get(0)?.f_get(0)?.f_double_value(&[])?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(2.0 * (SIDE as f64).powi(3) / best)
}
