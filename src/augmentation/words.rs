//! Where the words of a text stand. What is between them, spaces mostly, is kept as it is.

use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation as _;

use super::PartOfSpeech;

/// A word of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word {
    /// First byte in the text.
    pub start: usize,
    /// The byte after its last.
    pub end: usize,
    /// `None` where the tagger does not know the word.
    pub tag: Option<PartOfSpeech>,
}

/// A text and its words in order. Punctuation marks are words, as they are to taggers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaggedText {
    /// As it was written.
    pub text: String,
    /// They do not overlap, and only white space stands between them.
    pub words: Vec<Word>,
}

impl TaggedText {
    /// The word at `index`.
    pub fn word(&self, index: usize) -> &str {
        let Word { start, end, .. } = self.words[index];
        &self.text[start..end]
    }
}

/// What text in the style of the Penn Treebank has between spaces that is a word of its own: `it 's`, and its brackets.
const WORDS: [&str; 12] =
    ["'s", "'re", "'ve", "'ll", "'d", "'m", "-lrb-", "-rrb-", "-lsb-", "-rsb-", "-lcb-", "-rcb-"];

/// The words of a text that sets spaces between them, by Unicode's rules (UAX 29), with two additions: a mark that is
/// repeated (`...`, `--`) is one word, and so is what is split off a word in text that has been tokenised (`'s`).
pub(super) fn split(text: &str) -> Vec<Range<usize>> {
    let mut words: Vec<Range<usize>> = Vec::new();
    for spaced in text.split_whitespace() {
        // A part of `text`, so its address says where it stands.
        let begin = spaced.as_ptr().addr() - text.as_ptr().addr();
        if WORDS.iter().any(|word| word.eq_ignore_ascii_case(spaced)) {
            words.push(begin..begin + spaced.len());
            continue;
        }
        for (start, segment) in spaced.split_word_bound_indices() {
            let (start, end) = (begin + start, begin + start + segment.len());
            match words.last_mut() {
                Some(last) if last.end == start && repeats(&text[last.clone()], segment) => {
                    last.end = end;
                }
                _ => words.push(start..end),
            }
        }
    }
    words
}

/// Whether `next` is the mark that `word` consists of.
fn repeats(word: &str, next: &str) -> bool {
    let mut marks = next.chars();
    let (mark, more) = (marks.next(), marks.next());
    mark.is_some_and(|mark| !mark.is_alphanumeric() && word.chars().all(|c| c == mark))
        && more.is_none()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(text: &str) -> Vec<&str> {
        split(text).into_iter().map(|word| &text[word]).collect()
    }

    #[test]
    fn tokenised_text_is_split_at_its_spaces() {
        let text = "it 's not good , they do n't -- and -LRB- i 'd say -rrb- so ...";
        assert_eq!(words(text), text.split(' ').collect::<Vec<_>>());
    }

    #[test]
    fn written_text_is_split_by_unicode_and_marks_are_words() {
        assert_eq!(words("It's good, isn't it?!"), ["It's", "good", ",", "isn't", "it", "?", "!"]);
        assert_eq!(words("a well-made  film."), ["a", "well", "-", "made", "film", "."]);
        assert_eq!(words("the 'same' thing"), ["the", "'", "same", "'", "thing"]);
        assert_eq!(words("3.5 of 5"), ["3.5", "of", "5"]);
        assert_eq!(words(" \t\n"), [""; 0]);
    }

    proptest! {
        #[test]
        fn only_white_space_is_between_words(text in "[ a-z'.\u{e9}\u{4e2d}\u{1f600}-]{0,40}") {
            let mut end = 0;
            for word in split(&text) {
                prop_assert!(text[end..word.start].trim().is_empty() && !word.is_empty());
                end = word.end;
            }
            prop_assert!(text[end..].trim().is_empty());
        }
    }
}
