//! A word vocabulary built from training texts, for students that do not bring a tokenizer.

use std::collections::HashMap;

use tokenizers::{
    models::wordlevel::WordLevel, normalizers::BertNormalizer,
    pre_tokenizers::bert::BertPreTokenizer,
};

use super::{TextError, Words};

/// Token of padding, id 0.
const PADDING: &str = "[PAD]";
/// Token of every word that the training texts do not hold, id 1.
const UNKNOWN: &str = "[UNK]";

/// Lower-cased words, punctuation marks and single Chinese characters that occur at least
/// `min_count` times in `texts`, the most frequent `max_size` of them, ties in alphabetical order.
pub fn word_tokenizer<'a>(
    texts: impl Iterator<Item = &'a str>,
    min_count: usize,
    max_size: usize,
) -> Result<tokenizers::Tokenizer, TextError> {
    let failed = |cause: tokenizers::Error| TextError::Text(cause.to_string());
    let splitter = Words::default();
    let mut counts: HashMap<String, usize> = HashMap::new();
    for text in texts {
        splitter.each(text, |word| match counts.get_mut(word) {
            Some(count) => *count += 1,
            None => {
                counts.insert(word.to_owned(), 1);
            }
        })?;
    }
    let mut words: Vec<_> = counts.into_iter().filter(|(_, count)| *count >= min_count).collect();
    words.sort_by(|(a, m), (b, n)| n.cmp(m).then_with(|| a.cmp(b)));
    words.truncate(max_size.saturating_sub(2));

    let special = [PADDING, UNKNOWN].map(str::to_owned);
    let vocabulary = special
        .into_iter()
        .chain(words.into_iter().map(|(word, _)| word))
        .enumerate()
        .map(|(id, word)| (word, id as u32))
        .collect();
    let model = WordLevel::builder()
        .vocab(vocabulary)
        .unk_token(UNKNOWN.to_owned())
        .build()
        .map_err(failed)?;
    let mut tokenizer = tokenizers::Tokenizer::new(model);
    tokenizer.with_normalizer(Some(BertNormalizer::new(true, true, None, true)));
    tokenizer.with_pre_tokenizer(Some(BertPreTokenizer));
    Ok(tokenizer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Tokenizer;

    #[test]
    fn frequent_words_come_first_and_rare_ones_are_unknown() {
        let texts = ["The film , the 电影 !", "the end , rare", "the film"];
        let tokenizer = word_tokenizer(texts.into_iter(), 2, 100).unwrap();
        let tokenizer = Tokenizer::new(tokenizer, 8).unwrap();
        // Counts: the 4, film 2, "," 2; the rest once. "," sorts before "film".
        let tokens = tokenizer.encode("THE film, rare 电", None).unwrap();
        assert_eq!(tokens.ids, [2, 4, 3, 1, 1]);
        assert_eq!(tokenizer.vocabulary_size(), 5);
    }
}
