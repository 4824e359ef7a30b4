//! The student's side: train small models on hard labels and on the logits that a teacher server
//! streams, judge them, and use them.

pub mod cli;
pub mod config;
mod describe;
pub mod labels;
mod prepare;
mod run_folder;
mod source;
mod student;
pub mod train;
pub mod warm;
