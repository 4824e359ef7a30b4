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
    let cases: Vec<_> =
        fs::read_dir(fixtures()).unwrap().map(|case| case.unwrap().path()).collect();
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

#[test]
fn a_folder_without_its_vocabulary_is_told_what_it_lacks() {
    for (case, file, said) in [
        ("xlnet", "spiece.model", "neither tokenizer.json nor spiece.model"),
        ("deberta_v3", "spm.model", "neither tokenizer.json nor spm.model"),
        ("mpnet", "vocab.txt", "neither tokenizer.json nor vocab.txt"),
        ("roberta", "merges.txt", "nor merges.txt beside vocab.json"),
    ] {
        let folder = copy_of(case);
        fs::remove_file(folder.path().join(file)).unwrap();
        let error = refusal(folder.path());
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn a_kind_that_cannot_be_built_is_named_with_the_way_out() {
    let folder = copy_of("mpnet");
    let settings = folder.path().join("tokenizer_config.json");
    fs::write(&settings, r#"{"tokenizer_class": "BertJapaneseTokenizer"}"#).unwrap();
    let error = refusal(folder.path());
    assert!(
        error.contains("tokenizer_config.json: a tokenizer of \"BertJapaneseTokenizer\""),
        "{error}"
    );
    assert!(error.contains("save_pretrained"), "{error}");
    // Says nothing of the kind, so that the encoder's counts.
    fs::write(&settings, r#"{"tokenizer_class": "PreTrainedTokenizerFast"}"#).unwrap();
    Tokenizer::from_folder(folder.path(), 64).unwrap();
    fs::write(folder.path().join("config.json"), r#"{"model_type": "t5"}"#).unwrap();
    assert!(refusal(folder.path()).contains("config.json: a tokenizer of \"t5\""));
}

#[test]
fn an_added_token_must_get_the_id_that_the_folder_states() {
    let folder = copy_of("distilbert");
    let size = Tokenizer::from_folder(folder.path(), 64).unwrap().vocabulary_size();
    let settings = folder.path().join("tokenizer_config.json");
    let with_id = |id: usize| {
        let token = serde_json::json!({"content": "<new>", "special": true});
        let decoder = serde_json::json!({"added_tokens_decoder": {id.to_string(): token}});
        fs::write(&settings, decoder.to_string()).unwrap();
        Tokenizer::from_folder(folder.path(), 64)
    };
    let tokens = with_id(size).unwrap().encode("a<new>", None).unwrap();
    assert!(tokens.ids.contains(&(size as i64)), "{tokens:?}");
    let error = with_id(size + 3).unwrap_err();
    let TextError::WrongId { token, stated, found, .. } = error else { panic!("{error}") };
    assert_eq!((token.as_str(), stated), ("<new>", size as u32 + 3));
    assert_eq!(found, Some(size as u32));
}

#[test]
fn a_vocabulary_without_the_tokens_that_frame_a_text_is_refused() {
    for (token, other) in [("[CLS]\n", "[X]\n"), ("[SEP]\n", "[X]\n"), ("[UNK]\n", "[X]\n")] {
        let folder = copy_of("distilbert");
        let path = folder.path().join("vocab.txt");
        let vocabulary = fs::read_to_string(&path).unwrap().replace(token, other);
        fs::write(&path, vocabulary).unwrap();
        let error = refusal(folder.path());
        assert!(error.contains(&format!("has no {:?} token", token.trim())), "{error}");
    }
}

#[test]
fn a_damaged_sentencepiece_model_is_an_error_and_never_a_panic() {
    let folder = copy_of("xlm_roberta");
    let path = folder.path().join("sentencepiece.bpe.model");
    let whole = fs::read(&path).unwrap();
    for place in (0..whole.len()).step_by(1 + whole.len() / 200) {
        fs::write(&path, &whole[..place]).unwrap();
        // Protobuf has no end mark: a file cut between two pieces is a smaller vocabulary.
        drop(Tokenizer::from_folder(folder.path(), 64));
        let mut damaged = whole.clone();
        damaged[place] ^= [0x01, 0x80, 0xff][place % 3];
        fs::write(&path, damaged).unwrap();
        if let Ok(tokenizer) = Tokenizer::from_folder(folder.path(), 64) {
            drop(tokenizer.encode("caf\u{e9} \u{ff21} fox \u{7535}\u{5f71}", None));
        }
    }
    fs::write(&path, "version https://git-lfs.github.com/spec/v1\noid sha256:00").unwrap();
    let error = refusal(folder.path());
    assert!(error.contains("sentencepiece.bpe.model: not a tokenizer: no whole"), "{error}");
    // Later fields of a message win: `trainer_spec { model_type: BPE }`.
    fs::write(&path, [&whole[..], &[0x12, 0x02, 0x18, 0x02]].concat()).unwrap();
    let error = refusal(folder.path());
    assert!(error.contains("of type Bpe"), "{error}");
}
