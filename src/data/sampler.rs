//! The order in which one epoch sees its examples: seeded, and batched by similar length, because
//! padding is most of what a careless batch costs. Knows lengths, not texts.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// Batches that are sorted by length together. More would pad less but order the data more.
const POOL_BATCHES: usize = 50;

/// Cuts `0..lengths.len()` into batches of `batch_size`, one of which may be shorter.
///
/// Every index occurs exactly once. The order depends on the arguments alone, not on the machine:
/// shuffled, cut into pools, each pool sorted by length (equal lengths stay shuffled), cut into
/// batches, and the batches shuffled. A `batch_size` of 0 counts as 1.
pub fn epoch_batches(
    lengths: &[usize],
    batch_size: usize,
    seed: u64,
    epoch: u64,
) -> Vec<Vec<usize>> {
    let batch_size = batch_size.max(1);
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    // Each epoch has the generator's own independent stream of that number.
    random.set_stream(epoch);

    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.shuffle(&mut random);
    for pool in order.chunks_mut(batch_size.saturating_mul(POOL_BATCHES)) {
        pool.sort_by_key(|&index| lengths[index]);
    }
    let mut batches: Vec<Vec<usize>> = order.chunks(batch_size).map(<[usize]>::to_vec).collect();
    batches.shuffle(&mut random);
    batches
}

/// The `share` of `0..count` that is an epoch's turn, epochs counted from 1: each goes on in one seeded order where the one
/// before it ended, so that all are used before any is repeated. No index occurs twice; all occur where `share` is `count`
/// or more.
pub fn epoch_share(count: usize, share: usize, seed: u64, epoch: u64) -> Vec<usize> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    // Far from the streams of the epochs.
    random.set_stream(u64::MAX);
    let mut order: Vec<usize> = (0..count).collect();
    order.shuffle(&mut random);
    let share = share.min(count);
    let begin = u128::from(epoch.saturating_sub(1)) * share as u128 % count.max(1) as u128;
    order.into_iter().cycle().skip(begin as usize).take(share).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Lengths without any order, as a stand-in for a corpus.
    fn lengths(rows: usize) -> Vec<usize> {
        (0..rows).map(|row| row * 7919 % 97 + 1).collect()
    }

    fn padded(batches: &[Vec<usize>], lengths: &[usize]) -> usize {
        let longest = |batch: &Vec<usize>| batch.iter().map(|&row| lengths[row]).max().unwrap_or(0);
        batches.iter().map(|batch| batch.len() * longest(batch)).sum()
    }

    proptest! {
        #[test]
        fn every_index_occurs_once_and_only_one_batch_is_short(
            lengths in prop::collection::vec(0_usize..60, 0..700),
            batch_size in 1_usize..40,
            seed: u64,
            epoch in 0_u64..20,
        ) {
            let batches = epoch_batches(&lengths, batch_size, seed, epoch);
            let mut seen: Vec<usize> = batches.iter().flatten().copied().collect();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..lengths.len()).collect::<Vec<_>>());
            let full = batches.iter().filter(|batch| batch.len() == batch_size).count();
            prop_assert_eq!(full, lengths.len() / batch_size);
            prop_assert_eq!(batches.len(), lengths.len().div_ceil(batch_size));
            prop_assert_eq!(&batches, &epoch_batches(&lengths, batch_size, seed, epoch));
        }
    }

    #[test]
    fn seeds_and_epochs_each_give_another_order() {
        let lengths = lengths(500);
        let first = epoch_batches(&lengths, 16, 1, 0);
        assert_ne!(first, epoch_batches(&lengths, 16, 1, 1));
        assert_ne!(first, epoch_batches(&lengths, 16, 2, 0));
        // Seed and epoch are not added up into one number.
        assert_ne!(epoch_batches(&lengths, 16, 1, 2), epoch_batches(&lengths, 16, 2, 1));
    }

    #[test]
    fn bucketing_takes_away_nearly_all_padding() {
        let lengths = lengths(3200);
        let needed: usize = lengths.iter().sum();
        let cost = padded(&epoch_batches(&lengths, 32, 3, 0), &lengths);
        // A pool of 1600 rows has 16 or 17 of each of the 97 lengths, so a batch spans about 2.
        assert!(cost < needed * 104 / 100, "{cost} tokens with padding, {needed} without");
    }

    proptest! {
        #[test]
        fn shares_of_epochs_use_all_before_any_is_repeated(
            count in 1_usize..60,
            share in 1_usize..70,
            seed: u64,
        ) {
            let passed = |epochs| {
                (1..=epochs).flat_map(|epoch| epoch_share(count, share, seed, epoch)).collect()
            };
            let many: Vec<usize> = passed(8);
            prop_assert_eq!(many.len(), 8 * share.min(count));
            for pass in many.chunks_exact(count) {
                let mut pass = pass.to_vec();
                pass.sort_unstable();
                prop_assert_eq!(pass, (0..count).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn nothing_has_no_share() {
        assert!(epoch_share(0, 5, 1, 3).is_empty());
    }

    #[test]
    fn batches_do_not_come_in_the_order_of_length() {
        let lengths = lengths(3200);
        let batches = epoch_batches(&lengths, 32, 3, 0);
        let means: Vec<usize> =
            batches.iter().map(|batch| batch.iter().map(|&row| lengths[row]).sum()).collect();
        assert!(!means[..50].is_sorted());
    }
}
