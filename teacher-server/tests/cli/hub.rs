//! Models by their names on the Hugging Face hub, from a cache alone: these tests reach no network.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use tempfile::TempDir;

use crate::support::{command, fixture, stderr, stdout};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A cache as Python's `huggingface_hub` leaves it, with the teacher of the fixtures as `org/film`.
fn cache() -> TempDir {
    let home = tempfile::tempdir().unwrap();
    let repo = home.path().join("hub/models--org--film");
    let snapshot = repo.join("snapshots").join(COMMIT);
    fs::create_dir_all(&snapshot).unwrap();
    fs::create_dir_all(repo.join("refs")).unwrap();
    fs::write(repo.join("refs/main"), COMMIT).unwrap();
    for file in fs::read_dir(fixture("with_pooler")).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), snapshot.join(file.file_name())).unwrap();
    }
    home
}

/// The program offline, with `home` as the place of the cache.
fn offline(home: &Path, args: &[&str]) -> Command {
    let mut command = command(args);
    command.env("HF_HOME", home).env("HF_HUB_OFFLINE", "1").env_remove("HF_HUB_CACHE");
    command
}

fn predicted(home: &Path, model: &str, texts: &str) -> Output {
    let args = ["predict", "--model", model, "--plain", texts, "--threads", "1"];
    offline(home, &args).output().unwrap()
}

#[test]
fn a_cached_model_answers_to_its_name_as_its_folder_does() {
    let home = cache();
    let texts = home.path().join("texts.txt");
    fs::write(&texts, "the best movie of the year\ndull\n").unwrap();
    let texts = texts.to_str().unwrap();
    let folder = fixture("with_pooler");
    let by_folder = stdout(&predicted(home.path(), folder.to_str().unwrap(), texts));
    for name in ["org/film", "org/film@main", &format!("org/film@{COMMIT}")] {
        assert_eq!(stdout(&predicted(home.path(), name, texts)), by_folder, "{name}");
    }
}

#[test]
fn what_cannot_be_had_offline_is_refused_before_anything_starts() {
    let home = cache();
    let serve = ["serve", "--listen", "127.0.0.1:0", "--store", "none", "--model"];
    let judge = ["evaluate", "--data", "nowhere.jsonl", "--model"];
    for (name, said) in [
        ("org/other", "org/other@main: revision main is not in the cache"),
        ("org/film@v2", "org/film@v2: revision v2 is not in the cache"),
        ("org/film@", "org/film@: no such folder, and no name"),
    ] {
        for args in [&serve[..], &judge[..]] {
            let output = offline(home.path(), &[args, &[name]].concat()).output().unwrap();
            let message = stderr(&output);
            assert_eq!(output.status.code(), Some(1), "{message}");
            assert!(message.contains(said), "{message}");
        }
    }
}
