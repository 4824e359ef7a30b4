//! The store as the engine uses it, and what the tests of its parts share.

mod damaged;
mod full;
mod killed;
mod limited;

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use lectern::{
    data::Task,
    wire::{ContentHash, Encoding, Limits, Row, TeacherCard},
};

use super::{
    Store, StoreConfig,
    database::{Database, DatabaseError},
};

/// Row `i` of a teacher: its values say which one it is.
pub(super) fn row(i: u64, classes: usize) -> Row {
    Row {
        content: ContentHash::new(&i.to_string(), None),
        logits: (0..classes).map(|class| i as f32 + class as f32 / 8.0).collect(),
        variance: None,
        truncated: i.is_multiple_of(3),
    }
}

/// The teacher whose fingerprint is `digit`, 64 times.
pub(super) fn card(digit: char, classes: usize) -> TeacherCard {
    TeacherCard {
        task: Task::SingleLabel,
        fingerprint: String::from_iter([digit; 64]).parse().unwrap(),
        name: format!("teacher-{digit}"),
        labels: (0..classes).map(|class| class.to_string()).collect(),
        architecture: "bert".to_owned(),
        parameters: 1,
        max_length: 50,
        arithmetic: "float32".to_owned(),
        limits: Limits::default(),
        encodings: Encoding::ALL.to_vec(),
        members: 1,
        mask_token: None,
    }
}

fn store(folder: Option<&Path>, memory_bytes: u64) -> Store {
    let folder = folder.map(Into::into);
    let config = StoreConfig { memory_bytes, folder, ..StoreConfig::default() };
    Store::open(&config, &card('a', 5)).unwrap()
}

fn contents(rows: &[Row]) -> Vec<ContentHash> {
    rows.iter().map(|row| row.content).collect()
}

#[test]
fn a_row_is_in_memory_at_once_and_on_disk_after_a_flush() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(Some(folder.path()), 1 << 20);
    let rows: Vec<_> = (0..100).map(|i| row(i, 5)).collect();
    store.insert(rows.clone());
    assert!(rows.iter().all(|row| store.in_memory(row.content).as_ref() == Some(row)));
    store.flush();
    let mut asked = contents(&rows);
    asked.push(row(100, 5).content);
    let found = store.on_disk(&asked);
    assert_eq!(found.last(), Some(&None));
    assert_eq!(found.into_iter().flatten().collect::<Vec<_>>(), rows);
    let disk = store.counts().disk.unwrap();
    assert_eq!((disk.rows, disk.written, disk.dropped, disk.errors), (100, 100, 0, 0));
}

#[test]
fn rows_outlive_the_store_and_what_is_read_from_disk_is_in_memory_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let plain = row(1, 5);
    let ensemble = Row { variance: Some([0.5; 5].into()), ..row(2, 5) };
    // Dropped without a flush.
    store(Some(folder.path()), 0).insert(vec![plain.clone(), ensemble.clone()]);
    let store = store(Some(folder.path()), 1 << 20);
    assert_eq!(store.in_memory(plain.content), None);
    let found = store.on_disk(&[plain.content, ensemble.content]);
    assert_eq!(found, [Some(plain.clone()), Some(ensemble.clone())]);
    assert_eq!(store.in_memory(plain.content), Some(plain));
    assert_eq!(store.in_memory(ensemble.content), Some(ensemble));
}

#[test]
fn without_a_folder_and_without_memory_nothing_is_known() {
    let store = store(None, 0);
    store.insert(vec![row(0, 5)]);
    store.flush();
    assert_eq!(store.in_memory(row(0, 5).content), None);
    assert_eq!(store.on_disk(&[row(0, 5).content]), [None]);
}

#[test]
fn teachers_share_a_folder_and_no_rows() {
    let folder = tempfile::tempdir().unwrap();
    let a = Database::create(folder.path(), &card('a', 5)).unwrap();
    let b = Database::create(folder.path(), &card('b', 5)).unwrap();
    a.insert(&[row(0, 5)]).unwrap();
    assert_eq!(a.get(&[row(0, 5).content]).unwrap().rows, [Some(row(0, 5))]);
    assert_eq!(b.get(&[row(0, 5).content]).unwrap().rows, [None]);
    drop(a);
    let path = folder.path().join("a".repeat(64)).with_extension("redb");
    assert_eq!(Database::open(&path).unwrap().card(), &card('a', 5));
}

#[test]
fn a_card_that_says_more_replaces_the_stored_one() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::create(folder.path(), &card('a', 5)).unwrap();
    database.insert(&[row(0, 5)]).unwrap();
    drop(database);
    let renamed = TeacherCard { name: "best".to_owned(), ..card('a', 5) };
    drop(Database::create(folder.path(), &renamed).unwrap());
    let database = Database::create(folder.path(), &renamed).unwrap();
    assert_eq!((database.card(), database.len().unwrap()), (&renamed, 1));
}

#[test]
fn a_second_server_is_told_who_has_the_file_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let _first = store(Some(folder.path()), 0);
    let second = Database::create(folder.path(), &card('a', 5)).unwrap_err();
    assert!(matches!(second, DatabaseError::InUse { .. }));
    let message = second.to_string();
    for part in [&"a".repeat(64), "another teacher-server", "--store DIR", "redis://"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_named_with_a_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Database::create(&file.join("rows"), &card('a', 5)).unwrap_err().to_string();
    assert!(error.contains("file/rows") && error.contains("--store none"), "{error}");
}

#[test]
fn all_rows_come_in_chunks_and_each_once() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::create(folder.path(), &card('a', 5)).unwrap();
    let mut rows: Vec<_> = (0..1000).map(|i| row(i, 5)).collect();
    database.insert(&rows).unwrap();
    rows.sort_by_key(|row| row.content);
    for n in [1, 7, 500, 1000, 5000] {
        let chunks: Vec<_> = database.chunks(n).map(Result::unwrap).collect();
        assert!(chunks.iter().all(|chunk| chunk.rows.len() <= n));
        assert_eq!(chunks.into_iter().flat_map(|chunk| chunk.rows).collect::<Vec<_>>(), rows);
    }
    database.remove(&contents(&rows)).unwrap();
    assert!(database.is_empty().unwrap());
    assert_eq!(database.chunks(10).count(), 0);
}

#[test]
fn compaction_gives_back_what_removed_rows_took_and_keeps_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let mut database = Database::create(folder.path(), &card('a', 5)).unwrap();
    let rows: Vec<_> = (0..10_000).map(|i| row(i, 5)).collect();
    database.insert(&rows).unwrap();
    database.remove(&contents(&rows[100..])).unwrap();
    let before = database.bytes().unwrap();
    database.compact().unwrap();
    assert!(database.bytes().unwrap() < before / 4);
    let kept = database.get(&contents(&rows[..100])).unwrap().rows;
    assert_eq!(kept.into_iter().flatten().collect::<Vec<_>>(), rows[..100]);
    assert!(database.check().unwrap());
    let path = database.path().to_owned();
    database.delete().unwrap();
    assert!(!path.exists());
}

/// A copy of an open file is what a crash leaves.
#[test]
fn after_a_crash_a_file_written_in_small_groups_is_not_read_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::create(folder.path(), &card('a', 5)).unwrap();
    let copy = folder.path().join("copy");
    for (rows, is_read) in [(0..100, false), (100..5000, true), (5000..5001, false)] {
        database.insert(&rows.clone().map(|i| row(i, 5)).collect::<Vec<_>>()).unwrap();
        fs::copy(database.path(), &copy).unwrap();
        let was_read = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&was_read);
        let mut builder = redb::Builder::new();
        builder.set_repair_callback(move |_| seen.store(true, Ordering::Relaxed));
        drop(builder.open(&copy).unwrap());
        assert_eq!(was_read.load(Ordering::Relaxed), is_read, "after rows {rows:?}");
    }
}
