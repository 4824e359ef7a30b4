//! Makes the training set whole: what the labelled examples are varied to, and texts without labels.

use std::{collections::HashSet, num::NonZeroUsize, path::PathBuf, thread::available_parallelism};

use anyhow::bail;
use lectern::{
    augmentation::{Augmentation, augment},
    data::{DataError, Example, Record, read_unlabelled},
    wire::ContentHash,
};
use tracing::info;

use crate::config::{TrainConfig, TransferCounts};

/// The texts of a file without labels.
pub(crate) type Texts = (PathBuf, Vec<Record>);

/// Reads the files without labels: for before anything that takes long.
pub(crate) fn read_texts(config: &TrainConfig) -> Result<Vec<Texts>, DataError> {
    let files = config.transfer.unlabelled.iter();
    files.map(|path| Ok((path.clone(), read_unlabelled(path, &config.columns)?))).collect()
}

/// Adds to the labelled examples what is made of them, then `texts`; each of both once, and only what is new.
///
/// All of it is held until the run ends, about 1 kB for each text of a hundred characters, rather than made when its batch
/// comes. What is made twice is dropped, and a batch has texts of similar length, so all must be made and tokenised before
/// the first step anyway; then who asks for rows and who trains on them would each make them again in every epoch, from
/// training texts that are held with their tags.
pub(crate) fn add_transfer(
    config: &TrainConfig,
    augmentation: Option<&Augmentation>,
    train: &mut Vec<Example>,
    texts: Vec<Texts>,
) -> anyhow::Result<TransferCounts> {
    let labelled = train.len();
    let pairs = train.iter().any(|example| example.text_pair.is_some());
    let singles = train.iter().any(|example| example.text_pair.is_none());
    for (path, records) in &texts {
        let misfit = |record: &&Record| if record.text_pair.is_some() { !pairs } else { !singles };
        if let Some(record) = records.iter().find(misfit) {
            let (has, have) = match record.text_pair {
                Some(_) => ("a second text", "none has one"),
                None => ("no second text", "all have one"),
            };
            bail!(
                "{}:{}: {has}, but of the examples in {} {have}; the student could not use it",
                path.display(),
                record.line,
                config.train.display()
            );
        }
    }
    if let Some(augmentation) = augmentation {
        let threads = available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let made = augment(train, augmentation, threads);
        info!(made = made.len(), of = labelled, "training texts varied");
        train.extend(made.into_iter().map(|made| made.example));
    }
    let augmented = train.len() - labelled;
    let content = |example: &Example| ContentHash::new(&example.text, example.text_pair.as_deref());
    let mut seen: HashSet<ContentHash> = train.iter().map(content).collect();
    for (path, records) in texts {
        let (read, before) = (records.len(), train.len());
        let examples = records.into_iter().map(|r| Example {
            text: r.text,
            text_pair: r.text_pair,
            target: None,
        });
        train.extend(examples.filter(|example| seen.insert(content(example))));
        let new = train.len() - before;
        info!(path = %path.display(), texts = read, new, "texts without labels read");
    }
    let unlabelled = train.len() - labelled - augmented;
    Ok(TransferCounts { labelled, augmented, unlabelled })
}
