//! The distinct documents of some files with their labels, and their words. Knows no graph.

use std::collections::{BTreeMap, HashMap};

use lectern::{
    text::{TextError, Words},
    wire::ContentHash,
};

/// Distinct texts in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Documents {
    index: HashMap<ContentHash, usize>,
    contents: Vec<ContentHash>,
    texts: Vec<String>,
    labels: Vec<Option<usize>>,
}

impl Documents {
    /// A text that is there already keeps its first label.
    pub(super) fn add(&mut self, text: &str, pair: Option<&str>, label: Option<usize>) {
        let content = ContentHash::new(text, pair);
        let at = *self.index.entry(content).or_insert(self.contents.len());
        if at == self.contents.len() {
            self.contents.push(content);
            self.texts.push(pair.map_or(text.to_owned(), |pair| format!("{text}\n{pair}")));
            self.labels.push(None);
        }
        self.labels[at] = self.labels[at].or(label);
    }

    pub(super) fn has_label(&self, text: &str, pair: Option<&str>) -> bool {
        let at = self.index.get(&ContentHash::new(text, pair));
        at.is_some_and(|&at| self.labels[at].is_some())
    }

    pub(super) fn len(&self) -> usize {
        self.contents.len()
    }

    pub(super) fn contents(&self) -> &[ContentHash] {
        &self.contents
    }

    /// The label of each document that has one.
    pub(super) fn labels(&self) -> &[Option<usize>] {
        &self.labels
    }
}

/// Documents as numbers.
#[derive(Debug)]
pub(super) struct Corpus {
    /// Every word that occurs often enough, in alphabetical order.
    pub(super) vocabulary: Vec<String>,
    /// For each document its words in order, as places in the vocabulary; rare ones are left out.
    pub(super) documents: Vec<Vec<u32>>,
}

impl Corpus {
    /// Splits every document; a word must occur `min_count` times in all of them together.
    pub(super) fn new(documents: &Documents, min_count: usize) -> Result<Self, TextError> {
        let splitter = Words::default();
        let texts = documents.texts.iter().map(|text| splitter.split(text));
        let texts = texts.collect::<Result<Vec<_>, _>>()?;
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for word in texts.iter().flatten() {
            *counts.entry(word).or_default() += 1;
        }
        counts.retain(|_, count| *count >= min_count);
        let ids: HashMap<&str, u32> = counts.keys().copied().zip(0..).collect();
        let known = |text: &Vec<String>| {
            text.iter().filter_map(|word| ids.get(word.as_str()).copied()).collect()
        };
        let documents = texts.iter().map(known).collect();
        Ok(Self { vocabulary: counts.into_keys().map(str::to_owned).collect(), documents })
    }

    /// Words of the longest document.
    pub(super) fn longest(&self) -> usize {
        self.documents.iter().map(Vec::len).max().unwrap_or(0)
    }
}
