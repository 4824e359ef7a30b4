//! From settings and training texts to what a student is built from: tokenizer, sizes, first weights.

use std::{collections::HashSet, path::Path};

use anyhow::{Context as _, ensure};
use lectern::{
    commands::Usage,
    data::Example,
    models::{
        Family, Initial, StudentConfig,
        students::{WordTable, transformer::TransformerConfig},
    },
    text::{
        TextError, Tokenizer, Tokens, WordCounts, WordKind, WordVectors, is_chinese, read_vectors,
    },
};
use serde_json::{Value, json};
use tracing::info;

use crate::{
    config::{Input, PairReading, Shape, StudentSettings, TrainConfig, WordOption, WordVectorFile},
    mask::Mask,
};

/// What a student is built from.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) tokenizer: Tokenizer,
    pub(crate) model: StudentConfig,
    pub(crate) initial: Initial,
    /// How the student reads hidden words of made texts.
    pub(crate) mask: Mask,
    /// `[V]` which tokens have a pretrained vector, where there are any.
    covered: Option<Vec<bool>>,
}

/// Looks whether everything that the settings name is there.
pub(crate) fn check_there(settings: &StudentSettings) -> Result<(), Usage> {
    let absent = |flag: &str, path: &Path| {
        Err(Usage(format!("--{flag} {}: no such file or folder", path.display())))
    };
    if let Some(WordVectorFile { path, words }) = &settings.vectors {
        if !path.is_file() {
            return absent("vectors", path);
        }
        if let Some(words) = words.as_ref().filter(|words| !words.is_file()) {
            return absent("vectors-words", words);
        }
    }
    match (&settings.input, &settings.shape) {
        (_, Shape::Described { config, .. }) if !config.exists() => {
            absent("encoder-config", config)
        }
        (Input::Tokenizer(path), _) if !path.exists() => absent("tokenizer", path),
        (Input::Encoder(folder), Shape::Words(_)) if !folder.is_dir() => {
            absent("init-embeddings", folder)
        }
        (Input::Encoder(folder), Shape::Encoder { .. }) if !folder.is_dir() => {
            absent("init-from", folder)
        }
        _ => Ok(()),
    }
}

/// Makes the tokenizer, reads word vectors or an encoder, and settles the sizes.
///
/// - `train`: the texts whose words the student is to know
/// - `hiding`: what hides words in the texts that are made of them; `None` where nothing does
pub(crate) fn plan(
    config: &TrainConfig,
    train: &[&Example],
    hiding: Option<&str>,
) -> anyhow::Result<Plan> {
    let (settings, max_length) = (&config.student_settings, config.max_length);
    let mut family = match &settings.shape {
        Shape::Words(family) => family.clone(),
        Shape::Encoder { folder, layers, dropout } => {
            let from = TransformerConfig::from_folder(folder, layers, max_length, *dropout)?;
            let family = Family::Transformer(Box::new(from.config));
            let segmentation = from.tokenizer.segmentation();
            let model = StudentConfig { max_length, segmentation, family };
            let (tokenizer, mask) = with_mask(from.tokenizer, settings, hiding)?;
            return Ok(Plan { tokenizer, model, initial: from.initial, mask, covered: None });
        }
        Shape::Described { config: path, sizes, dropout } => {
            let made = tokenizer(config, train);
            let (tokenizer, _) = if settings.input == Input::Tokenizer(path.clone()) {
                made.with_context(|| no_tokenizer(path))?
            } else {
                made?
            };
            let (tokenizer, mask) = with_mask(tokenizer, settings, hiding)?;
            let encoder =
                TransformerConfig::described(path, *sizes, &tokenizer, max_length, *dropout)?;
            let family = Family::Transformer(Box::new(encoder));
            let segmentation = tokenizer.segmentation();
            let model = StudentConfig { max_length, segmentation, family };
            return Ok(Plan { tokenizer, model, initial: Initial::default(), mask, covered: None });
        }
    };
    let (tokenizer, vectors) = tokenizer(config, train)?;
    let (tokenizer, mask) = with_mask(tokenizer, settings, hiding)?;
    let size = tokenizer.vocabulary_size();
    let table = match (&vectors, &settings.input) {
        (Some(vectors), _) => {
            let (words, blank) = (tokenizer.vocabulary(), tokenizer.special_ids());
            Some(WordTable::from_vectors(vectors, &words, &blank, config.seed.into())?)
        }
        (None, Input::Encoder(folder)) => {
            let width = settings.embedding.unwrap_or_default();
            Some(WordTable::projected(folder, size, width)?)
        }
        _ => None,
    };
    let mut initial = Initial::default();
    if let Some(sizes) = family.table_mut() {
        sizes.vocabulary = size as i64;
        if let Some(table) = &table {
            (sizes.embedding, sizes.channels) = (table.width()?, settings.channels);
            initial = table.initial(settings.channels);
        }
    }
    if let Some(pair) = train.iter().find(|example| example.text_pair.is_some())
        && settings.pairs == PairReading::Compare
        && let Some(recurrent) = family.recurrent_mut()
    {
        let tokens = tokenizer.encode(&pair.text, pair.text_pair.as_deref())?;
        ensure!(
            tokens.type_ids.iter().any(|&id| id != 0),
            Usage(
                "--pairs compare: this tokenizer does not say which tokens are of the second text; \
                 choose --pairs join"
                    .to_owned()
            )
        );
        recurrent.siamese = true;
    }
    let covered = vectors.and_then(|_| table.map(|table| table.covered));
    let model = StudentConfig { max_length, segmentation: tokenizer.segmentation(), family };
    Ok(Plan { tokenizer, model, initial, mask, covered })
}

/// The tokenizer with a token for hidden words, where there are any. One that has no such token gets it, unless each of its
/// tokens stands for a row of an encoder.
fn with_mask(
    tokenizer: Tokenizer,
    settings: &StudentSettings,
    hiding: Option<&str>,
) -> anyhow::Result<(Tokenizer, Mask)> {
    let Some(hiding) = hiding else { return Ok((tokenizer, Mask::default())) };
    let folder = match &settings.input {
        Input::Tokenizer(path) | Input::Encoder(path) => Some(path.as_path()),
        Input::Words { .. } => None,
    };
    let known = tokenizer.vocabulary_size();
    let (tokenizer, mask) = Mask::of(tokenizer, folder.filter(|path| path.is_dir()), hiding)?;
    if let Input::Encoder(folder) = &settings.input
        && tokenizer.vocabulary_size() > known
    {
        let on_words = matches!(settings.shape, Shape::Words(_));
        let flag = if on_words { "init-embeddings" } else { "init-from" };
        let folder = folder.display();
        return Err(Usage(format!(
            "--{flag} {folder}: its tokenizer has no mask token, and the encoder no row for the one that hides words in made \
             texts, {hiding:?}; hide none with --augment-mask 0, or make no texts with --augment 0"
        ))
        .into());
    }
    Ok((tokenizer, mask))
}

/// The tokenizer, and the vectors of its tokens if there are pretrained ones.
fn tokenizer(
    config: &TrainConfig,
    train: &[&Example],
) -> anyhow::Result<(Tokenizer, Option<WordVectors>)> {
    let (settings, max_length) = (&config.student_settings, config.max_length);
    let (words, size, min_count) = match &settings.input {
        Input::Tokenizer(path) | Input::Encoder(path) => {
            let tokenizer = read_tokenizer(path, max_length)?;
            let tokens = tokenizer.vocabulary();
            let vectors = vectors(settings, tokens.iter().map(String::as_str))?;
            return Ok((tokenizer, vectors));
        }
        Input::Words { words, size, min_count } => (*words, *size, *min_count),
    };
    let texts = || {
        let texts = train.iter().flat_map(|e| std::iter::once(&e.text).chain(&e.text_pair));
        texts.map(String::as_str)
    };
    let kind = kind(words, texts);
    let counts = WordCounts::new(kind, texts())?;
    let vectors = vectors(settings, counts.iter().map(|(word, _)| word))?;
    let has_vector = |word: &str| vectors.as_ref().is_some_and(|v| v.get(word).is_some());
    let tokenizer = counts.tokenizer(size, |word, count| count >= min_count || has_vector(word))?;
    let tokenizer = Tokenizer::new(tokenizer, max_length)?.with_segmentation(kind.segmentation());
    Ok((tokenizer, vectors))
}

fn no_tokenizer(path: &Path) -> String {
    format!(
        "--encoder-config {}: has no tokenizer that can be read; give --tokenizer, or --words for the words of the \
         training texts",
        path.display()
    )
}

fn read_tokenizer(path: &Path, max_length: usize) -> Result<Tokenizer, TextError> {
    if path.is_dir() {
        Tokenizer::from_folder(path, max_length)
    } else {
        Tokenizer::from_file(path, max_length)
    }
}

fn kind<'a, I: Iterator<Item = &'a str>>(words: WordOption, texts: impl Fn() -> I) -> WordKind {
    words.kind().unwrap_or_else(|| {
        let kind = if is_chinese(texts()) { WordKind::Jieba } else { WordKind::Unicode };
        info!(?kind, "--words auto");
        kind
    })
}

/// The pretrained vectors of `wanted` words; an error if there are none of any.
fn vectors<'a>(
    settings: &StudentSettings,
    wanted: impl Iterator<Item = &'a str>,
) -> anyhow::Result<Option<WordVectors>> {
    let Some(WordVectorFile { path, words }) = &settings.vectors else { return Ok(None) };
    let vectors = read_vectors(path, words.as_deref(), wanted)?;
    ensure!(
        !vectors.is_empty(),
        "--vectors {}: has none of the words of the training texts; is it of their language?",
        path.display()
    );
    let width = vectors.width() as i64;
    if let Some(asked) = settings.embedding.filter(|&asked| asked != width) {
        let path = path.display();
        return Err(Usage(format!(
            "--embedding {asked}: the vectors of {path} have {width} numbers; leave --embedding out"
        ))
        .into());
    }
    Ok(Some(vectors))
}

/// How much of a vocabulary and of texts has pretrained vectors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Coverage {
    /// Share of the vocabulary, special tokens left out.
    pub(crate) vocabulary: f64,
    /// Share of the tokens of the training texts, special ones left out.
    pub(crate) tokens: f64,
}

impl Coverage {
    /// For the run's summary.
    pub(crate) fn to_json(self) -> Value {
        json!({"vocabulary": self.vocabulary, "tokens": self.tokens})
    }
}

impl Plan {
    /// What the pretrained vectors cover; `None` without any. Logged.
    pub(crate) fn coverage(&self, train: &[Tokens]) -> Option<Coverage> {
        let covered = self.covered.as_ref()?;
        let special: HashSet<usize> = self.tokenizer.special_ids().into_iter().collect();
        let share = |part: usize, whole: usize| part as f64 / whole.max(1) as f64;
        let words = covered.len() - special.len();
        let known = covered.iter().filter(|covered| **covered).count();
        let (mut all, mut found) = (0, 0);
        let ids = train.iter().flat_map(|tokens| &tokens.ids).map(|&id| id as usize);
        for id in ids.filter(|id| !special.contains(id)) {
            all += 1;
            found += usize::from(covered[id]);
        }
        let coverage = Coverage { vocabulary: share(known, words), tokens: share(found, all) };
        let Coverage { vocabulary, tokens } = coverage;
        info!(words, vocabulary, tokens, "shares that have pretrained vectors");
        Some(coverage)
    }
}
