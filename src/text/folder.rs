//! The tokenizer of a model folder that has no `tokenizer.json`, put together from the files that its
//! family publishes.

use std::path::Path;

use tokenizers::{
    AddedToken, PostProcessorWrapper, Tokenizer, processors::template::TemplateProcessing,
};

use super::{
    TextError, byte_level,
    family::{Family, Role},
    sentence_piece,
    settings::Settings,
    word_piece,
};

/// A tokenizer without its special tokens.
pub(super) struct Bare {
    pub(super) tokenizer: Tokenizer,
    /// Tokens that the vocabulary file marks as such.
    pub(super) marked: Vec<AddedToken>,
}

/// The tokenizer of `folder`, equal to what `transformers` makes of the same files.
pub(super) fn tokenizer(folder: &Path) -> Result<Tokenizer, TextError> {
    let settings = Settings::read(folder)?;
    // A bare vocabulary says nothing of its kind; until there were others, all of them were BERT's.
    let family = settings.family(folder)?.unwrap_or(Family::Bert);
    let path = folder.join(family.file());
    if !path.is_file() {
        return Err(TextError::Missing { folder: folder.to_owned(), files: family.file() });
    }
    let bare = match family {
        Family::Bert | Family::MpNet => word_piece::read(&path, family, &settings)?,
        Family::Roberta => byte_level::read(&path, &folder.join("merges.txt"), &settings)?,
        Family::XlmRoberta | Family::Xlnet | Family::Albert | Family::DebertaV2 => {
            sentence_piece::read(&path, family, &settings)?
        }
    };
    finished(bare, &path, family, &settings)
}

/// Adds the special tokens and their places.
fn finished(
    bare: Bare,
    path: &Path,
    family: Family,
    settings: &Settings,
) -> Result<Tokenizer, TextError> {
    let Bare { mut tokenizer, marked } = bare;
    let mut tokens: Vec<AddedToken> = settings.by_id().values().cloned().collect();
    for role in Role::ALL {
        let Some((token, stated)) = settings.special(role, family)? else { continue };
        // A token that neither the folder names nor the vocabulary holds would get an id that the
        // encoder has no row for.
        let follows = role == Role::Mask && family.mask_follows_vocabulary();
        if stated || follows || tokenizer.token_to_id(&token.content).is_some() {
            push_new(&mut tokens, token);
        }
    }
    for token in settings.extra()?.unwrap_or(marked) {
        push_new(&mut tokens, token);
    }
    tokenizer.add_tokens(&tokens);
    for (&stated, token) in settings.by_id() {
        let found = tokenizer.token_to_id(&token.content);
        if found != Some(stated) {
            let (path, token) = (settings.path().to_owned(), token.content.clone());
            return Err(TextError::WrongId { path, token, stated, found });
        }
    }

    let special = |role: Role| -> Result<(String, u32), TextError> {
        let token = settings.special(role, family)?.map(|(token, _)| token.content);
        let token = token.unwrap_or_default();
        let missing = || TextError::NoToken { path: path.to_owned(), token: token.clone() };
        Ok((token.clone(), tokenizer.token_to_id(&token).ok_or_else(missing)?))
    };
    special(Role::Unknown)?;
    let (cls, sep) = (special(Role::Class)?, special(Role::Separator)?);
    let template = family.template();
    let named = |text: &str| {
        text.replace("cls:", &format!("{}:", cls.0)).replace("sep:", &format!("{}:", sep.0))
    };
    let processor = TemplateProcessing::builder()
        .try_single(named(template.single))
        .and_then(|builder| builder.try_pair(named(template.pair)))
        .map_err(TextError::malformed(path))?
        .special_tokens(vec![cls, sep])
        .build()
        .map_err(TextError::malformed(path))?;
    tokenizer.with_post_processor(Some(PostProcessorWrapper::from(processor)));
    Ok(tokenizer)
}

fn push_new(tokens: &mut Vec<AddedToken>, token: AddedToken) {
    if tokens.iter().all(|other| other.content != token.content) {
        tokens.push(token);
    }
}
