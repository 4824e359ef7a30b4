//! Text to words where no tokenizer says what a word is.

use tokenizers::{
    NormalizedString, Normalizer as _, OffsetReferential, OffsetType, PreTokenizedString,
    PreTokenizer as _, normalizers::BertNormalizer, pre_tokenizers::bert::BertPreTokenizer,
};

use super::TextError;

/// Splits text into lower-cased words without accents. White space and punctuation decide; punctuation
/// marks and Chinese characters are words of their own.
#[derive(Debug)]
pub struct Words {
    cleaner: BertNormalizer,
}

impl Default for Words {
    fn default() -> Self {
        Self { cleaner: BertNormalizer::new(true, true, None, true) }
    }
}

impl Words {
    /// Hands every word of `text` to `take`, in order.
    pub fn each(&self, text: &str, mut take: impl FnMut(&str)) -> Result<(), TextError> {
        let failed = |cause: tokenizers::Error| TextError::Text(cause.to_string());
        let mut normalized = NormalizedString::from(text);
        self.cleaner.normalize(&mut normalized).map_err(failed)?;
        let mut words = PreTokenizedString::from(normalized);
        BertPreTokenizer.pre_tokenize(&mut words).map_err(failed)?;
        for (word, ..) in words.get_splits(OffsetReferential::Normalized, OffsetType::Byte) {
            take(word);
        }
        Ok(())
    }

    /// The words of `text`.
    pub fn split(&self, text: &str) -> Result<Vec<String>, TextError> {
        let mut words = Vec::new();
        self.each(text, |word| words.push(word.to_owned()))?;
        Ok(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_split_at_spaces_and_marks_and_chinese_by_character() {
        let words = Words::default().split("我们 love 北京, Café2").unwrap();
        assert_eq!(words, ["我", "们", "love", "北", "京", ",", "cafe2"]);
    }
}
