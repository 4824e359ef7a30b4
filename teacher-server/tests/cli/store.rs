//! Looking after stored rows.

use std::{fs, path::Path};

use lectern::wire::{Row, label_file::LabelWriter};
use serde_json::Value;
use teacher_server::{
    serve::{Offline, ServeConfig},
    store::commands::Recompute as _,
};
use tempfile::TempDir;

use crate::support::{fixture, refused, stderr, stdout, teacher_server};

/// Soft labels that pyarrow wrote: four rows of the teacher `hand-made`.
fn label_file() -> String {
    let file = "../tests/fixtures/label_files/sound.parquet";
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file).to_str().unwrap().to_owned()
}

fn at(folder: &TempDir, name: &str) -> String {
    folder.path().join(name).to_str().unwrap().to_owned()
}

#[test]
fn labels_are_imported_listed_checked_exported_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (store, copy) = (at(&folder, "rows"), at(&folder, "copy.parquet"));
    let run =
        |args: &[&str]| stdout(&teacher_server(&[&["store", "--store", &store], args].concat()));
    let added = run(&["import", &label_file()]);
    assert_eq!(added, "4 rows of hand-made (0123456789ab) added, 0 were there already\n");
    let stats: Value = serde_json::from_str(&run(&["stats", "--json"])).unwrap();
    assert_eq!((&stats[0]["rows"], &stats[0]["in_use"]), (&4.into(), &false.into()));
    assert!(run(&["stats"]).contains("hand-made"));
    assert_eq!(run(&["verify"]), "hand-made (0123456789ab): 4 rows, 0 bad\n");
    let exported = run(&["export", &copy, "--teacher", "hand-made"]);
    assert!(exported.starts_with("4 rows of hand-made"), "{exported}");
    let again = run(&["import", &copy]);
    assert_eq!(again, "0 rows of hand-made (0123456789ab) added, 4 were there already\n");
    let would = run(&["gc", "--teacher", "0123", "--dry-run"]);
    assert!(would.contains("hand-made (0123456789ab) would be removed"), "{would}");
    assert!(run(&["gc", "--teacher", "0123"]).contains("removed"));
    assert_eq!(fs::read_dir(&store).unwrap().count(), 0);
}

#[test]
fn stored_rows_are_compared_with_the_teacher_they_name() {
    let folder = tempfile::tempdir().unwrap();
    let model = fixture("with_pooler");
    let teacher = Offline::load(&ServeConfig::new(&model)).unwrap();
    let texts = ["a good film", "a dull film that goes on and on", "the plot"];
    let mut rows = teacher.rows(&texts.map(|text| (text, None))).unwrap();
    rows.sort_by_key(|row| row.content);
    let import = |store: &str, rows: &[Row]| {
        let file = at(&folder, "labels.parquet");
        let mut labels = LabelWriter::create(file.as_ref(), teacher.card()).unwrap();
        labels.write(rows.iter().cloned()).unwrap();
        labels.finish().unwrap();
        stdout(&teacher_server(&["store", "import", &file, "--store", store]));
    };
    let lines = texts.map(|text| format!("{{\"text\": \"{text}\"}}\n"));
    let data = at(&folder, "texts.jsonl");
    fs::write(&data, lines.concat() + "{\"text\": \"not stored\"}\n").unwrap();
    let verify = |store: &str| {
        let model = model.to_str().unwrap();
        let args = ["store", "verify", "--store", store, "--model", model, "--data", &data];
        // As the rows were made, on any device.
        teacher_server(&[&args[..], &["--threads", "1", "--dtype", "float32"]].concat())
    };

    let store = at(&folder, "sound");
    import(&store, &rows);
    let said = stdout(&verify(&store));
    assert!(said.contains("of 4 texts 3 are stored and were computed again"), "{said}");
    assert!(said.contains("3 rows, 0 bad"), "{said}");

    let store = at(&folder, "wrong");
    let logits = rows[1].logits.iter().map(|logit| logit + 0.5).collect();
    rows[1] = Row { logits, ..rows[1].clone() };
    import(&store, &rows);
    let output = verify(&store);
    assert_eq!(output.status.code(), Some(1));
    let alarm = stderr(&output);
    assert!(
        alarm.contains("1 of 3 stored rows differ from the teacher by more than 0.001"),
        "{alarm}"
    );
    assert!(String::from_utf8_lossy(&output.stdout).contains("texts.jsonl:"));
}

#[test]
fn what_cannot_be_done_to_a_store_is_said_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let store = at(&folder, "rows");
    for (args, code, said) in [
        (&["stats", "--store", &store][..], 1, "holds no rows"),
        (&["stats", "--store", "redis://localhost"], 2, "maxmemory-policy"),
        (&["verify", "--store", &store, "--model", "x"], 2, "--data FILE"),
        (&["verify", "--store", &store, "--data", "x"], 2, "--model DIR"),
        (&["gc", "--store", &store, "--teacher", "x", "--unused-days", "3"], 2, "--unused-days"),
        (&["import", "--store", &store, "nowhere.parquet"], 1, "nowhere.parquet does not exist"),
        (&["export", "--store", &store, "x.parquet"], 1, "holds no rows"),
    ] {
        let message = refused(&[&["store"], args].concat(), code);
        assert!(message.contains(said), "{args:?}: {message}");
    }
    assert!(!Path::new(&store).exists() && !Path::new("x.parquet").exists());
}
