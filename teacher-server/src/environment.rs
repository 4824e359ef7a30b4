//! What a server's process must find in its environment when it is loaded: limits that libtorch, oneDNN, the C
//! library and mimalloc read once and keep. `docs/MEMORY.md` has what each is worth.

use std::{env, io, os::unix::process::CommandExt as _, process::Command, thread};

/// Name and value of those that are not set yet.
pub fn missing() -> Vec<(&'static str, String)> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let mut variables = limits(cores).to_vec();
    variables.retain(|(name, _)| env::var_os(name).is_none());
    variables
}

fn limits(cores: usize) -> [(&'static str, String); 6] {
    [
        // Compiled products that oneDNN keeps, 0.3 MiB and more each, 1,024 unless told. A forward pass needs
        // four, again in every layer; compiling them costs a hundredth of the pass.
        ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "16".to_owned()),
        // The same again in ideep, which stands between libtorch and oneDNN and has a cache of its own.
        ("LRU_CACHE_CAPACITY", "16".to_owned()),
        // Heaps of glibc, where tensors lie, up to eight a core unless told. With one, forward passes reuse what loading
        // freed; many passes beside each other would wait for each other there.
        ("MALLOC_ARENA_MAX", (cores / 2).max(1).to_string()),
        // From this size on, a tensor has pages of its own, which go back when it does. Unless told, glibc raises the size as
        // large tensors come and go, and loading leaves holes; much smaller, and activations are mapped anew in every layer.
        ("MALLOC_MMAP_THRESHOLD_", "16777216".to_owned()),
        // mimalloc, where everything else lies, gives back what is free at once, and takes no pages of 2 MiB.
        ("MIMALLOC_PURGE_DELAY", "0".to_owned()),
        ("MIMALLOC_ALLOW_THP", "0".to_owned()),
    ]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_beside_each_other_have_a_heap_for_two() {
        let heaps = |cores| {
            let limits = limits(cores).into_iter();
            limits
                .filter(|(name, _)| *name == "MALLOC_ARENA_MAX")
                .map(|(_, n)| n)
                .collect::<Vec<_>>()
        };
        assert_eq!([1, 2, 3, 16].map(heaps), [["1"], ["1"], ["1"], ["8"]]);
    }
}
