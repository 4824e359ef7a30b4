//! A real teacher server and real students in one process, over real sockets.
//!
//! The teacher is the tiny random BERT of `tests/fixtures`. What one side does alone is tested beside
//! its code; here stands what both must keep together.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod chains;
mod contract;
mod exported;
mod models;
mod operating;
mod parity;
mod runs;
mod sharing;
mod shutdown;
mod storing;
mod support;
mod tasks;
mod teachers;
mod training;
mod unary;
mod warming;
