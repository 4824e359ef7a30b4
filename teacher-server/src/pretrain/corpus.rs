//! The text of a pre-training: read, divided into what is learnt and what is held out, and tokenised. Knows no tensors.

use std::{ffi::OsStr, path::Path};

use anyhow::{Context as _, ensure};
use lectern::{
    data::{Columns, epoch_batches, read_lines, stream_records},
    text::{WordReader, Worded},
};
use tracing::{info, warn};

use super::config::{HeldOut, PretrainConfig};

/// Examples to learn from and to judge by, at least one of each.
#[derive(Debug)]
pub(super) struct Corpus {
    pub(super) train: Vec<Worded>,
    pub(super) held_out: Vec<Worded>,
    /// Of the texts behind both.
    pub(super) hash: String,
}

impl Corpus {
    /// Reads the files that `config` names.
    pub(super) fn read(config: &PretrainConfig, reader: &WordReader) -> anyhow::Result<Self> {
        let mut train = texts(&config.text, &config.columns)?;
        let held_out = match &config.held_out {
            HeldOut::File(path) => texts(path, &config.columns)?,
            HeldOut::Share(share) => {
                let held_out = divide(&mut train, *share, config.seed);
                ensure!(
                    !train.is_empty(),
                    "{}: a single text leaves none to hold out; name others with --validation",
                    config.text.display()
                );
                held_out
            }
        };
        let hash = hash([&train, &held_out]);
        let train = examples(config, reader, &train, "train")?;
        let held_out = examples(config, reader, &held_out, "held out")?;
        Ok(Self { train, held_out, hash })
    }
}

/// Every text of a file: the lines of a .txt file, else the text columns of its rows.
fn texts(path: &Path, columns: &Columns) -> anyhow::Result<Vec<String>> {
    let ending = path.extension().map(OsStr::to_ascii_lowercase);
    let mut texts = Vec::new();
    if ending.is_some_and(|ending| ending == "txt") {
        texts = read_lines(path)?;
    } else {
        for record in stream_records(path, columns, false)? {
            let record = record?;
            texts.push(record.text);
            texts.extend(record.text_pair);
        }
    }
    ensure!(!texts.is_empty(), "{}: has no text", path.display());
    Ok(texts)
}

/// Takes a share of `texts`, at least one, by a seeded draw; both parts keep their order.
fn divide(texts: &mut Vec<String>, share: f64, seed: i64) -> Vec<String> {
    let count = ((texts.len() as f64 * share).round() as usize).max(1);
    // Batches of one are a shuffle; epoch 0 is no training's.
    let order = epoch_batches(&vec![1; texts.len()], 1, seed as u64, 0);
    let mut is_taken = vec![false; texts.len()];
    for &i in order.iter().flatten().take(count) {
        is_taken[i] = true;
    }
    let mut taken = Vec::with_capacity(count);
    let mut left = Vec::with_capacity(texts.len() - count);
    for (text, is_taken) in texts.drain(..).zip(is_taken) {
        if is_taken { taken.push(text) } else { left.push(text) }
    }
    *texts = left;
    taken
}

/// Tokenises texts, one by one or run together, and leaves out those without a word.
fn examples(
    config: &PretrainConfig,
    reader: &WordReader,
    texts: &[String],
    which: &str,
) -> anyhow::Result<Vec<Worded>> {
    let mut examples = if config.blocks {
        reader.blocks(texts.iter().map(String::as_str))?
    } else {
        texts.iter().map(|text| reader.line(text)).collect::<Result<_, _>>()?
    };
    let all = examples.len();
    examples.retain(|example| !example.is_empty());
    let (left_out, max_length) = (all - examples.len(), config.max_length);
    if left_out > 0 {
        warn!(left_out, of = all, which, "texts have no word that the tokenizer knows");
    }
    let truncated = examples.iter().filter(|example| example.tokens.truncated).count();
    if truncated > 0 {
        warn!(
            truncated,
            of = all,
            max_length,
            which,
            "texts are longer; their ends are cut off, which --blocks does not do"
        );
    }
    let tokens: usize = examples.iter().map(Worded::len).sum();
    info!(texts = texts.len(), examples = examples.len(), tokens, "{which}");
    (!examples.is_empty())
        .then_some(examples)
        .with_context(|| format!("no text to {which} has a word that the tokenizer knows"))
}

fn hash(parts: [&Vec<String>; 2]) -> String {
    let mut hasher = blake3::Hasher::new();
    for texts in parts {
        hasher.update(&(texts.len() as u64).to_le_bytes());
        for text in texts {
            hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
        }
    }
    hasher.finalize().to_hex()[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_drawn_by_the_seed_and_everything_else_is_left() {
        let all: Vec<String> = (0..100).map(|i| i.to_string()).collect();
        let taken = |seed| {
            let mut left = all.clone();
            let taken = divide(&mut left, 0.05, seed);
            assert_eq!((taken.len(), left.len()), (5, 95));
            assert!(taken.iter().all(|text| !left.contains(text)));
            taken
        };
        assert_eq!(taken(1), taken(1));
        assert_ne!(taken(1), taken(2));
        assert_ne!(taken(1), all[..5]);
        assert_eq!(divide(&mut all[..2].to_vec(), 0.01, 1).len(), 1);
    }
}
