//! Text to token ids, the same way for every model of a kind; knows files, not tensors.

mod tokenizer;
mod vocabulary;

pub use tokenizer::{TextError, Tokenizer, Tokens};
pub use vocabulary::word_tokenizer;
