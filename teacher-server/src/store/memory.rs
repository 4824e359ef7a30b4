//! The memory tier: the rows that were asked for of late, within a budget of bytes.

use std::{fmt, sync::Arc};

use lectern::wire::{ContentHash, Row};
use quick_cache::{
    DefaultHashBuilder, OptionsBuilder, Weighter,
    sync::{Cache, DefaultLifecycle},
};

/// What a row takes beside its values: its place and its ghost's in the cache, and the allocation of
/// its values. Measured as resident memory at 2 to 1000 classes and 8 to 200 MiB: 146 to 160.
const ROW_OVERHEAD_BYTES: u64 = 152;

/// The allocation of a row's variances, beside the variances.
const VARIANCE_OVERHEAD_BYTES: u64 = 28;

/// Share of the budget for rows that were asked for again; the rest is for the newest, which students
/// a little behind the first one are about to ask for. The cache's own 0.97 leaves them too little.
const ASKED_AGAIN: f64 = 0.8;

/// See the module.
pub(super) struct Memory(Cache<ContentHash, Kept, Weight>);

impl Memory {
    /// Room for rows of `classes` values in `bytes`; `None` if that is not one row.
    pub(super) fn new(bytes: u64, classes: usize) -> Option<Self> {
        let rows = bytes / (ROW_OVERHEAD_BYTES + 4 * classes as u64);
        let mut options = OptionsBuilder::new();
        options.estimated_items_capacity(rows as usize).weight_capacity(bytes);
        let options = options.hot_allocation(ASKED_AGAIN).build().ok().filter(|_| rows > 0)?;
        let hasher = DefaultHashBuilder::default();
        Some(Self(Cache::with_options(options, Weight, hasher, DefaultLifecycle::default())))
    }

    pub(super) fn get(&self, content: ContentHash) -> Option<Row> {
        let Kept { logits, variance, truncated } = self.0.get(&content)?;
        Some(Row { content, logits, variance, truncated })
    }

    pub(super) fn insert(&self, row: &Row) {
        let Row { content, logits, variance, truncated } = row.clone();
        self.0.insert(content, Kept { logits, variance, truncated });
    }

    /// Rows kept.
    pub(super) fn len(&self) -> u64 {
        self.0.len() as u64
    }

    /// Bytes taken, of the budget.
    pub(super) fn bytes(&self) -> u64 {
        self.0.weight()
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("rows", &self.len()).finish_non_exhaustive()
    }
}

/// A row without its key.
#[derive(Clone)]
struct Kept {
    logits: Arc<[f32]>,
    variance: Option<Arc<[f32]>>,
    truncated: bool,
}

#[derive(Clone)]
struct Weight;

impl Weighter<ContentHash, Kept> for Weight {
    fn weight(&self, _: &ContentHash, row: &Kept) -> u64 {
        let variance = row.variance.as_ref();
        let variance = variance.map_or(0, |v| VARIANCE_OVERHEAD_BYTES + 4 * v.len() as u64);
        ROW_OVERHEAD_BYTES + 4 * row.logits.len() as u64 + variance
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::row, *};

    #[test]
    fn a_row_comes_back_as_it_was() {
        let memory = Memory::new(1 << 20, 5).unwrap();
        let plain = row(1, 5);
        let ensemble = Row { variance: Some([0.5; 5].into()), truncated: true, ..row(2, 5) };
        for row in [plain, ensemble] {
            assert_eq!(memory.get(row.content), None);
            memory.insert(&row);
            assert_eq!(memory.get(row.content), Some(row));
        }
    }

    #[test]
    fn what_was_just_inserted_is_there_however_full_the_memory_is() {
        let memory = Memory::new(1 << 20, 5).unwrap();
        for i in 0..20_000 {
            memory.insert(&row(i, 5));
            assert!(memory.get(row(i, 5).content).is_some(), "row {i}");
        }
    }

    #[test]
    fn rows_asked_for_again_stay_while_a_long_list_passes_by() {
        let memory = Memory::new(1 << 20, 5).unwrap();
        for i in 0..1000 {
            memory.insert(&row(i, 5));
            let _asked_again = memory.get(row(i, 5).content);
        }
        (1000..20_000).for_each(|i| memory.insert(&row(i, 5)));
        let kept = (0..1000).filter(|&i| memory.get(row(i, 5).content).is_some()).count();
        assert!(kept > 900, "{kept} of 1000");
    }

    #[test]
    fn a_budget_below_one_row_is_no_memory_tier() {
        assert!(Memory::new(0, 5).is_none());
        assert!(Memory::new(171, 5).is_none());
    }

    /// The cache's tables as the cache counts them, and each row's values as an allocator rounds them:
    /// a reference-counted slice has two counters, an allocation a header of 8 bytes and a size in
    /// multiples of 16.
    #[test]
    fn the_budget_is_what_the_rows_take_within_a_tenth() {
        for (mebibytes, classes) in [(3, 2), (8, 5), (12, 5), (16, 100), (24, 1000)] {
            let budget = mebibytes << 20;
            let memory = Memory::new(budget, classes).unwrap();
            let each = ROW_OVERHEAD_BYTES + 4 * classes as u64;
            (0..2 * budget / each).for_each(|i| memory.insert(&row(i, classes)));
            let values = (16 + 4 * classes as u64 + 8).next_multiple_of(16);
            let taken = memory.0.memory_used().total() as u64 + memory.len() * values;
            let share = taken as f64 / budget as f64;
            assert!((0.9..1.1).contains(&share), "{classes} classes: {share} of {mebibytes} MiB");
        }
    }
}
