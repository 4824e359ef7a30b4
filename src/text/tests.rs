//! Tokenizers against `transformers`; fixtures by `tests/fixtures/make_tokenizers.py`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{TextError, Tokenizer};

#[derive(Deserialize)]
struct Expected {
    batches: Vec<Batch>,
}

#[derive(Deserialize)]
struct Batch {
    max_length: Option<usize>,
    texts: Vec<String>,
    text_pairs: Option<Vec<String>>,
    input_ids: Vec<Vec<i64>>,
    token_type_ids: Vec<Vec<i64>>,
}

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokenizers")
}

fn copy_of(case: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in fs::read_dir(fixtures().join(case)).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
    }
    folder
}

fn refusal(folder: &Path) -> String {
    Tokenizer::from_folder(folder, 64).unwrap_err().to_string()
}

#[test]
fn every_kind_gives_the_ids_and_types_of_transformers_and_so_does_its_tokenizer_json() {
    let cases: Vec<_> = fs::read_dir(fixtures()).unwrap().map(|case| case.unwrap().path()).collect();
    assert_eq!(cases.len(), 11);
    for case in cases {
        let name = case.file_name().unwrap().to_string_lossy();
        let expected = fs::read_to_string(case.join("expected.json")).unwrap();
        for batch in serde_json::from_str::<Expected>(&expected).unwrap().batches {
            let max_length = batch.max_length.unwrap_or(512);
            let built = Tokenizer::from_folder(&case, max_length).unwrap();
            let json = tempfile::NamedTempFile::new().unwrap();
            fs::write(json.path(), built.json()).unwrap();
            let saved = Tokenizer::from_file(json.path(), max_length).unwrap();
            assert_eq!(saved.json(), built.json(), "{name}");
            for tokenizer in [built, saved] {
                for (i, text) in batch.texts.iter().enumerate() {
                    let pair = batch.text_pairs.as_ref().map(|pairs| pairs[i].as_str());
                    let found = tokenizer.encode(text, pair).unwrap();
                    let wanted = (&batch.input_ids[i], &batch.token_type_ids[i]);
                    assert_eq!((&found.ids, &found.type_ids), wanted, "{name}: {text:?}, {pair:?}");
                }
            }
        }
    }
}
