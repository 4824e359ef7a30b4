//! Turns rated sentences into the demo's train, dev and test files. Pure: text in, text out.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use sha2::{Digest, Sha256};

/// Changes whenever the files would.
pub(crate) const RECIPE: &str = "8000 train, 1000 dev, the rest test, seed 1";

const SEED: &str = "1";
const TRAIN: usize = 8_000;
const DEV: usize = 1_000;

/// Splits lines of `id TAB mean rating TAB text` into three JSON Lines files, each with its name.
///
/// Ratings lie in [-4, 4]; those within 0.5 of neutral are left out, and so is a text that was
/// there before. Sentences stand in the order of a hash of seed and text, which neither the order of the source nor any
/// random generator's version can change.
pub(crate) fn split(rated: &str) -> Result<[(&'static str, String); 3]> {
    let mut sentences = BTreeMap::new();
    for (index, line) in rated.lines().enumerate() {
        let sentence =
            parse(line).with_context(|| format!("rated sentences, line {}", index + 1))?;
        if let Some((text, label)) = sentence {
            let place = Sha256::new().chain_update(SEED).chain_update(text).finalize().to_vec();
            sentences.entry(place).or_insert_with(|| json!({ "text": text, "label": label }));
        }
    }
    ensure!(sentences.len() > TRAIN + DEV, "only {} sentences are left", sentences.len());
    let mut lines = sentences.into_values().map(|sentence| format!("{sentence}\n"));
    Ok([
        ("train.jsonl", lines.by_ref().take(TRAIN).collect()),
        ("dev.jsonl", lines.by_ref().take(DEV).collect()),
        ("test.jsonl", lines.collect()),
    ])
}

fn parse(line: &str) -> Result<Option<(&str, &'static str)>> {
    let mut fields = line.splitn(3, '\t').skip(1);
    let (rating, text) = fields.next().zip(fields.next()).context("it has fewer than 3 fields")?;
    let rating: f64 = rating.parse().with_context(|| format!("{rating:?} is no rating"))?;
    let label = match rating {
        0.5.. => "positive",
        ..=-0.5 => "negative",
        _ => return Ok(None),
    };
    Ok(Some((text.trim(), label)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weak_ratings_are_left_out_and_half_a_point_is_enough() {
        assert_eq!(parse("1\t0.5\tfine").unwrap(), Some(("fine", "positive")));
        assert_eq!(parse("2\t-0.5\tpoor ").unwrap(), Some(("poor", "negative")));
        assert_eq!(parse("3\t0.49\tso so").unwrap(), None);
        assert!(parse("4\tgreat").is_err());
    }

    #[test]
    fn the_split_ignores_the_source_s_order_and_its_repetitions() {
        let line = |n: usize| format!("{n}\t{}\tsentence {n}\n", if n < 9 { 2 } else { -2 });
        let (count, extra) = (TRAIN + DEV + 5, 5);
        let forward: String = (0..count).map(line).collect();
        let backward: String = (0..count).rev().chain(0..extra).map(line).collect();
        let files = split(&forward).unwrap();
        assert_eq!(files, split(&backward).unwrap());
        let lengths = files.each_ref().map(|(_, text)| text.lines().count());
        assert_eq!(lengths, [TRAIN, DEV, 5]);
    }
}
