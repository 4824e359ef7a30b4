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

/// A larger batch must be faster by this much: below, it only delays answers and holds memory.
const WORTH_IT: f64 = 1.05;

/// Doublings that are tried after the best so far: one alone may have been disturbed.
const FURTHER: u32 = 2;

/// No larger batch is tried than one that took so long: whoever comes in meanwhile waits for it, and its activations are
/// memory.
const LONGEST_SECONDS: f64 = 0.5;

/// Passes of each of two sizes that are compared.
const TURNS: usize = 3;

/// Runs forward passes of growing size, which also warms the model up, and returns the tokens of the
/// smallest batch from which larger ones no longer gain.
pub(super) fn batch_tokens(model: &Model) -> Result<usize, ModelError> {
    let example = model.made_up(LENGTH)?;
    let pass = |tokens: usize| {
        let batch = model.preparer().prepare(&vec![example.as_ref(); tokens / LENGTH])?;
        let start = Instant::now();
        model.predict(&batch)?;
        Ok::<_, ModelError>(start.elapsed().as_secs_f64())
    };
    let _warm_up = pass(FIRST)?;
    let (tokens, rate) = smallest_as_fast(pass)?;
    info!(max_batch_tokens = tokens, tokens_per_second = rate, "batch size measured");
    Ok(tokens)
}

/// The smallest size, and its tokens a second, from which doubling it once and again gains nothing that is worth it.
///
/// - `pass`: seconds of a forward pass over so many tokens
fn smallest_as_fast<E>(mut pass: impl FnMut(usize) -> Result<f64, E>) -> Result<(usize, f64), E> {
    let mut smallest = (FIRST, 0.0);
    let mut tokens = 2 * FIRST;
    while tokens <= LAST.min(smallest.0 << FURTHER) {
        // In turns, and the median gain: others who use the machine slow down both sizes alike, or one turn more.
        let mut gains = [0.0; TURNS];
        let mut seconds = [f64::INFINITY; 2];
        for gain in &mut gains {
            let (before, now) = (pass(smallest.0)?, pass(tokens)?);
            *gain = before / smallest.0 as f64 * tokens as f64 / now;
            seconds = [seconds[0].min(before), seconds[1].min(now)];
        }
        gains.sort_by(f64::total_cmp);
        let gain = gains[TURNS / 2];
        let [before, doubled] = seconds;
        debug!(tokens, gain, over = smallest.0, "measured");
        smallest.1 = smallest.0 as f64 / before;
        if gain >= WORTH_IT {
            smallest = (tokens, tokens as f64 / doubled);
        }
        if doubled > LONGEST_SECONDS {
            break;
        }
        tokens *= 2;
    }
    Ok(smallest)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What is chosen where a pass takes as long as `seconds` says of its tokens and of the passes before it.
    fn chosen(seconds: impl Fn(usize, usize) -> f64) -> usize {
        let mut passes = 0;
        let pass = |tokens| {
            passes += 1;
            Ok::<_, ()>(seconds(tokens, passes - 1))
        };
        smallest_as_fast(pass).unwrap().0
    }

    /// A pass that costs as much as 128 tokens beside its own: twice 1,024 are 1.06 times as fast, twice 2,048 only 1.03 times,
    /// four times 2,048 only 1.045 times.
    fn ideal(tokens: usize) -> f64 {
        (tokens + 128) as f64 * 1e-4
    }

    #[test]
    fn the_smallest_size_that_doubling_does_not_make_faster_is_taken() {
        assert_eq!(chosen(|tokens, _| ideal(tokens)), 2048);
        assert_eq!(chosen(|tokens, _| tokens as f64 * 1e-6), FIRST);
    }

    #[test]
    fn a_machine_that_is_half_as_fast_from_some_pass_on_changes_nothing() {
        for first in 0..36 {
            let slower = |passes| if passes >= first { 2.0 } else { 1.0 };
            assert_eq!(chosen(|tokens, passes| ideal(tokens) * slower(passes)), 2048, "{first}");
        }
    }

    #[test]
    fn one_disturbed_size_does_not_end_the_search() {
        let disturbed = |tokens| if tokens == 512 { 2.0 } else { 1.0 };
        assert_eq!(chosen(|tokens, _| ideal(tokens) * disturbed(tokens)), 2048);
    }

    #[test]
    fn no_pass_is_longer_than_it_may_be() {
        assert_eq!(chosen(|tokens, _| 10.0 * ideal(tokens)), 512);
    }
}
