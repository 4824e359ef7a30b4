//! How often tokens occur in headlines.

use crate::lengths::scramble;

/// Shares of all tokens of real news headlines (TNEWS, 15,000 of them, characters and words of other scripts) that are
/// among the most frequent ones: number of these, share in ten thousandths.
const FREQUENCIES: [(u64, u64); 13] = [
    (1, 313),
    (2, 540),
    (3, 734),
    (5, 928),
    (10, 1_333),
    (20, 1_929),
    (50, 3_039),
    (100, 4_113),
    (200, 5_417),
    (500, 7_430),
    (1_000, 8_852),
    (2_000, 9_698),
    (5_000, 10_000),
];

/// Rank of a token by its frequency, from 0 to 4,999, for a number without pattern: as often as in headlines, and within
/// a row of the table with equal chances.
pub(crate) fn headline_token(number: u64) -> u64 {
    let share = number % 10_000;
    let row = FREQUENCIES.partition_point(|&(_, below)| below <= share);
    let from = if row == 0 { 0 } else { FREQUENCIES[row - 1].0 };
    from + scramble(number) % (FREQUENCIES[row].0 - from)
}
