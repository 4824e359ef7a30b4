//! The part of speech of words that the tagger does not know, by how they end.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{PartOfSpeech, TaggedText};

/// Characters of the longest ending looked at.
const LONGEST: usize = 5;
/// Words that an ending must have been seen in, for the most frequent of their tags to be a guess.
const WORDS: usize = 3;

/// For endings of the words that the tagger knows: the tag that most of these words have. As in Brants 2000 (`TnT`,
/// arXiv cs/0003055, section 2.3), words that are rare decide, for they end like unknown ones: here each distinct word
/// counts once, and a guess is made by the longest ending that enough words have.
#[derive(Debug)]
pub(super) struct Suffixes(HashMap<String, PartOfSpeech>);

impl Suffixes {
    /// From texts that are tagged.
    pub(super) fn of<'a>(texts: impl Iterator<Item = &'a TaggedText>) -> Self {
        let mut known: HashSet<(String, PartOfSpeech)> = HashSet::new();
        for text in texts {
            for (index, word) in text.words.iter().enumerate() {
                if let Some(tag) = word.tag.filter(|tag| tag.takes_new_words()) {
                    known.insert((text.word(index).to_lowercase(), tag));
                }
            }
        }
        let mut counts: HashMap<&str, BTreeMap<PartOfSpeech, usize>> = HashMap::new();
        for (word, tag) in &known {
            for ending in endings(word) {
                *counts.entry(ending).or_default().entry(*tag).or_default() += 1;
            }
        }
        let mut most = HashMap::new();
        for (ending, tags) in counts {
            // The first of equals in alphabetical order.
            let best = tags.iter().rev().max_by_key(|(_, count)| **count);
            if let Some((&tag, _)) = best
                && tags.values().sum::<usize>() >= WORDS
            {
                most.insert(ending.to_owned(), tag);
            }
        }
        Self(most)
    }

    /// Gives a tag to each word that has none and is written in letters.
    pub(super) fn guess(&self, text: &mut TaggedText) {
        for at in 0..text.words.len() {
            if text.words[at].tag.is_none() && text.word(at).chars().all(char::is_alphabetic) {
                let word = text.word(at).to_lowercase();
                text.words[at].tag = endings(&word).find_map(|end| self.0.get(end)).copied();
            }
        }
    }
}

/// The endings of a word, the longest first; not the word itself.
fn endings(word: &str) -> impl Iterator<Item = &str> {
    let starts: Vec<usize> = word.char_indices().map(|(at, _)| at).skip(1).collect();
    let from = starts.len().saturating_sub(LONGEST);
    starts.into_iter().skip(from).map(|at| &word[at..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augmentation::tag;

    #[test]
    fn endings_are_tried_from_the_longest() {
        assert_eq!(endings("walking").collect::<Vec<_>>(), ["lking", "king", "ing", "ng", "g"]);
        assert_eq!(endings("été").collect::<Vec<_>>(), ["té", "é"]);
        assert_eq!(endings("a").count(), 0);
    }

    #[test]
    fn an_unknown_word_is_what_most_words_with_its_ending_are() {
        let seen = tag("she walked slowly , deeply and badly , and talked and looked".to_owned());
        let suffixes = Suffixes::of([&seen].into_iter());
        let mut text = tag("zqxly vvted zqx 7zly".to_owned());
        assert!(text.words.iter().all(|word| word.tag.is_none()), "{:?}", text.words);
        suffixes.guess(&mut text);
        let tags: Vec<_> = text.words.iter().map(|word| word.tag).collect();
        let is = PartOfSpeech::new;
        assert_eq!(tags, [is("ADV"), is("VERB"), None, None]);
    }
}
