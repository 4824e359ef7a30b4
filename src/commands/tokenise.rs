//! Tokenising a training set once, before its first epoch.

use tracing::warn;

use crate::{
    data::Example,
    text::{TextError, Tokenizer, Tokens},
};

/// All examples in order; says once how many are longer than the tokenizer's `max_length`.
pub fn tokenise(
    tokenizer: &Tokenizer,
    examples: &[Example],
    max_length: usize,
) -> Result<Vec<Tokens>, TextError> {
    let tokens = examples
        .iter()
        .map(|e| tokenizer.encode(&e.text, e.text_pair.as_deref()))
        .collect::<Result<Vec<_>, _>>()?;
    let truncated = tokens.iter().filter(|tokens| tokens.truncated).count();
    if truncated > 0 {
        let of = tokens.len();
        warn!(truncated, of, max_length, "training texts are longer; their ends are cut off");
    }
    Ok(tokens)
}
