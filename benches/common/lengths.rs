//! Headlines of known lengths, for models whose weights are random: what they say does not matter.

/// Lengths in characters of real news headlines (TNEWS, 15,000 of them, special tokens not counted):
/// every twentieth quantile. Mean 22.
const HEADLINE_LENGTHS: [usize; 20] =
    [2, 10, 12, 14, 15, 17, 17, 19, 20, 21, 22, 24, 25, 26, 27, 28, 29, 30, 31, 33];

/// `n` lengths distributed as headlines are, in an order without pattern.
pub(crate) fn headline_lengths(n: usize) -> Vec<usize> {
    (0..n).map(|i| HEADLINE_LENGTHS[scramble(i as u64) as usize % HEADLINE_LENGTHS.len()]).collect()
}

/// A number without pattern for each number: the finaliser of SplitMix64 (Steele et al. 2014).
pub(crate) fn scramble(i: u64) -> u64 {
    let mut z = i.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
