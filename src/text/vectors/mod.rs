//! Pretrained word vectors from the formats that people publish them in. Files of millions of words are read
//! once from front to back; only the vectors of wanted words are kept.

mod fasttext;
mod npy;
mod open;
#[cfg(test)]
mod tests;
mod text;
mod word2vec;

use std::{
    collections::{HashMap, HashSet},
    path::Path,
};

use super::TextError;

/// The vectors of some words.
#[derive(Debug)]
pub struct WordVectors {
    width: usize,
    vectors: HashMap<String, Vec<f32>>,
}

impl WordVectors {
    /// `E`.
    pub const fn width(&self) -> usize {
        self.width
    }

    /// Words that have a vector.
    pub fn len(&self) -> usize {
        self.vectors.len()
    }

    /// Whether no word has a vector.
    pub fn is_empty(&self) -> bool {
        self.vectors.is_empty()
    }

    /// `[E]`.
    pub fn get(&self, word: &str) -> Option<&[f32]> {
        self.vectors.get(word).map(Vec::as_slice)
    }

    /// Variance of all values of all vectors about their mean; 0 without vectors.
    pub fn variance(&self) -> f64 {
        // In the order of words, that sums come out the same each time.
        let mut words: Vec<_> = self.vectors.iter().collect();
        words.sort_unstable_by_key(|(word, _)| *word);
        let values = || words.iter().flat_map(|(_, vector)| vector.iter()).map(|&v| f64::from(v));
        let count = (self.len() * self.width).max(1) as f64;
        let mean = values().sum::<f64>() / count;
        values().map(|value| (value - mean).powi(2)).sum::<f64>() / count
    }
}

/// The vectors of those of the `wanted` words that a file has. Wanted words are lower-cased; where the file has
/// no such word but one with capitals, that one's vector counts, the first of several.
///
/// The file tells its format: word2vec's text (that of `GloVe`, fastText's `.vec` and Chinese-Word-Vectors'
/// `sgns.*` too) or binary one, fastText's `.bin`, or a two-dimensional `.npy`, whose words `names` lists, one
/// a line. Text and word2vec's binary format may be compressed with gzip or bzip2.
pub fn read_vectors<'a>(
    path: &Path,
    names: Option<&Path>,
    wanted: impl IntoIterator<Item = &'a str>,
) -> Result<WordVectors, TextError> {
    let wanted = wanted.into_iter().collect();
    let mut found = Found { wanted, vectors: HashMap::new() };
    let width = match (open::open(path)?, names) {
        (open::Opened::Npy, Some(names)) => npy::read(path, names, &mut found)?,
        (open::Opened::Npy, None) => {
            let cause = "a table without words: name the file of its words, one a line, with \
                         --vectors-words";
            return Err(broken(path, cause));
        }
        (_, Some(_)) => {
            let cause = "--vectors-words belongs to an .npy file; this one holds its words itself";
            return Err(broken(path, cause));
        }
        (open::Opened::FastText, None) => fasttext::read(path, &mut found)?,
        (open::Opened::Text(file), None) => text::read(path, file, &mut found)?,
        (open::Opened::Word2Vec(file), None) => word2vec::read(path, file, &mut found)?,
    };
    let vectors = found.vectors.into_iter().map(|(word, (vector, _))| (word, vector)).collect();
    Ok(WordVectors { width, vectors })
}

/// What was found so far.
struct Found<'a> {
    wanted: HashSet<&'a str>,
    /// Each with whether the file has the word in this spelling.
    vectors: HashMap<String, (Vec<f32>, bool)>,
}

impl Found<'_> {
    /// The wanted word that a word of the file stands for, unless it has a better vector already, and whether
    /// that is its spelling.
    fn wants(&self, word: &str) -> Option<(String, bool)> {
        if self.wanted.contains(word) {
            let known = self.vectors.get(word);
            return known.is_none_or(|(_, exact)| !exact).then(|| (word.to_owned(), true));
        }
        if !word.chars().any(char::is_uppercase) {
            return None;
        }
        let lower = word.to_lowercase();
        let is_new = self.wanted.contains(lower.as_str()) && !self.vectors.contains_key(&lower);
        is_new.then_some((lower, false))
    }

    /// Keeps a vector unless the word has a better one: of its own spelling, or an earlier one.
    fn add(&mut self, (word, exact): (String, bool), vector: Vec<f32>) {
        let known = self.vectors.get(&word);
        if known.is_none_or(|(_, known)| exact && !known) {
            self.vectors.insert(word, (vector, exact));
        }
    }
}

fn broken(path: &Path, cause: impl Into<String>) -> TextError {
    TextError::Vectors { path: path.to_owned(), cause: cause.into() }
}

/// Turns a failure to read `path` into ours.
fn unreadable(path: &Path) -> impl Fn(std::io::Error) -> TextError {
    move |source| match source.kind() {
        std::io::ErrorKind::UnexpectedEof => {
            broken(path, "ends in the middle of a vector; was it downloaded whole?")
        }
        _ => TextError::Read { path: path.to_owned(), source },
    }
}

/// Little-endian float32.
fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}
