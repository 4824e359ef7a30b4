//! Unigram from a SentencePiece model file: XLNet, XLM-RoBERTa, ALBERT, DeBERTa-v2 and v3. What stands
//! around the pieces is the family's own, as `transformers` 5 has it, and not the file's.

mod charsmap;
mod proto;

use std::{fs, path::Path};

use prost::Message as _;
use tokenizers::{
    AddedToken, NormalizerWrapper, PreTokenizerWrapper, SplitDelimiterBehavior, Tokenizer,
    models::unigram::Unigram,
    normalizers::{
        Lowercase, NFC, NFKD, Precompiled, Replace, Sequence, Strip, StripAccents,
        replace::ReplacePattern,
    },
    pre_tokenizers::{
        metaspace::{Metaspace, PrependScheme},
        punctuation::Punctuation,
        sequence::Sequence as PreTokenizers,
        whitespace::WhitespaceSplit,
    },
};

use self::proto::{ModelProto, ModelType, PieceType, SentencePiece};
use super::{
    TextError,
    family::{Family, Role},
    folder::Bare,
    settings::Settings,
};

pub(super) fn read(path: &Path, family: Family, settings: &Settings) -> Result<Bare, TextError> {
    let bytes =
        fs::read(path).map_err(|source| TextError::Read { path: path.to_owned(), source })?;
    let malformed = TextError::malformed(path);
    let file = ModelProto::decode(bytes.as_slice())
        .map_err(|cause| malformed(format!("no whole SentencePiece model: {cause}")))?;
    let trainer = file.trainer_spec.unwrap_or_default();
    if trainer.model_type() != ModelType::Unigram {
        return Err(malformed(format!(
            "a SentencePiece model of type {:?}; encoders of this kind have Unigram",
            trainer.model_type()
        )));
    }
    let marked = file.pieces.iter().filter_map(marked).collect();
    let pieces = file.pieces.iter().map(|p| (p.piece().to_owned(), f64::from(p.score()))).collect();
    let (pieces, unknown) = vocabulary(pieces, trainer.unk_id(), family, settings)?;
    let unknown = usize::try_from(unknown).ok();
    let model =
        Unigram::from(pieces, unknown, false).map_err(|cause| malformed(cause.to_string()))?;

    let table = file.normalizer_spec.and_then(|spec| spec.precompiled_charsmap);
    let table = table.filter(|table| !table.is_empty());
    let table = table.map(|table| charsmap::read(&table)).transpose().map_err(malformed)?;
    let mut tokenizer = Tokenizer::new(model);
    tokenizer.with_normalizer(normalizer(family, settings, table)?);
    tokenizer.with_pre_tokenizer(Some(pre_tokenizer(family, settings)));
    Ok(Bare { tokenizer, marked })
}

/// Control pieces are special, the user's own are only never split.
fn marked(piece: &SentencePiece) -> Option<AddedToken> {
    let special = match piece.r#type() {
        PieceType::Control => true,
        PieceType::UserDefined => false,
        _ => return None,
    };
    Some(AddedToken::from(piece.piece(), special).normalized(false))
}

/// Pieces with their scores in the order of the encoder's ids, and the unknown one's id.
fn vocabulary(
    pieces: Vec<(String, f64)>,
    unknown: i32,
    family: Family,
    settings: &Settings,
) -> Result<(Vec<(String, f64)>, i32), TextError> {
    let special = |role| -> Result<(String, f64), TextError> {
        let token = settings.special(role, family)?.map(|(token, _)| token.content);
        Ok((token.unwrap_or_default(), 0.0))
    };
    Ok(match family {
        Family::XlmRoberta => {
            // fairseq's ids: its own four first, where the file has <unk>, <s> and </s>, and the mask last.
            let first = [Role::Begin, Role::Padding, Role::End, Role::Unknown];
            let mut moved = first.into_iter().map(special).collect::<Result<Vec<_>, _>>()?;
            moved.extend(pieces.into_iter().skip(3));
            moved.push(special(Role::Mask)?);
            (moved, 3)
        }
        Family::Albert => (pieces, 1),
        Family::DebertaV2 => {
            let named = special(Role::Unknown)?;
            let found = pieces.iter().position(|piece| *piece == named);
            (pieces, found.map_or(unknown, |id| id as i32))
        }
        _ => (pieces, unknown),
    })
}

fn normalizer(
    family: Family,
    settings: &Settings,
    table: Option<Precompiled>,
) -> Result<Option<NormalizerWrapper>, TextError> {
    let replace = |pattern: ReplacePattern, content: &str| {
        Replace::new(pattern, content).map_err(|cause| TextError::Text(cause.to_string()))
    };
    let quotes = |quotes: &str| replace(ReplacePattern::String(quotes.to_owned()), "\"");
    let lower = settings.flag("do_lower_case").unwrap_or(family == Family::Albert);
    let mut steps: Vec<NormalizerWrapper> = Vec::new();
    match family {
        Family::Albert | Family::Xlnet => {
            steps.extend([quotes("``")?.into(), quotes("''")?.into()]);
            let keeps = family == Family::Albert && settings.flag("keep_accents").unwrap_or(false);
            if !keeps {
                steps.extend([NFKD.into(), StripAccents.into()]);
            }
            if lower {
                steps.push(Lowercase.into());
            }
            steps.extend(table.map(Into::into));
        }
        Family::DebertaV2 => {
            if lower {
                steps.push(Lowercase.into());
            }
            let spaces = ReplacePattern::Regex(r"\s{2,}|[\n\r\t]".to_owned());
            steps.extend([
                replace(spaces, " ")?.into(),
                NFC.into(),
                Strip::new(false, true).into(),
            ]);
        }
        _ => steps.extend(table.map(Into::into)),
    }
    Ok((!steps.is_empty()).then(|| Sequence::new(steps).into()))
}

fn pre_tokenizer(family: Family, settings: &Settings) -> PreTokenizerWrapper {
    let without_prefix = match family {
        Family::DebertaV2 => PrependScheme::First,
        Family::Xlnet => PrependScheme::Always,
        _ => PrependScheme::Never,
    };
    let prefix = settings.flag("add_prefix_space").unwrap_or(true);
    let scheme = if prefix { PrependScheme::Always } else { without_prefix };
    let words: PreTokenizerWrapper = Metaspace::new('\u{2581}', scheme, true).into();
    let first: Option<PreTokenizerWrapper> = match family {
        Family::DebertaV2 => (settings.flag("split_by_punct").unwrap_or(false))
            .then(|| Punctuation::new(SplitDelimiterBehavior::Isolated).into()),
        _ => Some(WhitespaceSplit.into()),
    };
    PreTokenizers::new(first.into_iter().chain([words]).collect()).into()
}
