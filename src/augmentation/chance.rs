//! Where draws come from: a generator, or in tests a list.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::wire::ContentHash;

/// A source of draws.
pub(super) trait Chance {
    /// From `[0, 1)`, each number as likely.
    fn uniform(&mut self) -> f64;
    /// From `0..bound`, each as likely; `bound` is at least 1.
    fn below(&mut self, bound: u64) -> u64;
}

impl Chance for ChaCha8Rng {
    fn uniform(&mut self) -> f64 {
        self.random()
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random_range(0..bound)
    }
}

/// The draws of one example: they depend on the seed and the example's texts alone, not on its place in a file.
pub(super) fn chance_of(seed: u64, content: ContentHash) -> ChaCha8Rng {
    let mut hasher = blake3::Hasher::new_derive_key("lectern augmentation draws");
    hasher.update(&seed.to_le_bytes());
    hasher.update(content.as_bytes());
    ChaCha8Rng::from_seed(*hasher.finalize().as_bytes())
}
