//! Byte-level BPE from `vocab.json` and `merges.txt`: RoBERTa and those who took its tokenizer over.

use std::path::Path;

use tokenizers::{Tokenizer, models::bpe::BPE, pre_tokenizers::byte_level::ByteLevel};

use super::{TextError, folder::Bare, settings::Settings};

pub(super) fn read(vocab: &Path, merges: &Path, settings: &Settings) -> Result<Bare, TextError> {
    if !merges.is_file() {
        let folder = vocab.parent().unwrap_or(vocab).to_owned();
        return Err(TextError::Missing { folder, files: "merges.txt beside vocab.json" });
    }
    let model =
        BPE::from_file(&vocab.to_string_lossy(), &merges.to_string_lossy()).build().map_err(
            |cause| TextError::malformed(vocab)(format!("with {}: {cause}", merges.display())),
        )?;
    let mut tokenizer = Tokenizer::new(model);
    let space = settings.flag("add_prefix_space").unwrap_or(false);
    tokenizer.with_pre_tokenizer(Some(ByteLevel::new(space, true, true)));
    Ok(Bare { tokenizer, marked: Vec::new() })
}
