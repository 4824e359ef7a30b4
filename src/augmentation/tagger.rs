//! Which part of speech each word of a text is, by trained taggers: jieba's for Chinese, a Brill tagger for English.

use std::sync::{Arc, LazyLock};

use harper_brill::{BrillTagger, FreqDict, Tagger as _, brill_tagger};
use jieba_rs::Jieba;

use super::{
    PartOfSpeech,
    words::{TaggedText, Word, split},
};

/// The dictionary takes a good part of a second to load: once, and only for Chinese.
static JIEBA: LazyLock<Jieba> = LazyLock::new(Jieba::new);
/// Trained on Universal Dependencies' English treebanks, with their tags.
static ENGLISH: LazyLock<Arc<BrillTagger<FreqDict>>> = LazyLock::new(brill_tagger);

/// Finds the words of a text and says what they are.
///
/// A text that holds an ideograph is read as Chinese; the words in Latin letters in it are then all `eng`. Any other is read
/// as English: of another language its words are found, and those the tagger does not know have no tag.
pub fn tag(text: String) -> TaggedText {
    let words = if text.chars().any(is_ideograph) { chinese(&text) } else { english(&text) };
    TaggedText { text, words }
}

fn chinese(text: &str) -> Vec<Word> {
    let words = JIEBA.tag(text, true).into_iter().filter(|word| !word.word.trim().is_empty());
    words
        .map(|word| Word {
            start: word.byte_start,
            end: word.byte_end,
            tag: PartOfSpeech::new(word.tag),
        })
        .collect()
}

fn english(text: &str) -> Vec<Word> {
    let words = split(text);
    let sentence: Vec<String> = words.iter().map(|word| text[word.clone()].to_owned()).collect();
    let tags = ENGLISH.tag_sentence(&sentence).into_iter();
    words
        .into_iter()
        .zip(tags)
        .map(|(word, tag)| Word {
            start: word.start,
            end: word.end,
            tag: tag.and_then(|tag| PartOfSpeech::new(tag.as_ref())),
        })
        .collect()
}

const fn is_ideograph(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}')
        || matches!(c, '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(text: &str) -> Vec<(String, String)> {
        let tagged = tag(text.to_owned());
        let name = |word: &Word| word.tag.map_or("-".to_owned(), |tag| tag.name().to_owned());
        let words = (0..tagged.words.len()).map(|i| tagged.word(i).to_owned());
        words.zip(tagged.words.iter().map(name)).collect()
    }

    fn written(tags: &[(String, String)]) -> String {
        tags.iter().map(|(word, tag)| format!("{word}/{tag}")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn english_words_have_universal_tags() {
        let found =
            written(&tags("the old actor sang beautifully , and they loved him in 2 films ."));
        assert_eq!(
            found,
            "the/DET old/ADJ actor/NOUN sang/VERB beautifully/ADV ,/PUNCT and/CCONJ they/PRON \
             loved/VERB him/PRON in/ADP 2/NUM films/NOUN ./PUNCT"
        );
    }

    #[test]
    fn chinese_words_have_the_tags_of_jieba() {
        assert_eq!(written(&tags("我爱北京天安门。")), "我/r 爱/v 北京/ns 天安门/ns 。/x");
        assert_eq!(written(&tags("iPhone 在北京 发布")), "iPhone/eng 在/p 北京/ns 发布/v");
    }

    #[test]
    fn a_word_that_the_tagger_has_not_seen_has_no_tag() {
        assert_eq!(written(&tags("the zqxv")), "the/DET zqxv/-");
    }
}
