//! Everything that can be found wrong before training starts: data, labels, teacher, tokenizer.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use lectern::{
    data::{Example, LabelSet, LabelUse, read_records},
    models::{Family, StudentConfig, bilstm::BiLstmConfig},
    text::{Tokenizer, Tokens, word_tokenizer},
    wire::TeacherCard,
};
use tracing::warn;

use crate::{
    config::{StudentKind, TrainConfig},
    labels::describe,
};

/// A run that has everything it needs.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) card: Option<TeacherCard>,
    /// In the teacher's order where there is a teacher, so that its rows need no reordering.
    pub(crate) labels: LabelSet,
    pub(crate) train: Vec<Example>,
    pub(crate) train_tokens: Vec<Tokens>,
    pub(crate) dev: Vec<Example>,
    pub(crate) test: Option<Vec<Example>>,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) model: StudentConfig,
}

/// Reads the files, then asks the teacher for its card, then builds the tokenizer: the cheap and the
/// likely mistakes first.
pub(crate) fn prepare(config: &TrainConfig) -> anyhow::Result<Prepared> {
    let (labels, mut sets) = read(config)?;
    let card =
        config.teacher.as_ref().map(|url| describe(url, config.teacher_patience)).transpose()?;
    let labels = match &card {
        Some(card) => in_the_teachers_order(&labels, card, &mut sets)?,
        None => labels,
    };
    let mut sets = sets.into_iter();
    let train = sets.next().unwrap_or_default();
    let dev = sets.next().unwrap_or_default();
    let test = sets.next();

    let tokenizer = if let Some(path) = &config.tokenizer {
        Tokenizer::from_file(path, config.max_length)?
    } else {
        let texts = train.iter().flat_map(|e| std::iter::once(&e.text).chain(&e.text_pair));
        let texts = texts.map(String::as_str);
        let words = word_tokenizer(texts, config.min_count, config.vocabulary_size)?;
        Tokenizer::new(words, config.max_length)?
    };
    let train_tokens = train
        .iter()
        .map(|e| tokenizer.encode(&e.text, e.text_pair.as_deref()))
        .collect::<Result<Vec<_>, _>>()?;
    let truncated = train_tokens.iter().filter(|tokens| tokens.truncated).count();
    if truncated > 0 {
        let (of, longest) = (train.len(), config.max_length);
        warn!(truncated, of, longest, "training texts are longer; their ends are cut off");
    }
    let vocabulary = tokenizer.vocabulary_size() as i64;
    let sizes = match config.student {
        StudentKind::Bilstm => BiLstmConfig::original(vocabulary),
        StudentKind::BilstmPaper => BiLstmConfig::paper(vocabulary),
    };
    let model = StudentConfig { max_length: config.max_length, family: Family::BiLstm(sizes) };
    Ok(Prepared { card, labels, train, train_tokens, dev, test, tokenizer, model })
}

/// Train, dev and, if there is one, test, with their labels understood.
fn read(config: &TrainConfig) -> anyhow::Result<(LabelSet, Vec<Vec<Example>>)> {
    let read = |path: &PathBuf| read_records(path, &config.columns, LabelUse::Required);
    let paths: Vec<_> = [&config.train, &config.dev].into_iter().chain(&config.test).collect();
    let records = paths.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let labels = match (&config.labels, records.first()) {
        (None, Some(train)) => train.label_set()?,
        (path, _) => LabelSet::from_file(path.as_deref().unwrap_or(Path::new("labels")))?,
    };
    let sets = records
        .into_iter()
        .map(|records| records.resolve(&labels))
        .collect::<Result<Vec<_>, _>>()?;
    Ok((labels, sets))
}

/// Matches the data's labels with the teacher's by name and renumbers the examples.
fn in_the_teachers_order(
    labels: &LabelSet,
    card: &TeacherCard,
    sets: &mut [Vec<Example>],
) -> anyhow::Result<LabelSet> {
    let theirs = LabelSet::new(card.labels.clone())?;
    let to_teacher = labels.mapping_to(&theirs).with_context(|| {
        format!(
            "the data has the labels {:?}, teacher {} has {:?}; where the data has ids, --labels FILE \
             names them",
            labels.names(),
            card.name,
            theirs.names()
        )
    })?;
    for example in sets.iter_mut().flatten() {
        example.label = example.label.map(|label| to_teacher[label]);
    }
    Ok(theirs)
}
