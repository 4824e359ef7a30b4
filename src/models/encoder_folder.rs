//! What models of one encoder have in common in their folders: the tokenizer, and how checkpoints of different classes
//! name the same tensors.

use std::{collections::HashMap, fs, path::Path};

use tch::Tensor;

use super::{
    ModelError,
    encoders::{Architecture, Facts},
    folder::{malformed, write_text},
};
use crate::text::Tokenizer;

/// The tokenizer of an encoder's folder, for inputs of at most `max_length` tokens, which both can take.
pub(super) fn tokenizer_of(
    folder: &Path,
    architecture: &dyn Architecture,
    max_length: usize,
) -> Result<Tokenizer, ModelError> {
    let Facts { longest_input, vocabulary, .. } = architecture.facts();
    let longest = longest_input.unwrap_or(usize::MAX);
    if max_length < 3 || max_length > longest {
        let cause =
            format!("maximum length {max_length} must lie between 3 and the encoder's {longest}");
        return Err(malformed(&folder.join("config.json"), cause));
    }
    let tokenizer = Tokenizer::from_folder(folder, max_length)?;
    if tokenizer.vocabulary_size() as i64 > vocabulary {
        let cause = format!(
            "tokenizer has {} ids, the word table only {} rows: they are not of one model",
            tokenizer.vocabulary_size(),
            vocabulary
        );
        return Err(malformed(folder, cause));
    }
    Ok(tokenizer)
}

/// Writes the tokenizer of the folder `from` to another.
pub(super) fn write_tokenizer(
    from: &Path,
    tokenizer: &Tokenizer,
    to: &Path,
) -> Result<(), ModelError> {
    // What a vocabulary file and those beside it say stands in tokenizer.json; these few are what `transformers` looks
    // for next to it.
    for name in ["tokenizer_config.json", "special_tokens_map.json", "vocab.txt"] {
        if let Ok(text) = fs::read_to_string(from.join(name)) {
            write_text(to, name, &text)?;
        }
    }
    write_text(to, "tokenizer.json", tokenizer.json())
}

/// Tensor names as the family's `ForSequenceClassification` has them, from any of its checkpoints: a bare
/// encoder's get `prefix`, and those of BERT's original release (`gamma`, `beta`) their new names.
pub(super) fn canonical_names(
    tensors: HashMap<String, Tensor>,
    prefix: &str,
) -> HashMap<String, Tensor> {
    let is_bare = !tensors.keys().any(|name| name.starts_with(prefix));
    tensors
        .into_iter()
        .map(|(name, tensor)| {
            let name = match name.strip_suffix(".gamma").or(name.strip_suffix(".beta")) {
                Some(norm) if name.ends_with("gamma") => format!("{norm}.weight"),
                Some(norm) => format!("{norm}.bias"),
                None => name,
            };
            (if is_bare { format!("{prefix}{name}") } else { name }, tensor)
        })
        .collect()
}

/// Whether a tensor that a checkpoint has under the encoder's prefix, here without it, is none of the encoder's
/// computation: a pooler that no head uses, XLNet's embedding of masked words, buffers of counting numbers that older
/// versions of `transformers` saved, and from `DeBERTa`'s pre-training its decoder's positions and the embeddings as it
/// shared them with its generator.
pub(super) fn is_left_over(name: &str) -> bool {
    let first = name.split('.').next().unwrap_or_default();
    let last = name.rsplit('.').next().unwrap_or_default();
    matches!(first, "pooler" | "mask_emb")
        || matches!(last, "position_ids" | "token_type_ids" | "inv_freq" | "_weight")
        || name == "embeddings.position_embeddings.weight"
}
