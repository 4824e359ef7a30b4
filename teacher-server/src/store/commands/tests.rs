//! Each command on folders of real databases.

use std::{
    error::Error,
    fs::{self, File},
    io::Write,
    path::Path,
    time::{Duration, SystemTime},
};

use lectern::{
    data::{Columns, Task},
    wire::{ContentHash, Encoding, Limits, TeacherCard},
};
use redb::ReadableTable as _;
use serde_json::Value;
use tempfile::TempDir;

use super::{
    super::{
        database::Database,
        folder::{list, path_of},
    },
    *,
};

fn card(digit: char, name: &str) -> TeacherCard {
    TeacherCard {
        task: Task::SingleLabel,
        fingerprint: digit.to_string().repeat(64).parse().unwrap(),
        name: name.to_owned(),
        labels: ["down", "level", "up"].map(str::to_owned).to_vec(),
        architecture: "bert 2 x 32".to_owned(),
        parameters: 12345,
        max_length: 128,
        arithmetic: "float32".to_owned(),
        limits: Limits::default(),
        encodings: vec![Encoding::Float32],
        members: 1,
        mask_token: None,
    }
}

fn content(n: usize) -> ContentHash {
    ContentHash::new(&format!("text {n}"), None)
}

fn row(n: usize) -> Row {
    let x = n as f32;
    Row { content: content(n), logits: [x, -x, 0.5].into(), variance: None, truncated: false }
}

fn database(folder: &Path, card: &TeacherCard, rows: std::ops::Range<usize>) -> Database {
    let database = Database::create(folder, card).unwrap();
    database.insert(&rows.map(row).collect::<Vec<_>>()).unwrap();
    database
}

/// `ann` with the rows 0..100 and `bob` with 0..10.
fn two_teachers() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    database(folder.path(), &card('a', "ann"), 0..100);
    database(folder.path(), &card('b', "bob"), 0..10);
    folder
}

/// What a command writes; its error is the caller's.
fn said<T>(
    command: impl FnOnce(&mut dyn Write) -> Result<T, StoreCommandError>,
) -> (String, Result<T, StoreCommandError>) {
    let mut out = Vec::new();
    let result = command(&mut out);
    (String::from_utf8(out).unwrap(), result)
}

fn done(command: impl FnOnce(&mut dyn Write) -> Result<(), StoreCommandError>) -> String {
    let (out, result) = said(command);
    result.unwrap();
    out
}

fn refused(command: impl FnOnce(&mut dyn Write) -> Result<(), StoreCommandError>) -> String {
    said(command).1.unwrap_err().to_string()
}

/// Makes the record of `n` one that its checksum contradicts.
fn damage(folder: &Path, card: &TeacherCard, n: usize) {
    let table: redb::TableDefinition<'_, &[u8; 16], &[u8]> = redb::TableDefinition::new("rows");
    let file = redb::Database::open(path_of(folder, &card.fingerprint)).unwrap();
    let transaction = file.begin_write().unwrap();
    let mut rows = transaction.open_table(table).unwrap();
    let mut record = rows.get(content(n).as_bytes()).unwrap().unwrap().value().to_vec();
    *record.last_mut().unwrap() ^= 1;
    rows.insert(content(n).as_bytes(), record.as_slice()).unwrap();
    drop(rows);
    transaction.commit().unwrap();
}

fn days(n: u64) -> Duration {
    Duration::from_secs(n * 24 * 60 * 60)
}

fn set_unused(folder: &Path, card: &TeacherCard, for_days: u64) -> SystemTime {
    let file = File::options().write(true).open(path_of(folder, &card.fingerprint)).unwrap();
    file.set_modified(SystemTime::now() - days(for_days)).unwrap();
    file.metadata().unwrap().modified().unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let listed = list(folder).unwrap();
    listed.iter().map(|l| l.look(|database| database.unwrap().card().name.clone())).collect()
}

#[test]
fn stats_show_every_teacher_and_which_are_in_use() {
    let folder = two_teachers();
    let _in_use = Database::open(&path_of(folder.path(), &card('b', "bob").fingerprint)).unwrap();
    let table = done(|out| stats(folder.path(), false, out));
    let lines: Vec<_> = table.lines().collect();
    assert!(lines[0].starts_with("teacher"), "{table}");
    assert!(lines[1].starts_with("ann") && lines[1].contains("aaaaaaaaaaaa"), "{table}");
    assert!(lines[1].contains("  3") && lines[1].contains(" 100 "), "{table}");
    assert!(lines[2].starts_with("in use") && lines[2].contains("bbbbbbbbbbbb"), "{table}");

    let bytes = fs::metadata(path_of(folder.path(), &card('a', "").fingerprint)).unwrap().len();
    let json: Value = serde_json::from_str(&done(|out| stats(folder.path(), true, out))).unwrap();
    assert_eq!((&json[0]["rows"], &json[0]["teacher"]["name"]), (&100.into(), &"ann".into()));
    assert_eq!((&json[0]["in_use"], &json[1]["in_use"]), (&false.into(), &true.into()));
    assert_eq!(json[0]["bytes"], bytes);
}

#[test]
fn an_exported_store_is_imported_elsewhere_row_by_row() {
    let (folder, other) = (two_teachers(), tempfile::tempdir().unwrap());
    let file = other.path().join("labels.parquet");
    let out = done(|out| export(folder.path(), Some("ann"), &file, out));
    assert!(out.starts_with("100 rows of ann (aaaaaaaaaaaa) written to "), "{out}");
    let import_it = || done(|out| import(&other.path().join("new/store"), &file, out));
    assert_eq!(import_it(), "100 rows of ann (aaaaaaaaaaaa) added, 0 were there already\n");
    assert_eq!(import_it(), "0 rows of ann (aaaaaaaaaaaa) added, 100 were there already\n");

    let path = path_of(&other.path().join("new/store"), &card('a', "ann").fingerprint);
    let copy = Database::open(&path).unwrap();
    assert_eq!(copy.card(), &card('a', "ann"));
    let contents: Vec<_> = (0..101).map(content).collect();
    let expected: Vec<_> = (0..101).map(|n| (n < 100).then(|| row(n))).collect();
    assert_eq!(copy.get(&contents).unwrap().rows, expected);
}

#[test]
fn an_imported_row_never_replaces_one_that_is_stored() {
    let (folder, other) = (two_teachers(), tempfile::tempdir().unwrap());
    let file = other.path().join("labels.parquet");
    done(|out| export(folder.path(), Some("bob"), &file, out));
    let ours = database(other.path(), &card('b', "bob"), 0..4);
    ours.insert(&[Row { logits: [2.0, -2.0, 0.75].into(), ..row(2) }]).unwrap();
    drop(ours);
    let out = done(|out| import(other.path(), &file, out));
    let expected = "6 rows of bob (bbbbbbbbbbbb) added, 4 were there already; 1 of these differ, by at \
                    most 2.5e-1, and stay as they were\n";
    assert_eq!(out, expected);
    let ours = Database::open(&path_of(other.path(), &card('b', "bob").fingerprint)).unwrap();
    assert_eq!(
        &*ours.get(&[content(2)]).unwrap().rows[0].as_ref().unwrap().logits,
        [2.0, -2.0, 0.75]
    );
}

#[test]
fn a_label_file_with_other_labels_is_not_imported() {
    let (folder, other) = (two_teachers(), tempfile::tempdir().unwrap());
    let file = other.path().join("labels.parquet");
    done(|out| export(folder.path(), Some("bob"), &file, out));
    let labels = ["up", "level", "down"].map(str::to_owned).to_vec();
    database(other.path(), &TeacherCard { labels, ..card('b', "bob") }, 0..1);
    let said = refused(|out| import(other.path(), &file, out));
    assert!(
        said.contains("\"down\", \"level\", \"up\"") && said.contains("labels.parquet"),
        "{said}"
    );
}

#[test]
fn a_teacher_is_named_by_its_name_or_its_first_digits() {
    let folder = two_teachers();
    database(folder.path(), &card('c', "ann"), 0..1);
    let file = folder.path().join("labels.parquet");
    let of = |teacher| said(|out| export(folder.path(), teacher, &file, out));
    assert!(of(Some("bob")).0.starts_with("10 rows of bob"));
    assert!(of(Some("AAAA")).0.starts_with("100 rows of ann"));
    for (teacher, expected) in [
        (None, "rows of several teachers: ann (aaaaaaaaaaaa), bob (bbbbbbbbbbbb), ann (cccc"),
        (Some("ann"), "--teacher ann fits 2 teachers in"),
        (Some("eve"), "--teacher eve fits 0 teachers in"),
        (Some(""), "fits 0 teachers in"),
    ] {
        let refused = of(teacher).1.unwrap_err().to_string();
        assert!(refused.contains(expected), "{teacher:?}: {refused}");
    }
    let empty = tempfile::tempdir().unwrap();
    for nothing in [empty.path(), &empty.path().join("absent")] {
        let refused = refused(|out| stats(nothing, false, out));
        assert!(refused.contains("holds no rows"), "{refused}");
    }
}

#[test]
fn bad_rows_are_found_left_out_of_exports_and_dropped_on_demand() {
    let folder = two_teachers();
    damage(folder.path(), &card('a', "ann"), 3);
    damage(folder.path(), &card('a', "ann"), 5);
    let (out, result) = said(|out| verify(folder.path(), None, false, out));
    assert!(out.contains("ann (aaaaaaaaaaaa): 100 rows, 2 bad\n"), "{out}");
    assert!(out.contains("bob (bbbbbbbbbbbb): 10 rows, 0 bad\n"), "{out}");
    assert!(result.unwrap_err().to_string().starts_with("2 bad rows; drop them with --repair"));
    done(|out| verify(folder.path(), Some("bob"), false, out));

    let file = folder.path().join("labels.parquet");
    assert!(done(|out| export(folder.path(), Some("ann"), &file, out)).starts_with("98 rows"));
    let out = done(|out| verify(folder.path(), None, true, out));
    assert!(out.contains("100 rows, 2 bad, dropped"), "{out}");
    let out = done(|out| verify(folder.path(), None, false, out));
    assert!(out.contains("ann (aaaaaaaaaaaa): 98 rows, 0 bad\n"), "{out}");
}

#[test]
fn a_store_in_use_is_named_and_the_others_are_verified_all_the_same() {
    let folder = two_teachers();
    let _in_use = Database::open(&path_of(folder.path(), &card('a', "ann").fingerprint)).unwrap();
    let (out, result) = said(|out| verify(folder.path(), None, false, out));
    assert!(out.contains("aaaaaaaaaaaa: not verified") && out.contains("bob"), "{out}");
    assert!(result.unwrap_err().to_string().contains("is in use"));
    let file = folder.path().join("labels.parquet");
    let export = refused(|out| export(folder.path(), Some("aa"), &file, out));
    assert!(export.contains("is in use") && export.contains("stop"), "{export}");
    assert!(!file.exists());
}

#[test]
fn looking_is_not_using() {
    let folder = two_teachers();
    let ann = card('a', "ann");
    let used = set_unused(folder.path(), &ann, 10);
    done(|out| stats(folder.path(), false, out));
    done(|out| verify(folder.path(), None, true, out));
    done(|out| export(folder.path(), Some("ann"), &folder.path().join("x.parquet"), out));
    done(|out| gc(folder.path(), &Gc::default(), out));
    let file = fs::metadata(path_of(folder.path(), &ann.fingerprint)).unwrap();
    assert_eq!(file.modified().unwrap(), used);
}

#[test]
fn gc_removes_what_was_not_used_for_so_long_but_nothing_in_use() {
    let folder = two_teachers();
    let (ann, bob, eve) = (card('a', "ann"), card('b', "bob"), card('e', "eve"));
    let eves = database(folder.path(), &eve, 0..1);
    for (card, days) in [(&ann, 10), (&bob, 20), (&eve, 30)] {
        set_unused(folder.path(), card, days);
    }
    let limit = |n, dry_run| Gc { unused_for: Some(days(n)), dry_run, ..Gc::default() };
    let out = done(|out| gc(folder.path(), &limit(15, true), out));
    assert!(
        out.contains("bob (bbbbbbbbbbbb) would be removed") && out.contains("would be freed"),
        "{out}"
    );
    assert!(out.contains("ann (aaaaaaaaaaaa) would be compacted"), "{out}");
    assert_eq!(list(folder.path()).unwrap().len(), 3);

    let out = done(|out| gc(folder.path(), &limit(15, false), out));
    assert!(out.contains("bob (bbbbbbbbbbbb) removed"), "{out}");
    assert!(out.contains("ann (aaaaaaaaaaaa) compacted"), "{out}");
    assert!(out.contains("eeeeeeeeeeee is in use by a server and stays"), "{out}");
    drop(eves);
    assert_eq!(names(folder.path()), ["ann", "eve"]);
}

#[test]
fn gc_removes_the_teacher_that_is_named_even_if_its_file_is_damaged() {
    let folder = two_teachers();
    let named = |teacher: &str| Gc { teacher: Some(teacher.to_owned()), ..Gc::default() };
    let in_use = Database::open(&path_of(folder.path(), &card('b', "bob").fingerprint)).unwrap();
    let said = refused(|out| gc(folder.path(), &named("bbbb"), out));
    assert!(said.contains("is in use"), "{said}");
    drop(in_use);
    fs::write(path_of(folder.path(), &card('b', "bob").fingerprint), "no database").unwrap();
    let out = done(|out| gc(folder.path(), &named("bbbb"), out));
    assert!(out.contains("bbbbbbbbbbbb, unreadable, removed"), "{out}");
    assert_eq!(names(folder.path()), ["ann"]);
}

#[test]
fn compacting_gives_the_space_of_removed_rows_back() {
    let folder = tempfile::tempdir().unwrap();
    let ann = card('a', "ann");
    let rows = database(folder.path(), &ann, 0..50_000);
    rows.remove(&(1..50_000).map(content).collect::<Vec<_>>()).unwrap();
    let before = rows.bytes().unwrap();
    drop(rows);
    done(|out| gc(folder.path(), &Gc::default(), out));
    let [listed] = list(folder.path()).unwrap().try_into().unwrap();
    assert!(listed.bytes < before / 2, "{} of {before} bytes", listed.bytes);
    assert_eq!(listed.look(|database| database.unwrap().len().unwrap()), 1);
}

/// A teacher whose logits are in the text, moved by `off`.
struct Told {
    card: TeacherCard,
    off: f32,
}

impl Recompute for Told {
    fn card(&self) -> &TeacherCard {
        &self.card
    }

    fn rows(
        &self,
        texts: &[(&str, Option<&str>)],
    ) -> Result<Vec<Row>, Box<dyn Error + Send + Sync>> {
        let row = |&(text, _): &(&str, Option<&str>)| {
            let n = text.strip_prefix("text ").ok_or("another text")?.parse()?;
            let Row { logits, .. } = row(n);
            Ok(Row { logits: logits.iter().map(|x| x + self.off).collect(), ..row(n) })
        };
        texts.iter().map(row).collect()
    }
}

#[test]
fn rows_that_the_teacher_would_not_say_today_are_an_alarm() {
    let folder = two_teachers();
    let file = folder.path().join("texts.jsonl");
    let line = |n| format!("{{\"text\": \"text {n}\"}}\n");
    // Ten stored texts, one of them twice, and two that are not stored.
    fs::write(&file, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 100, 101].map(line).concat()).unwrap();
    let check = |off, one_in, name: &str| {
        let teacher = Told { card: card(name.chars().next().unwrap(), name), off };
        let (data, columns) = (file.clone(), Columns::default());
        let how = Recheck { data, columns, one_in, tolerance: 0.001 };
        said(|out| recheck(folder.path(), &teacher, &how, out))
    };
    let (out, result) = check(0.0, 1, "ann");
    result.unwrap();
    assert!(
        out.contains("of 12 texts 10 are stored and were computed again, largest difference 0e0"),
        "{out}"
    );
    let (out, result) = check(0.25, 1, "bob");
    assert!(out.contains("texts.jsonl:1: the stored row differs by 2.5e-1"), "{out}");
    let alarm = result.unwrap_err().to_string();
    assert!(alarm.starts_with("10 of 10 stored rows differ"), "{alarm}");
    let (out, result) = check(0.0, 1_000_000_007, "ann");
    result.unwrap();
    assert!(out.contains("of 0 texts 0 are"), "{out}");
    let unknown = check(0.0, 1, "eve").1.unwrap_err().to_string();
    assert!(unknown.contains("has no rows of eve (eeee"), "{unknown}");
}
