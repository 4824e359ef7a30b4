//! Files that something else wrote to: never a panic, never a wrong row.

use std::{fs, path::Path};

use lectern::wire::Row;
use redb::TableDefinition;

use super::{
    super::{
        database::{Database, DatabaseError},
        record,
    },
    card, contents, row, store,
};

const ROWS: TableDefinition<&[u8; 16], &[u8]> = TableDefinition::new("rows");
const ABOUT: TableDefinition<&str, &[u8]> = TableDefinition::new("about");

/// A closed database with these rows.
fn filled(folder: &Path, rows: &[Row]) -> std::path::PathBuf {
    let database = Database::create(folder, &card('a', 5)).unwrap();
    database.insert(rows).unwrap();
    database.path().to_owned()
}

/// Writes to a database behind its back.
fn change(path: &Path, change: impl FnOnce(&redb::WriteTransaction)) {
    let transaction = redb::Database::open(path).unwrap().begin_write().unwrap();
    change(&transaction);
    transaction.commit().unwrap();
}

fn put_record(path: &Path, under: &Row, record: &[u8]) {
    change(path, |transaction| {
        transaction.open_table(ROWS).unwrap().insert(under.content.as_bytes(), record).unwrap();
    });
}

#[test]
fn a_record_that_is_not_what_was_written_is_unknown_and_counted_until_it_is_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let rows: Vec<_> = (0..10).map(|i| row(i, 5)).collect();
    let path = filled(folder.path(), &rows);
    let mut flipped = record::encode(&rows[3]);
    flipped[7] ^= 0x10;
    // Rows that are whole, but another content's and another teacher's.
    put_record(&path, &rows[3], &flipped);
    put_record(&path, &rows[4], &record::encode(&rows[5]));
    put_record(&path, &rows[6], &record::encode(&row(6, 4)));

    let store = store(Some(folder.path()), 0);
    let found = store.on_disk(&contents(&rows));
    for (i, (found, row)) in found.iter().zip(&rows).enumerate() {
        let believed = ![3, 4, 6].contains(&i);
        assert_eq!(found.as_ref(), believed.then_some(row), "row {i}");
    }
    assert_eq!(store.counts().disk.unwrap().corrupt, 3);
    store.insert(rows.clone());
    store.flush();
    assert!(store.on_disk(&contents(&rows)).iter().all(Option::is_some));
    drop(store);
    let chunk = Database::open(&path).unwrap().chunks(100).next().unwrap().unwrap();
    assert_eq!((chunk.rows.len(), chunk.corrupt.len()), (10, 0));
}

#[test]
fn corrupt_records_are_listed_beside_the_rows() {
    let folder = tempfile::tempdir().unwrap();
    let rows: Vec<_> = (0..10).map(|i| row(i, 5)).collect();
    let path = filled(folder.path(), &rows);
    put_record(&path, &rows[3], b"");
    let chunk = Database::open(&path).unwrap().chunks(100).next().unwrap().unwrap();
    assert_eq!((chunk.rows.len(), chunk.corrupt), (9, vec![rows[3].content]));
}

#[test]
fn a_file_of_another_format_is_left_alone_and_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = filled(folder.path(), &[row(0, 5)]);
    change(&path, |transaction| {
        let version = 7u32.to_le_bytes();
        transaction.open_table(ABOUT).unwrap().insert("format", version.as_slice()).unwrap();
    });
    for error in [
        Database::create(folder.path(), &card('a', 5)).unwrap_err(),
        Database::open(&path).unwrap_err(),
    ] {
        assert!(matches!(error, DatabaseError::Format { found: 7, .. }));
        assert!(error.to_string().contains("export it with the version that wrote it"));
    }
}

#[test]
fn a_renamed_file_is_not_another_teachers() {
    let folder = tempfile::tempdir().unwrap();
    let path = filled(folder.path(), &[row(0, 5)]);
    fs::rename(&path, path.with_file_name("b".repeat(64)).with_extension("redb")).unwrap();
    let error = Database::create(folder.path(), &card('b', 5)).unwrap_err();
    assert!(matches!(&error, DatabaseError::OtherTeacher { .. }), "{error}");
    assert!(error.to_string().contains(&"a".repeat(64)), "{error}");
}

#[test]
fn what_is_no_database_is_named_with_a_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = filled(folder.path(), &[row(0, 5)]);
    let whole = fs::read(&path).unwrap();
    let other_program = redb::TableDefinition::<u64, u64>::new("about");
    for damage in [b"no database at all".to_vec(), vec![0; 1 << 20], whole[..5000].to_vec()] {
        fs::write(&path, damage).unwrap();
        let error = Database::open(&path).unwrap_err();
        assert!(matches!(error, DatabaseError::Damaged { .. }), "{error}");
        let message = error.to_string();
        for part in [&"a".repeat(64), "delete the file", "teacher-server store verify"] {
            assert!(message.contains(part), "{message}");
        }
    }
    fs::remove_file(&path).unwrap();
    let file = redb::Database::create(&path).unwrap();
    let transaction = file.begin_write().unwrap();
    transaction.open_table(other_program).unwrap();
    transaction.commit().unwrap();
    drop(file);
    assert!(matches!(Database::open(&path), Err(DatabaseError::Damaged { .. })));
}

/// Whatever the engine makes of its damaged pages, each row that comes out is the one that went in.
#[test]
fn no_flipped_byte_makes_a_wrong_row() {
    let folder = tempfile::tempdir().unwrap();
    let rows: Vec<_> = (0..300).map(|i| row(i, 5)).collect();
    let path = filled(folder.path(), &rows);
    let whole = fs::read(&path).unwrap();
    let used = whole.iter().rposition(|&byte| byte != 0).unwrap();
    let mut believed = 0;
    for at in (0..used).step_by(used / 60) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x41;
        fs::write(&path, damaged).unwrap();
        let Ok(database) = Database::open(&path) else { continue };
        let Ok(found) = database.get(&contents(&rows)) else { continue };
        for (found, row) in found.rows.iter().zip(&rows) {
            assert!(found.is_none() || found.as_ref() == Some(row), "byte {at}: {found:?}");
            believed += usize::from(found.is_some());
        }
        for chunk in database.chunks(64).map_while(Result::ok) {
            assert!(chunk.rows.iter().all(|row| rows.contains(row)), "byte {at}");
        }
    }
    assert!(believed > 0);
}
