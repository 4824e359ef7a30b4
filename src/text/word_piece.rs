//! WordPiece from `vocab.txt`, a token a line: BERT and those who took its tokenizer over.

use std::path::Path;

use tokenizers::{
    Tokenizer, models::wordpiece::WordPiece, normalizers::BertNormalizer,
    pre_tokenizers::bert::BertPreTokenizer,
};

use super::{
    TextError,
    family::{Family, Role},
    folder::Bare,
    settings::Settings,
};

pub(super) fn read(path: &Path, family: Family, settings: &Settings) -> Result<Bare, TextError> {
    let unknown = settings.special(Role::Unknown, family)?.map(|(token, _)| token.content);
    let model = WordPiece::from_file(&path.to_string_lossy())
        .unk_token(unknown.unwrap_or_default())
        .build()
        .map_err(TextError::malformed(path))?;
    let mut tokenizer = Tokenizer::new(model);
    tokenizer.with_normalizer(Some(BertNormalizer::new(
        true,
        settings.flag("tokenize_chinese_chars").unwrap_or(true),
        settings.flag("strip_accents"),
        settings.flag("do_lower_case").unwrap_or(true),
    )));
    tokenizer.with_pre_tokenizer(Some(BertPreTokenizer));
    Ok(Bare { tokenizer, marked: Vec::new() })
}
