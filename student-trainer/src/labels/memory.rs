//! Rows already received, by content, so that later epochs do not ask again.

use std::sync::Arc;

use lectern::wire::{ByContent, ContentHash};

/// What an entry costs beside its values: the table's slot of 33 bytes, up to twice because tables grow
/// by doubling, and the row's counters and allocation.
const ENTRY_BYTES: usize = 104;

/// Rows up to a budget of bytes. The rows of one stream only, so the fingerprint is one.
///
/// What came first stays. Epochs go round: of rows that do not all fit, any that had to make room for
/// another would be asked for again before that other is of use.
#[derive(Debug)]
pub(super) struct Memory {
    rows: ByContent<Arc<[f32]>>,
    bytes_left: usize,
}

impl Memory {
    /// With 0 bytes nothing is remembered.
    pub(super) fn new(bytes: u64) -> Self {
        let bytes_left = usize::try_from(bytes).unwrap_or(usize::MAX);
        Self { rows: ByContent::default(), bytes_left }
    }

    pub(super) fn get(&self, content: ContentHash) -> Option<Arc<[f32]>> {
        self.rows.get(&content).map(Arc::clone)
    }

    /// Keeps a row that is not yet kept, if there is room.
    pub(super) fn insert(&mut self, content: ContentHash, row: &Arc<[f32]>) {
        if let Some(left) = self.bytes_left.checked_sub(ENTRY_BYTES + size_of_val(&**row)) {
            self.rows.insert(content, Arc::clone(row));
            self.bytes_left = left;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(i: usize) -> ContentHash {
        ContentHash::new(&i.to_string(), None)
    }

    #[test]
    fn the_budget_bounds_what_is_kept_and_what_came_first_stays() {
        let mut memory = Memory::new(10 * (ENTRY_BYTES as u64 + 8));
        for i in 0..1000 {
            memory.insert(content(i), &[0.5, 1.5].into());
        }
        let kept: Vec<usize> = (0..1000).filter(|&i| memory.get(content(i)).is_some()).collect();
        assert_eq!(kept, (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn no_budget_keeps_nothing() {
        let mut memory = Memory::new(0);
        memory.insert(content(1), &[0.5].into());
        assert_eq!(memory.get(content(1)), None);
    }
}
