//! Rows on their way to the disk: how many may wait, and when it is time to write them. Pure: knows
//! neither thread, clock nor file.

use std::time::{Duration, Instant};

use lectern::wire::Row;

/// Values that may wait: a disk that stalls for seconds costs a GPU's rows of these seconds, and the
/// server's memory stays bounded. Some 400,000 rows of 5 classes.
const MAX_BYTES: usize = 32 << 20;

/// How long the first of a group waits for others. A sync costs the same for one row and for thousands,
/// and what is computed meanwhile is all that a crash costs.
const MAX_WAIT: Duration = Duration::from_millis(100);

/// Rows that are worth a sync of their own.
const FULL: usize = 8192;

/// Rows to be written together.
#[derive(Debug, Default)]
pub(super) struct Group {
    rows: Vec<Row>,
    bytes: usize,
    since: Option<Instant>,
}

impl Group {
    /// Adds rows for as long as there is room; the number of those left out.
    pub(super) fn push(&mut self, rows: Vec<Row>, now: Instant) -> usize {
        let mut left_out = 0;
        for row in rows {
            let bytes = self.bytes + bytes(&row);
            if bytes > MAX_BYTES {
                left_out += 1;
                continue;
            }
            self.bytes = bytes;
            self.rows.push(row);
            self.since.get_or_insert(now);
        }
        left_out
    }

    /// How much longer to wait for others; `None` if there is nothing to write.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        let since = self.since?;
        let left = MAX_WAIT.saturating_sub(now.saturating_duration_since(since));
        Some(if self.rows.len() >= FULL { Duration::ZERO } else { left })
    }

    /// All rows, to be written now.
    pub(super) fn take(&mut self) -> Vec<Row> {
        std::mem::take(self).rows
    }
}

/// With the row's own place and the two counters of each slice.
fn bytes(row: &Row) -> usize {
    let values = row.logits.len() + row.variance.as_ref().map_or(0, |variance| variance.len());
    size_of::<Row>() + 32 + 4 * values
}

#[cfg(test)]
mod tests {
    use super::{super::tests::row, *};

    #[test]
    fn the_first_row_waits_a_tenth_of_a_second_for_others() {
        let start = Instant::now();
        let mut group = Group::default();
        assert_eq!(group.wait(start), None);
        group.push(vec![row(0, 5)], start);
        assert_eq!(group.wait(start), Some(Duration::from_millis(100)));
        let later = start + Duration::from_millis(60);
        group.push(vec![row(1, 5)], later);
        assert_eq!(group.wait(later), Some(Duration::from_millis(40)));
        assert_eq!(group.wait(start + Duration::from_secs(1)), Some(Duration::ZERO));
        assert_eq!(group.take(), [row(0, 5), row(1, 5)]);
        assert_eq!(group.wait(later), None);
    }

    #[test]
    fn a_full_group_does_not_wait() {
        let now = Instant::now();
        let mut group = Group::default();
        let rows: Vec<_> = (0..FULL as u64).map(|i| row(i, 2)).collect();
        group.push(rows[1..].to_vec(), now);
        assert_ne!(group.wait(now), Some(Duration::ZERO));
        group.push(rows[..1].to_vec(), now);
        assert_eq!(group.wait(now), Some(Duration::ZERO));
    }

    #[test]
    fn rows_beyond_the_bound_are_left_out_until_the_others_are_written() {
        let now = Instant::now();
        let mut group = Group::default();
        let wide = vec![row(0, 1 << 20); 10];
        // 4 MiB and a little each: seven fit into 32 MiB.
        assert_eq!(group.push(wide.clone(), now), 3);
        assert_eq!(group.push(wide[..1].to_vec(), now), 1);
        assert_eq!(group.take().len(), 7);
        assert_eq!(group.push(wide.clone(), now), 3);
    }
}
