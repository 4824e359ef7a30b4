//! What the teacher server and the student trainer have in common.
//!
//! Modules in the order the data takes: [`hub`] finds models, [`data`] reads examples, [`augmentation`] varies them, [`text`] makes
//! tokens of them, [`models`] logits of tokens, [`pretraining`] hides some of these, [`wire`] carries logits between machines,
//! [`training`] learns from them by gradients through [`traced`] values, some of it on [`threads`] of its own, and [`metrics`] says
//! how well.

pub mod augmentation;
pub mod commands;
pub mod data;
pub mod files;
pub mod hub;
pub mod metrics;
pub mod models;
mod operators;
pub mod pretraining;
mod shared;
mod tensor_file;
#[cfg(test)]
mod testing;
pub mod text;
pub mod threads;
pub mod traced;
pub mod training;
pub mod wire;
