//! What a model is pre-trained on: which tokens of a text it must predict, and what it sees of the others. Knows tokens and
//! seeds, not tensors.
//!
//! All of it is a function of the text and a [`Draw`], so that a training that was stopped goes on with the same.

mod draw;
mod masking;
mod permuting;

pub use draw::Draw;
pub use masking::{Masked, Masking};
pub use permuting::{Permuted, Permuting};
