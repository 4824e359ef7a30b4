//! Every format against one set of vectors; fixtures by `tests/fixtures/make_vectors.py`.

use std::{collections::BTreeMap, fs, path::PathBuf};

use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Expected {
    words: BTreeMap<String, Vec<f32>>,
    fasttext: BTreeMap<String, Vec<f32>>,
}

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/vectors").join(name)
}

fn expected() -> Expected {
    serde_json::from_str(&fs::read_to_string(fixture("expected.json")).unwrap()).unwrap()
}

fn read(path: &Path, names: Option<&Path>, wanted: &[&str]) -> Result<WordVectors, TextError> {
    read_vectors(path, names, wanted.iter().copied())
}

fn refusal(path: &Path, names: Option<&Path>) -> String {
    read(path, names, &["the"]).unwrap_err().to_string()
}

/// Words as a lower-cased vocabulary has them, and the word of the file that each stands for.
const WANTED: [(&str, &str); 5] =
    [("the", "the"), ("film", "film"), ("电影", "电影"), ("paris", "Paris"), ("café", "café")];

fn assert_vectors(
    name: &str,
    found: &WordVectors,
    expected: &BTreeMap<String, Vec<f32>>,
    tolerance: f32,
) {
    assert_eq!((found.width(), found.len()), (4, WANTED.len()), "{name}");
    for (word, of) in WANTED {
        for (found, expected) in found.get(word).unwrap().iter().zip(&expected[of]) {
            assert!((found - expected).abs() <= tolerance, "{name}, {word}: {found}, {expected}");
        }
    }
    assert_eq!(found.get("absent"), None);
}

#[test]
fn every_format_gives_the_vectors_of_wanted_words_and_no_others() {
    let expected = expected();
    let mut wanted: Vec<&str> = WANTED.iter().map(|(word, _)| *word).collect();
    wanted.extend(["absent", "."]);
    let names = fixture("words.txt");
    for (name, names, tolerance) in [
        ("glove.txt", None, 0.0),
        ("word2vec.txt", None, 0.0),
        ("sgns.bz2", None, 0.0),
        ("word2vec.bin", None, 0.0),
        ("word2vec.bin.gz", None, 0.0),
        ("float32.npy", Some(names.as_path()), 0.0),
        ("columns_float64.npy", Some(names.as_path()), 0.0),
        // Eleven binary digits of numbers below 4.
        ("float16.npy", Some(names.as_path()), 1e-3),
    ] {
        let found = read(&fixture(name), names, &wanted).unwrap();
        assert_vectors(name, &found, &expected.words, tolerance);
    }
    // Sums in another order.
    let found = read(&fixture("fasttext.bin"), None, &wanted).unwrap();
    assert_vectors("fasttext.bin", &found, &expected.fasttext, 1e-6);
}

#[test]
fn the_variance_is_that_of_all_values() {
    let vectors =
        HashMap::from([("a".to_owned(), vec![1.0, 3.0]), ("b".to_owned(), vec![5.0, 7.0])]);
    // About 4: (9 + 1 + 1 + 9) / 4.
    assert!((WordVectors { width: 2, vectors }.variance() - 5.0).abs() < 1e-12);
}

#[test]
fn a_file_that_was_cut_off_or_is_none_of_the_formats_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vectors");
    let cut = |name: &str, bytes: usize| {
        let whole = fs::read(fixture(name)).unwrap();
        fs::write(&path, &whole[..whole.len() - bytes]).unwrap();
        refusal(&path, name.ends_with("npy").then(|| fixture("words.txt")).as_deref())
    };
    // Within the last line, and before it.
    assert!(cut("word2vec.txt", 30).contains("ends within line 7"));
    assert!(cut("word2vec.txt", 50).contains("ends within line 6"));
    let lines = fs::read_to_string(fixture("word2vec.txt")).unwrap();
    let last = lines.trim_end().rsplit('\n').next().unwrap().len();
    assert!(cut("word2vec.txt", last + 1).contains("ends after 5 of 6 words"));
    assert!(cut("word2vec.bin", 5).contains("downloaded whole"));
    assert!(cut("float32.npy", 4).contains("downloaded whole"));
    assert!(cut("columns_float64.npy", 8).contains("downloaded whole"));
    for (bytes, said) in [
        (&b"PK\x03\x04rest"[..], "unpack it"),
        (b"<html>not found</html>", "neither word2vec's"),
        (b"", "neither word2vec's"),
        (b"2 3\na 1 2 3\nthe 1 x 3\n", "line 3: not 3 numbers"),
    ] {
        fs::write(&path, bytes).unwrap();
        let error = refusal(&path, None);
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn a_table_needs_a_list_of_as_many_words_and_nothing_else_does() {
    let (table, words) = (fixture("float32.npy"), fixture("words.txt"));
    assert!(refusal(&table, None).contains("--vectors-words"));
    assert!(refusal(&fixture("glove.txt"), Some(&words)).contains("belongs to an .npy file"));
    let folder = tempfile::tempdir().unwrap();
    let fewer = folder.path().join("words.txt");
    fs::write(&fewer, "the\nfilm\n").unwrap();
    assert!(refusal(&table, Some(&fewer)).contains("has 2 lines"));
    assert!(refusal(&folder.path().join("absent"), None).contains("absent"));
}
