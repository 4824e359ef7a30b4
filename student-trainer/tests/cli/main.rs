//! `student-trainer` as a user meets it: exit codes, messages, and what is left on disk. Its teacher
//! is a real server in this process.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod augmenting;
mod comparing;
mod describing;
mod mistakes;
mod predicting;
mod students;
mod support;
mod training;
mod warming;
