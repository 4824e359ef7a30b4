//! Tokenising a training set once, before its first epoch.

use std::borrow::Borrow;

use tracing::warn;

use crate::{
    data::Example,
    text::{TextError, Tokenizer, Tokens},
};

/// All examples in order; says once how many are longer than the tokenizer's `max_length`.
pub fn tokenise<E: Borrow<Example>>(
    tokenizer: &Tokenizer,
    examples: impl IntoIterator<Item = E>,
    max_length: usize,
) -> Result<Vec<Tokens>, TextError> {
    let encode = |example: E| {
        let Example { text, text_pair, .. } = example.borrow();
        tokenizer.encode(text, text_pair.as_deref())
    };
    let tokens = examples.into_iter().map(encode).collect::<Result<Vec<_>, _>>()?;
    let truncated = tokens.iter().filter(|tokens| tokens.truncated).count();
    if truncated > 0 {
        let of = tokens.len();
        warn!(truncated, of, max_length, "training texts are longer; their ends are cut off");
    }
    Ok(tokens)
}
