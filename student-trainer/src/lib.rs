//! The student's side: train small models on hard labels and on the logits that a teacher server
//! streams, judge them, and use them.

mod augment;
pub mod cli;
pub mod compare;
pub mod config;
mod describe;
mod evaluation_rows;
mod finish;
pub mod labels;
mod mask;
mod order;
mod predictions;
mod prepare;
mod run;
mod run_folder;
mod seeds;
mod source;
mod student;
pub mod sweep;
mod teachers;
pub mod train;
mod transfer;
pub mod warm;
