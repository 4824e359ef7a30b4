//! The teacher's side: fine-tune an encoder, judge it, and serve its raw logits to many students.

pub mod agreement;
pub mod cli;
pub mod environment;
pub mod finetune;
pub mod pretrain;
pub mod serve;
pub mod store;
pub mod textgcn;
