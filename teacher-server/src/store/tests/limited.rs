//! A folder of rows that may take only so much of the disk.

use std::time::Duration;

use super::{
    super::{disk::Disk, folder},
    card, contents, row,
};

const LIMIT: u64 = 2 << 20;

#[test]
fn a_folder_takes_what_it_may_whoever_fills_it_and_keeps_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let open = |teacher| {
        Disk::open_with(folder.path(), Some(LIMIT), &card(teacher, 100), Duration::ZERO).unwrap()
    };
    let disk = open('a');
    // 100 classes are 400 bytes: twice the limit, in groups of a fiftieth of it.
    let rows: Vec<_> = (0..10_000).map(|i| row(i, 100)).collect();
    for group in rows.chunks(100) {
        disk.insert(group.to_vec());
        disk.flush();
    }
    let counts = disk.counts();
    assert!(counts.written > 0 && counts.dropped > 0, "{counts:?}");
    assert_eq!((counts.written + counts.dropped, counts.errors), (10_000, 0));
    assert_eq!(counts.rows, counts.written);
    // The last group was written a little below the limit.
    let taken = folder::taken(folder.path()).unwrap();
    assert!((LIMIT..LIMIT + (1 << 20)).contains(&taken), "{taken}");
    let found = disk.get(&contents(&rows[..100]));
    assert_eq!(found.into_iter().flatten().collect::<Vec<_>>(), rows[..100]);

    let other = open('b');
    other.insert(rows[..10].to_vec());
    other.flush();
    let counts = other.counts();
    assert_eq!((counts.written, counts.dropped, counts.errors), (0, 10, 0));
}
