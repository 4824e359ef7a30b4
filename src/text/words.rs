//! Text to words where no tokenizer says what a word is.

use serde::{Deserialize, Serialize};
use tokenizers::{
    NormalizedString, Normalizer as _, OffsetReferential, OffsetType, PreTokenizedString,
    PreTokenizer as _, PreTokenizerWrapper, SplitDelimiterBehavior,
    normalizers::BertNormalizer,
    pre_tokenizers::{
        bert::BertPreTokenizer,
        sequence::Sequence,
        split::{Split, SplitPattern},
        whitespace::WhitespaceSplit,
    },
};

use super::{Segmentation, TextError};

/// What a word is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WordKind {
    /// What stands between white space and punctuation; punctuation marks and Chinese characters are
    /// words of their own.
    #[default]
    Unicode,
    /// Every character but white space.
    Characters,
    /// What jieba finds.
    Jieba,
}

impl WordKind {
    /// What must be done to a text before its tokenizer sees it.
    pub const fn segmentation(self) -> Segmentation {
        match self {
            Self::Unicode | Self::Characters => Segmentation::None,
            Self::Jieba => Segmentation::Jieba,
        }
    }
}

/// Splits text into lower-cased words without accents.
#[derive(Debug)]
pub struct Words {
    pub(super) cleaner: BertNormalizer,
    pub(super) splitter: PreTokenizerWrapper,
    segmentation: Segmentation,
}

impl Default for Words {
    /// [`WordKind::Unicode`].
    fn default() -> Self {
        Self {
            cleaner: BertNormalizer::new(true, true, None, true),
            splitter: BertPreTokenizer.into(),
            segmentation: Segmentation::None,
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the signature that `map_err` wants")]
fn failed(cause: tokenizers::Error) -> TextError {
    TextError::Text(cause.to_string())
}

impl Words {
    /// What splits into words of a kind.
    pub fn of(kind: WordKind) -> Result<Self, TextError> {
        let default = Self::default();
        Ok(match kind {
            WordKind::Unicode => default,
            WordKind::Characters => {
                let each = SplitPattern::Regex(".".to_owned());
                let each = Split::new(each, SplitDelimiterBehavior::Isolated, false);
                let parts = vec![BertPreTokenizer.into(), each.map_err(failed)?.into()];
                Self { splitter: Sequence::new(parts).into(), ..default }
            }
            // The words are there; spaces around Chinese characters would undo them.
            WordKind::Jieba => Self {
                cleaner: BertNormalizer::new(true, false, None, true),
                splitter: WhitespaceSplit.into(),
                segmentation: kind.segmentation(),
            },
        })
    }

    /// Hands every word of `text` to `take`, in order.
    pub fn each(&self, text: &str, mut take: impl FnMut(&str)) -> Result<(), TextError> {
        let mut normalized = NormalizedString::from(self.segmentation.apply(text).as_ref());
        self.cleaner.normalize(&mut normalized).map_err(failed)?;
        let mut words = PreTokenizedString::from(normalized);
        self.splitter.pre_tokenize(&mut words).map_err(failed)?;
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

    #[test]
    fn characters_and_words_of_jieba_are_lower_cased_too() {
        let split = |kind, text| Words::of(kind).unwrap().split(text).unwrap();
        assert_eq!(split(WordKind::Characters, "北京 Hé2!"), ["北", "京", "h", "e", "2", "!"]);
        assert_eq!(split(WordKind::Jieba, "清华大学 iPhone"), ["清华大学", "iphone"]);
    }
}
