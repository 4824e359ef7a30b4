//! Text to token ids, the same way for every model of a kind; knows files, not tensors.

mod byte_level;
mod error;
mod family;
mod folder;
mod sentence_piece;
mod settings;
#[cfg(test)]
mod tests;
mod tokenizer;
mod vocabulary;
mod word_piece;

pub use error::TextError;
pub use tokenizer::{Tokenizer, Tokens};
pub use vocabulary::word_tokenizer;
