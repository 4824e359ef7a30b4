//! What a server's process must find in its environment when it is loaded: limits and choices that libtorch, oneDNN and
//! mimalloc read once and keep. `docs/MEMORY.md` and `docs/GPU.md` have what each is worth.

use std::{env, io, os::unix::process::CommandExt as _, process::Command};

use lectern::models::Arithmetic;

/// Name and value of what a server that computes in `arithmetic` should find.
const fn variables(arithmetic: Arithmetic) -> [(&'static str, &'static str); 5] {
    [
        // Compiled products that oneDNN keeps, 0.3 MiB and more each, 1,024 unless told. A forward pass needs
        // four, again in every layer; compiling them costs a hundredth of the pass. Fewer than the passes under way need
        // together cost a quarter of int8's speed.
        ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "16"),
        // The same again in ideep, which stands between libtorch and oneDNN and has a cache for each thread that computes: twice
        // what a layer of BERT has.
        ("LRU_CACHE_CAPACITY", "8"),
        // Milliseconds after which mimalloc, where tensors and all else lie, gives back what is free.
        ("MIMALLOC_PURGE_DELAY", purge_delay(arithmetic)),
        // No pages of 2 MiB.
        ("MIMALLOC_ALLOW_THP", "0"),
        // cuDNN's attention, libtorch's first choice for halves on some GPUs, is compiled for every shape of a batch, and
        // batches have many.
        ("TORCH_CUDNN_SDPA_DEPRIORITIZED", "1"),
    ]
}

/// Layers need the same memory again and again. Where it is given back at once, every tensor's pages are mapped and cleared
/// anew: 3 to 5 % of a pass in float32, but a quarter in int8, whose weights take less to begin with.
const fn purge_delay(arithmetic: Arithmetic) -> &'static str {
    match arithmetic {
        Arithmetic::Float32 => "0",
        _ => "300",
    }
}

/// Name and value of those that are not set yet.
pub fn missing(arithmetic: Arithmetic) -> Vec<(&'static str, &'static str)> {
    variables(arithmetic).into_iter().filter(|(name, _)| env::var_os(name).is_none()).collect()
}

/// Starts this program again in this process, with the variables that are [missing], as nothing else
/// sets them in time. Returns if all are set, or if it fails.
///
/// - `arithmetic`: what the server computes in, never [`Auto`](Arithmetic::Auto)
pub fn enter(arithmetic: Arithmetic) -> io::Result<()> {
    let missing = missing(arithmetic);
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
