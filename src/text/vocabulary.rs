//! A word vocabulary built from training texts, for students that do not bring a tokenizer.

use std::collections::HashMap;

use tokenizers::{
    AddedToken, models::wordlevel::WordLevel, processors::template::TemplateProcessing,
};

use super::{TextError, WordKind, Words};

/// Token of padding, id 0.
pub(super) const PADDING: &str = "[PAD]";
/// Token of every word that the training texts do not hold, id 1.
const UNKNOWN: &str = "[UNK]";
/// Token of a word that is hidden, the last id; one token wherever it stands in a text.
pub const MASK: &str = "[MASK]";

/// Lower-cased words, punctuation marks and single Chinese characters that occur at least
/// `min_count` times in `texts`, the most frequent `max_size` of them, ties in alphabetical order.
pub fn word_tokenizer<'a>(
    texts: impl Iterator<Item = &'a str>,
    min_count: usize,
    max_size: usize,
) -> Result<tokenizers::Tokenizer, TextError> {
    let counts = WordCounts::new(WordKind::Unicode, texts)?;
    counts.tokenizer(max_size, |_, count| count >= min_count)
}

/// The words of some texts, and how often each occurs.
#[derive(Debug)]
pub struct WordCounts {
    words: Words,
    counts: HashMap<String, usize>,
}

impl WordCounts {
    /// Counts words of a kind.
    pub fn new<'a>(
        kind: WordKind,
        texts: impl Iterator<Item = &'a str>,
    ) -> Result<Self, TextError> {
        let words = Words::of(kind)?;
        let mut counts: HashMap<String, usize> = HashMap::new();
        for text in texts {
            words.each(text, |word| match counts.get_mut(word) {
                Some(count) => *count += 1,
                None => {
                    counts.insert(word.to_owned(), 1);
                }
            })?;
        }
        Ok(Self { words, counts })
    }

    /// Each word with its count, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, usize)> {
        self.counts.iter().map(|(word, &count)| (word.as_str(), count))
    }

    /// A tokenizer of the most frequent words that `keep` wants, given word and count; `max_size` ids at most.
    /// Ties stand in alphabetical order.
    pub fn tokenizer(
        &self,
        max_size: usize,
        keep: impl Fn(&str, usize) -> bool,
    ) -> Result<tokenizers::Tokenizer, TextError> {
        let failed = |cause: tokenizers::Error| TextError::Text(cause.to_string());
        let mut words: Vec<_> = self.iter().filter(|(word, count)| keep(word, *count)).collect();
        words.sort_by(|(a, m), (b, n)| n.cmp(m).then_with(|| a.cmp(b)));
        words.truncate(max_size.saturating_sub(3));

        let vocabulary = [PADDING, UNKNOWN]
            .into_iter()
            .chain(words.into_iter().map(|(word, _)| word))
            .enumerate()
            .map(|(id, word)| (word.to_owned(), id as u32))
            .collect();
        let model = WordLevel::builder()
            .vocab(vocabulary)
            .unk_token(UNKNOWN.to_owned())
            .build()
            .map_err(failed)?;
        let mut tokenizer = tokenizers::Tokenizer::new(model);
        tokenizer.with_normalizer(Some(self.words.cleaner));
        tokenizer.with_pre_tokenizer(Some(self.words.splitter.clone()));
        // Says which tokens are of the second text of a pair.
        let processor = TemplateProcessing::builder()
            .try_single("$A:0")
            .and_then(|builder| builder.try_pair("$A:0 $B:1"))
            .map_err(TextError::Text)?
            .build()
            .map_err(|cause| TextError::Text(cause.to_string()))?;
        tokenizer.with_post_processor(Some(processor));
        tokenizer.add_special_tokens(&[AddedToken::from(MASK, true)]);
        Ok(tokenizer)
    }
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
        // The last is the mask.
        assert_eq!(tokenizer.vocabulary_size(), 6);
        assert_eq!(tokenizer.encode("a[MASK]film [mask]", None).unwrap().ids, [1, 5, 4, 1, 1, 1]);
        let pair = tokenizer.encode("the film", Some(", film")).unwrap();
        assert_eq!((pair.ids, pair.type_ids), (vec![2, 4, 3, 4], vec![0, 0, 1, 1]));
    }

    #[test]
    fn words_of_jieba_need_its_segmentation_and_characters_do_not() {
        let texts = ["我来到北京清华大学", "北京"];
        let tokenizer = |kind: WordKind| {
            let words = WordCounts::new(kind, texts.into_iter()).unwrap();
            let words = words.tokenizer(100, |_, _| true).unwrap();
            // As a run folder keeps it.
            let words = words.to_string(false).unwrap().parse::<tokenizers::Tokenizer>().unwrap();
            Tokenizer::new(words, 20).unwrap().with_segmentation(kind.segmentation())
        };
        let jieba = tokenizer(WordKind::Jieba);
        // 北京 twice, then 我, 来到, 清华大学 in the order of their code points.
        assert_eq!(jieba.encode("清华大学[MASK]北京", None).unwrap().ids, [5, 6, 2]);
        let characters = tokenizer(WordKind::Characters);
        assert_eq!(characters.encode("京[MASK]x", None).unwrap().len(), 3);
        assert_eq!(characters.vocabulary_size(), 2 + 9 + 1);
    }
}
