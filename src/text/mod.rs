//! Text to token ids, the same way for every model of a kind; knows files, not tensors.

mod byte_level;
mod error;
mod family;
mod folder;
mod padding;
mod sentence_piece;
mod settings;
mod special;
#[cfg(test)]
mod tests;
mod tokenizer;
mod vocabulary;
mod whole_words;
mod word_piece;
mod words;

pub use error::TextError;
pub(crate) use padding::padding_id;
pub use special::mask_token;
pub use tokenizer::{Tokenizer, Tokens};
pub use vocabulary::word_tokenizer;
pub use whole_words::{WordReader, Worded};
pub use words::Words;
