//! Text to token ids, the same way for every model of a kind; knows files, not tensors.

mod byte_level;
mod error;
mod family;
mod folder;
mod padding;
mod segmentation;
mod sentence_piece;
mod settings;
mod special;
#[cfg(test)]
mod tests;
mod tokenizer;
mod vectors;
mod vocabulary;
mod whole_words;
mod word_piece;
mod words;

pub use error::TextError;
pub(crate) use padding::padding_id;
pub use segmentation::{Segmentation, is_chinese};
pub use special::{mask_spelling, mask_token};
pub use tokenizer::{Tokenizer, Tokens};
pub use vectors::{WordVectors, read_vectors};
pub use vocabulary::{MASK, WordCounts, word_tokenizer};
pub use whole_words::{WordReader, Worded};
pub use words::{WordKind, Words};
