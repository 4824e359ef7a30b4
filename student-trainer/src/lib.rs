//! The student's side: train small models on hard labels and on the logits that a teacher server
//! streams, judge them, and use them.

pub mod cli;
pub mod compare;
pub mod config;
mod describe;
mod evaluation_rows;
mod finish;
pub mod labels;
mod predictions;
mod prepare;
mod run_folder;
mod source;
pub mod sweep;
pub mod train;
pub mod warm;
