//! The weighted graph of documents and words (section 3.2 of the paper): which nodes are joined and how
//! strongly. Knows no tensors.
//!
//! Nodes are the `N` documents, then the `V` words. An edge between a document and a word weighs their
//! TF-IDF, one between two words their pointwise mutual information, where that is positive.

use std::collections::HashMap;

use super::corpus::Corpus;

/// Pairs of words that are counted at most: about 2 GiB of counts.
const MAX_PAIRS: usize = 1 << 26;

/// More pairs of words than are held.
#[derive(Debug, thiserror::Error)]
#[error(
    "more than {MAX_PAIRS} different pairs of words share a window; raise --min-count, or lower --window"
)]
pub(super) struct TooManyPairs;

/// An undirected edge between two different nodes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Edge {
    pub(super) ends: [u32; 2],
    /// Positive.
    pub(super) weight: f64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Graph {
    /// `N`.
    pub(super) documents: usize,
    /// `N + V`.
    pub(super) nodes: usize,
    /// Each pair of nodes at most once, ordered by its ends.
    pub(super) edges: Vec<Edge>,
}

/// The normalised adjacency matrix, entry by entry.
#[derive(Debug, Default)]
pub(super) struct Entries {
    pub(super) rows: Vec<i64>,
    pub(super) columns: Vec<i64>,
    pub(super) values: Vec<f32>,
}

impl Graph {
    /// The graph of a corpus; `window` is the number of neighbouring words that occur together.
    ///
    /// Beyond the graph itself, 24 bytes an edge, it holds a count of 16 to 32 bytes for every pair of words
    /// that share a window: at most `window · (window - 1) / 2` new ones for each word of the corpus.
    pub(super) fn new(corpus: &Corpus, window: usize) -> Result<Self, TooManyPairs> {
        let documents = corpus.documents.len();
        let mut edges = tf_idf(corpus);
        edges.extend(pmi(corpus, window)?);
        edges.sort_unstable_by_key(|edge| edge.ends);
        Ok(Self { documents, nodes: documents + corpus.vocabulary.len(), edges })
    }

    /// `D^-1/2 (A + I) D^-1/2`, where `A` holds the weights of the edges in both directions and
    /// `D_ii = 1 + Σ_j A_ij`; ordered by row and column.
    pub(super) fn normalised(&self) -> Entries {
        let mut degrees = vec![1.0f64; self.nodes];
        for Edge { ends, weight } in &self.edges {
            for &end in ends {
                degrees[end as usize] += weight;
            }
        }
        let mut entries: Vec<([u32; 2], f64)> =
            (0..self.nodes as u32).map(|node| ([node, node], 1.0)).collect();
        for &Edge { ends: [a, b], weight } in &self.edges {
            entries.extend([([a, b], weight), ([b, a], weight)]);
        }
        entries.sort_unstable_by_key(|(at, _)| *at);
        let mut found = Entries::default();
        for ([row, column], weight) in entries {
            found.rows.push(row.into());
            found.columns.push(column.into());
            let scale = (degrees[row as usize] * degrees[column as usize]).sqrt();
            found.values.push((weight / scale) as f32);
        }
        found
    }
}

/// `tf · ln(N / df)`: how often the word stands in the document, and in how many documents it does. A word
/// of every document weighs nothing and has no such edge.
fn tf_idf(corpus: &Corpus) -> Vec<Edge> {
    let n = corpus.documents.len();
    let mut frequencies = vec![0usize; corpus.vocabulary.len()];
    let counted: Vec<HashMap<u32, usize>> =
        corpus.documents.iter().map(|words| counts(words)).collect();
    for word in counted.iter().flat_map(HashMap::keys) {
        frequencies[*word as usize] += 1;
    }
    let edge = |document: usize, (word, count): (u32, usize)| {
        let idf = (n as f64 / frequencies[word as usize] as f64).ln();
        Edge { ends: [document as u32, n as u32 + word], weight: count as f64 * idf }
    };
    let edges = counted.into_iter().enumerate();
    let edges =
        edges.flat_map(|(document, words)| words.into_iter().map(move |word| edge(document, word)));
    edges.filter(|edge| edge.weight > 0.0).collect()
}

fn counts(words: &[u32]) -> HashMap<u32, usize> {
    let mut counts = HashMap::new();
    for &word in words {
        *counts.entry(word).or_default() += 1;
    }
    counts
}

/// `PMI(i, j) = ln(p(i, j) / (p(i) p(j)))` with `p` the share of windows that hold the word, or both; the
/// positive ones. A document shorter than the window is one window.
fn pmi(corpus: &Corpus, window: usize) -> Result<Vec<Edge>, TooManyPairs> {
    let mut windows = 0u64;
    let mut alone = vec![0u64; corpus.vocabulary.len()];
    let mut together: HashMap<[u32; 2], u32> = HashMap::new();
    for words in &corpus.documents {
        let width = window.min(words.len()).max(1);
        for seen in words.windows(width) {
            let mut seen = seen.to_vec();
            seen.sort_unstable();
            seen.dedup();
            windows += 1;
            for (at, &first) in seen.iter().enumerate() {
                alone[first as usize] += 1;
                for &second in &seen[at + 1..] {
                    *together.entry([first, second]).or_default() += 1;
                }
            }
            if together.len() > MAX_PAIRS {
                return Err(TooManyPairs);
            }
        }
    }
    let documents = corpus.documents.len() as u32;
    let edge = |([i, j], both): ([u32; 2], u32)| {
        let [i_alone, j_alone] = [i, j].map(|word| alone[word as usize] as f64);
        let weight = (f64::from(both) * windows as f64 / (i_alone * j_alone)).ln();
        Edge { ends: [documents + i, documents + j], weight }
    };
    Ok(together.into_iter().map(edge).filter(|edge| edge.weight > 0.0).collect())
}
