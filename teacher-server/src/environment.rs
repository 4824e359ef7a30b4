//! What a server's process must find in its environment when it is loaded: limits and choices that libtorch, oneDNN and
//! mimalloc read once and keep. `docs/MEMORY.md` and `docs/GPU.md` have what each is worth.

use std::{env, io, os::unix::process::CommandExt as _, process::Command};

const VARIABLES: [(&str, &str); 5] = [
    // Compiled products that oneDNN keeps, 0.3 MiB and more each, 1,024 unless told. A forward pass needs
    // four, again in every layer; compiling them costs a hundredth of the pass.
    ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "16"),
    // The same again in ideep, which stands between libtorch and oneDNN and has a cache of its own.
    ("LRU_CACHE_CAPACITY", "16"),
    // Milliseconds after which mimalloc, where tensors and all else lie, gives back what is free. Layers need the same
    // memory again and again: at 0 a pass takes a tenth longer, at 1,000 holes are kept that it needs no more.
    ("MIMALLOC_PURGE_DELAY", "300"),
    // No pages of 2 MiB.
    ("MIMALLOC_ALLOW_THP", "0"),
    // cuDNN's attention, libtorch's first choice for halves on some GPUs, is compiled for every shape of a batch, and
    // batches have many.
    ("TORCH_CUDNN_SDPA_DEPRIORITIZED", "1"),
];

/// Name and value of those that are not set yet.
pub fn missing() -> Vec<(&'static str, &'static str)> {
    VARIABLES.into_iter().filter(|(name, _)| env::var_os(name).is_none()).collect()
}

/// Starts this program again in this process, with the variables that are [missing], as nothing else
/// sets them in time. Returns if all are set, or if it fails.
pub fn enter() -> io::Result<()> {
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    let mut arguments = env::args_os();
    let mut again = Command::new(env::current_exe()?);
    if let Some(name) = arguments.next() {
        again.arg0(name);
    }
    Err(again.args(arguments).envs(missing).exec())
}
