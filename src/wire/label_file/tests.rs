//! Round trips, files of other writers, and everything that must not be believed.

use std::{fs, path::Path, sync::Arc};

use super::*;
use crate::wire::{Encoding, Limits, Row, TeacherCard};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/label_files")
        .join(format!("{name}.parquet"))
}

fn card() -> TeacherCard {
    TeacherCard {
        task: crate::data::Task::SingleLabel,
        fingerprint: "0123456789abcdef".repeat(4).parse().unwrap(),
        name: "hand-made".to_owned(),
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

fn row(hash: [u8; 16], logits: [f32; 3]) -> Row {
    Row {
        content: ContentHash::from_bytes(hash),
        logits: logits.into(),
        variance: None,
        truncated: false,
    }
}

/// What `make_label_files.py` puts into its sound files.
fn fixture_rows() -> Vec<Row> {
    let variance: Option<Arc<[f32]>> = Some([0.25, 0.0, 0.5].into());
    vec![
        row([1; 16], [0.5, -1.25, 3.0]),
        row([2; 16], [-0.0, 1e-38, 1e38]),
        Row { variance, ..row([3; 16], [1.0, 2.0, 3.0]) },
        Row { truncated: true, ..row([255; 16], [4.0, 5.0, 6.0]) },
    ]
}

fn read(path: &Path) -> Result<Vec<Row>, LabelFileError> {
    LabelReader::open(path)?.collect()
}

fn refused(name: &str) -> String {
    let said = read(&fixture(name)).unwrap_err().to_string();
    let path = fixture(name).display().to_string();
    said.strip_prefix(&path).unwrap_or_else(|| panic!("no file is named: {said}")).to_owned()
}

#[test]
fn rows_and_card_come_back_bit_by_bit_over_many_row_groups() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("labels.parquet");
    // More rows than a row group holds, and than a batch.
    let rows: Vec<Row> = (0..150_000_u32)
        .map(|i| {
            let mut hash = [0; 16];
            hash[..4].copy_from_slice(&i.to_be_bytes());
            let value = i as f32 / 7.0;
            let variance = (i % 3 == 0).then(|| [value, 0.0, 1.0].into());
            Row { variance, truncated: i % 5 == 0, ..row(hash, [value, -value, -0.0]) }
        })
        .collect();
    let mut writer = LabelWriter::create(&path, &card()).unwrap();
    for rows in rows.chunks(10_007) {
        writer.write(rows.iter().cloned()).unwrap();
    }
    assert!(!path.exists(), "it stands there before it is whole");
    assert_eq!(writer.finish().unwrap(), 150_000);

    let reader = LabelReader::open(&path).unwrap();
    assert_eq!((reader.card(), reader.rows()), (&card(), 150_000));
    let bits = |row: &Row| row.logits.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    let mut read = 0;
    for (found, row) in reader.zip(&rows) {
        let found = found.unwrap();
        assert_eq!((&found, bits(&found)), (row, bits(row)));
        read += 1;
    }
    assert_eq!(read, rows.len());
}

#[test]
fn a_writer_that_is_dropped_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = LabelWriter::create(&folder.path().join("labels.parquet"), &card()).unwrap();
    writer.write(fixture_rows()).unwrap();
    drop(writer);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_store_without_rows_becomes_a_file_without_rows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("labels.parquet");
    assert_eq!(LabelWriter::create(&path, &card()).unwrap().finish().unwrap(), 0);
    assert_eq!(read(&path).unwrap(), []);
}

#[test]
fn files_that_pyarrow_wrote_are_read() {
    for name in ["sound", "fixed_size"] {
        let reader = LabelReader::open(&fixture(name)).unwrap();
        assert_eq!(reader.card(), &card());
        assert_eq!(reader.collect::<Result<Vec<_>, _>>().unwrap(), fixture_rows(), "{name}");
    }
}

#[test]
fn a_row_that_stands_there_twice_the_same_is_one_row() {
    assert_eq!(read(&fixture("twice_the_same")).unwrap(), fixture_rows());
}

#[test]
fn a_bad_row_is_named_with_its_file_and_number() {
    let three = "03".repeat(16);
    for (name, said) in [
        ("null_logits", ":3: no value in column \"logits\""),
        ("hole_in_logits", ":2: no value in column \"logits\""),
        ("hole_in_variance", ":4: no value in column \"variance\""),
        ("short_logits", ":4: 2 values in column \"logits\", the teacher has 3 labels"),
        ("nan", ":1: value 1 of column \"logits\" is NaN"),
        ("null_hash", ":2: no value in column \"content_hash\""),
        ("null_truncated", ":2: no value in column \"truncated\""),
        ("unsorted", ":3: content 01010101010101010101010101010100 after 0202"),
        ("differs", &format!(":4: content {three} has other values than in the row before")),
    ] {
        let found = refused(name);
        assert!(found.starts_with(said), "{name}: {found}");
    }
}

#[test]
fn a_file_of_another_kind_is_refused_before_its_rows() {
    for (name, said) in [
        ("doubles", ": column \"logits\" must be a list of FLOAT, found a list of DOUBLE"),
        ("short_hashes", ": column \"content_hash\" must be 16 bytes"),
        ("no_card", ": no \"lectern.content_hash\" among the file's metadata"),
        ("other_hash", ": \"lectern.content_hash\" of the file's metadata: \"lectern.v2"),
        ("one_label", ": \"lectern.teacher_card\" of the file's metadata: a single-label task"),
        ("no_fingerprint", ": \"lectern.teacher_card\" of the file's metadata: the teacher's card"),
    ] {
        let found = refused(name);
        assert!(found.starts_with(said), "{name}: {found}");
    }
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/data");
    let texts = fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path());
    let texts = texts.filter(|path| path.extension().is_some_and(|ending| ending == "parquet"));
    for path in texts {
        let said = read(&path).unwrap_err().to_string();
        assert!(said.contains("must be") || said.contains("not a readable"), "{said}");
    }
    let absent = read(&fixture("nowhere")).unwrap_err().to_string();
    assert!(absent.ends_with("nowhere.parquet does not exist"), "{absent}");
}

#[test]
fn a_file_damaged_anywhere_is_an_error_or_the_rows_it_had_and_never_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.parquet");
    let sound = fs::read(fixture("sound")).unwrap();
    for place in (0..sound.len()).step_by(7) {
        let mut bytes = sound.clone();
        bytes[place] ^= 0x55;
        fs::write(&path, bytes).unwrap();
        if let Ok(rows) = read(&path) {
            assert!(rows.iter().all(|row| row.logits.len() == 3), "byte {place}");
        }
        fs::write(&path, &sound[..place]).unwrap();
        assert!(read(&path).is_err(), "cut at byte {place}");
    }
}

#[test]
fn the_writer_takes_only_what_the_reader_would_believe() {
    let folder = tempfile::tempdir().unwrap();
    let write = |rows: Vec<Row>| {
        let mut writer = LabelWriter::create(&folder.path().join("x.parquet"), &card()).unwrap();
        writer.write(rows).unwrap_err().to_string()
    };
    let good = row([2; 16], [0.0; 3]);
    let earlier = write(vec![good.clone(), row([1; 16], [0.0; 3])]);
    assert!(earlier.contains("x.parquet:2: content 0101"), "{earlier}");
    let twice = write(vec![good.clone(), good.clone()]);
    assert!(twice.contains(":2: content 0202"), "{twice}");
    let nan = write(vec![row([1; 16], [0.0, f32::INFINITY, 0.0])]);
    assert!(nan.contains(":1: value 1 of column \"logits\" is inf"), "{nan}");
    let variance = write(vec![Row { variance: Some([0.0].into()), ..good }]);
    assert!(variance.contains("1 values in column \"variance\""), "{variance}");
}
