//! The teacher's side: fine-tune an encoder, judge it, and serve its raw logits to many students.

pub mod agreement;
pub mod cli;
pub mod environment;
pub mod finetune;
pub mod pretrain;
pub mod serve;
pub mod store;
pub mod textgcn;

/// For all that Rust allocates: waiting examples, messages, rows. libtorch's tensors stay in the C library's heap by
/// themselves, where each forward pass finds the room that the last one left (`docs/MEMORY.md`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
