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

/// Tokens of the smallest batch that is taken, unless it takes too long: below, a pass alone on a quiet machine may be
/// as fast, but passes beside each other are not (`docs/FORWARD.md`).
pub(super) const FEWEST: usize = 512;

/// Tokens of the largest batch that is tried: 2,048 examples of 32 tokens.
const LAST: usize = 1 << 16;

/// A larger batch must be faster by this much: below, it only delays answers.
const WORTH_IT: f64 = 1.05;

/// Sizes tried after the best so far: one alone may have been disturbed.
const FURTHER: usize = 2;

/// No larger batch is tried than one that took so long: whoever comes in meanwhile waits for it.
const LONGEST_SECONDS: f64 = 2.0;

/// A forward pass of about so many tokens, of two lengths, so that padding and masking are warm too.
///
/// Each thread's first should be as large as its later ones: whenever a product is larger than all before it, MKL takes
/// a buffer for it and keeps those that it has (`docs/MEMORY.md`).
pub(super) fn warm_up(model: &Model, tokens: usize) -> Result<(), ModelError> {
    let (short, long) = (model.made_up(LENGTH / 2)?, model.made_up(LENGTH)?);
    let mut examples = vec![long.as_ref(); tokens.div_ceil(LENGTH)];
    examples.push(&short);
    model.predict(&model.preparer().prepare(&examples)?).map(drop)
}

/// Runs forward passes of growing size, and returns the tokens of the
/// smallest batch from which larger ones no longer gain.
pub(super) fn batch_tokens(model: &Model) -> Result<usize, ModelError> {
    let mut rates: Vec<(usize, f64)> = Vec::new();
    let mut tokens = FIRST;
    while tokens <= LAST && !is_settled(&rates) {
        let seconds = seconds(model, tokens)?;
        let rate = tokens as f64 / seconds;
        debug!(tokens, rate, "measured");
        rates.push((tokens, rate));
        if seconds > LONGEST_SECONDS {
            break;
        }
        tokens *= 2;
    }
    let (tokens, rate) = smallest_as_fast(&rates);
    info!(max_batch_tokens = tokens, tokens_per_second = rate, "batch size measured");
    Ok(tokens)
}

/// Whether the last sizes gained nothing that is worth it over those before.
fn is_settled(rates: &[(usize, f64)]) -> bool {
    let Some(before) = rates.len().checked_sub(FURTHER).filter(|&n| n > 0) else { return false };
    let (before, further) = rates.split_at(before);
    fastest(further) < fastest(before) * WORTH_IT
}

/// The first of growing sizes, from [`FEWEST`] on, that no other beats by what is worth it; the last if all are smaller.
fn smallest_as_fast(rates: &[(usize, f64)]) -> (usize, f64) {
    let few = rates.partition_point(|(tokens, _)| *tokens < FEWEST);
    let large = &rates[few.min(rates.len().saturating_sub(1))..];
    let enough = fastest(large) / WORTH_IT;
    large.iter().copied().find(|(_, rate)| *rate >= enough).unwrap_or((FIRST, 0.0))
}

fn fastest(rates: &[(usize, f64)]) -> f64 {
    rates.iter().map(|(_, rate)| *rate).fold(0.0, f64::max)
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
    // Milliseconds of work on either.
    let side: i64 = if device.is_cuda() { 8192 } else { 1024 };
    let _no_grad = tch::no_grad_guard();
    let matrix = Tensor::f_rand([side, side], (Kind::Float, device))?.f_to_kind(kind)?;
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let start = Instant::now();
        // Reading one value back waits for a GPU to finish.
        matrix.f_matmul(&matrix)?.f_get(0)?.f_get(0)?.f_double_value(&[])?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(2.0 * (side as f64).powi(3) / best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_disturbed_size_does_not_end_the_search() {
        // 256 was disturbed.
        assert!(!is_settled(&[(128, 50.0), (256, 40.0)]));
        assert!(!is_settled(&[(128, 50.0), (256, 40.0), (512, 80.0)]));
        assert!(is_settled(&[(128, 50.0), (256, 52.0), (512, 51.0)]));
    }

    #[test]
    fn the_smallest_of_the_sizes_that_are_about_as_fast_is_taken() {
        let rates = [(512, 50.0), (1024, 78.0), (2048, 80.0), (4096, 81.0)];
        assert_eq!(smallest_as_fast(&rates), (1024, 78.0));
    }

    #[test]
    fn few_tokens_are_taken_only_where_more_would_take_too_long() {
        assert_eq!(smallest_as_fast(&[(128, 80.0), (256, 81.0), (512, 79.0)]), (512, 79.0));
        assert_eq!(smallest_as_fast(&[(128, 80.0), (256, 81.0)]), (256, 81.0));
        assert_eq!(smallest_as_fast(&[(128, 80.0)]), (128, 80.0));
    }
}
