//! `teacher-server` as a user meets it: exit codes, messages, and what is left on disk.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod finetuning;
mod hub;
mod pretraining;
mod served;
mod store;
mod support;
mod teaching;
