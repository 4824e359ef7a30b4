//! Words of a script that sets no spaces, found before a tokenizer sees the text. What `tokenizer.json` cannot
//! say, a model's own configuration does.

use std::{borrow::Cow, sync::LazyLock};

use jieba_rs::Jieba;
use serde::{Deserialize, Serialize};

use super::MASK;

/// What cuts a text into words before the tokenizer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Segmentation {
    /// Nothing: the tokenizer says what a word is.
    #[default]
    None,
    /// jieba's dictionary of Chinese words, with its hidden Markov model for unknown ones.
    Jieba,
}

/// The dictionary, read when first needed: some hundred milliseconds and 100 MB.
static JIEBA: LazyLock<Jieba> = LazyLock::new(Jieba::new);

impl Segmentation {
    /// Whether texts stay as they are.
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }

    /// The text with a space between any two words; a mask token is a word.
    pub fn apply(self, text: &str) -> Cow<'_, str> {
        if self.is_none() {
            return Cow::Borrowed(text);
        }
        let mut spaced = String::with_capacity(text.len() * 3 / 2);
        for (i, part) in text.split(MASK).enumerate() {
            if i > 0 {
                spaced.push_str(MASK);
                spaced.push(' ');
            }
            for token in JIEBA.cut(part, true) {
                if !token.word.trim().is_empty() {
                    spaced.push_str(token.word);
                    spaced.push(' ');
                }
            }
        }
        spaced.truncate(spaced.trim_end().len());
        Cow::Owned(spaced)
    }
}

/// Whether more than half of all letters in `texts` are Chinese characters.
pub fn is_chinese<'a>(texts: impl Iterator<Item = &'a str>) -> bool {
    let (mut chinese, mut letters) = (0usize, 0usize);
    for c in texts.flat_map(str::chars).filter(|c| c.is_alphabetic()) {
        letters += 1;
        let is_ideograph = matches!(c, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}')
            || matches!(c, '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}');
        chinese += usize::from(is_ideograph);
    }
    2 * chinese > letters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jieba_finds_words_and_leaves_a_mask_whole() {
        // As the Python original: jieba.lcut("我来到北京清华大学") == ["我", "来到", "北京", "清华大学"].
        assert_eq!(Segmentation::Jieba.apply("我来到北京清华大学"), "我 来到 北京 清华大学");
        let masked = Segmentation::Jieba.apply("我[MASK]北京 清华大学");
        assert_eq!(masked, "我 [MASK] 北京 清华大学");
        assert_eq!(Segmentation::None.apply("我来到"), "我来到");
    }

    #[test]
    fn texts_are_chinese_if_most_of_their_letters_are() {
        assert!(is_chinese(["我们 love 北京欢迎", "123!"].into_iter()));
        assert!(!is_chinese(["I love 北京", "123!"].into_iter()));
        assert!(!is_chinese(std::iter::empty()));
    }
}
