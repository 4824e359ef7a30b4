//! Writes what augmentation makes of some texts: to look at, or to warm a teacher with.

use std::{collections::HashSet, num::NonZeroUsize, path::PathBuf, thread::available_parallelism};

use anyhow::Context as _;
use lectern::{
    augmentation::{Augmentation, augment},
    data::{Columns, Example, Record, read_unlabelled},
    files::write_atomically_with,
};
use serde_json::{Value, json};

/// What to make of what.
#[derive(Debug, Clone)]
pub(crate) struct AugmentConfig {
    /// Labels in it are not looked at.
    pub(crate) data: PathBuf,
    pub(crate) columns: Columns,
    /// JSON Lines.
    pub(crate) output: PathBuf,
    pub(crate) augmentation: Augmentation,
}

/// Makes the same texts as a run with these settings on this training file; says how many.
pub(crate) fn write_augmented(config: &AugmentConfig) -> anyhow::Result<Value> {
    let records = read_unlabelled(&config.data, &config.columns)?;
    let lines: Vec<usize> = records.iter().map(|record| record.line).collect();
    let example = |Record { text, text_pair, .. }| Example { text, text_pair, target: None };
    let examples: Vec<Example> = records.into_iter().map(example).collect();
    let threads = available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let made = augment(&examples, &config.augmentation, threads);
    write_atomically_with(&config.output, |out| {
        for made in &made {
            let mut row = json!({"text": made.example.text});
            if let Some(pair) = &made.example.text_pair {
                row["text_pair"] = pair.as_str().into();
            }
            row["line"] = lines[made.of].into();
            writeln!(out, "{row}")?;
        }
        Ok(())
    })
    .with_context(|| format!("cannot write {}", config.output.display()))?;
    let varied: HashSet<usize> = made.iter().map(|made| made.of).collect();
    Ok(json!({
        "examples": examples.len(),
        "varied": varied.len(),
        "made": made.len(),
        "dropped": examples.len() * config.augmentation.samples - made.len(),
    }))
}
