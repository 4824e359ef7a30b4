//! How often each word stands in the training texts, by part of speech.

use std::collections::{BTreeMap, HashMap};

use super::{PartOfSpeech, TaggedText, chance::Chance};

/// Unigram counts of the words of each part of speech, as they are written.
#[derive(Debug, Clone, Default)]
pub struct Unigrams(HashMap<PartOfSpeech, Counted>);

/// Words of one part of speech in alphabetical order.
#[derive(Debug, Clone, Default)]
struct Counted {
    words: Vec<String>,
    /// Occurrences of each word and those before it.
    up_to: Vec<u64>,
}

impl Unigrams {
    /// Counts the words that have a tag.
    pub fn count<'a>(texts: impl Iterator<Item = &'a TaggedText>) -> Self {
        let mut counts: HashMap<PartOfSpeech, BTreeMap<&str, u64>> = HashMap::new();
        for text in texts {
            for (index, word) in text.words.iter().enumerate() {
                if let Some(tag) = word.tag {
                    *counts.entry(tag).or_default().entry(text.word(index)).or_default() += 1;
                }
            }
        }
        let counted = |words: BTreeMap<&str, u64>| {
            let mut counted = Counted::default();
            let mut before = 0;
            for (word, count) in words {
                before += count;
                counted.words.push(word.to_owned());
                counted.up_to.push(before);
            }
            counted
        };
        Self(counts.into_iter().map(|(tag, words)| (tag, counted(words))).collect())
    }

    /// Draws another word than `word` of the part of speech `tag`, each with a chance of its share of the occurrences of
    /// the others. `None` if there is no other.
    pub(super) fn another(
        &self,
        tag: PartOfSpeech,
        word: &str,
        chance: &mut impl Chance,
    ) -> Option<&str> {
        let Counted { words, up_to } = self.0.get(&tag)?;
        let own = match words.binary_search_by(|other| other.as_str().cmp(word)) {
            Ok(at) => (if at == 0 { 0 } else { up_to[at - 1] })..up_to[at],
            Err(_) => 0..0,
        };
        let others = up_to.last()? - (own.end - own.start);
        if others == 0 {
            return None;
        }
        let mut drawn = chance.below(others);
        if drawn >= own.start {
            drawn += own.end - own.start;
        }
        words.get(up_to.partition_point(|&up_to| up_to <= drawn)).map(String::as_str)
    }
}
