//! Randomness that depends on where it is drawn, not on what was drawn before.

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use crate::training::step_seed;

/// A place in a training: every epoch draws anew for every example.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draw {
    /// Of the training.
    pub seed: i64,
    /// From 1; 0 for text that is held out, and drawn for once.
    pub epoch: usize,
    /// Index of the example.
    pub example: usize,
}

impl Draw {
    /// The random numbers of this place.
    pub(super) fn random(self) -> ChaCha8Rng {
        let mut random = ChaCha8Rng::seed_from_u64(step_seed(self.seed, self.epoch) as u64);
        // The generator's own independent stream of that number.
        random.set_stream(self.example as u64);
        random
    }
}
