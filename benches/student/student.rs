//! A random BiLSTM of Tang et al. 2019 in a run folder, as users have theirs.

use anyhow::Result;
use lectern::{
    data::LabelSet,
    models::{BEST_WEIGHTS, Family, Student, StudentConfig, bilstm::BiLstmConfig},
    text::{Segmentation, Tokenizer, word_tokenizer},
};
use tch::Device;
use tempfile::TempDir;

use crate::headlines::letter;

const MAX_LENGTH: usize = 64;

/// The run folder of one that knows the first `words` characters that headlines are made of.
pub(crate) fn run_folder(words: u64) -> Result<TempDir> {
    let letters: Vec<String> = (0..words).filter_map(letter).map(String::from).collect();
    // Padding, the unknown word and the mask besides.
    let size = letters.len() + 3;
    let tokenizer = word_tokenizer(letters.iter().map(String::as_str), 1, size)?;
    let tokenizer = Tokenizer::new(tokenizer, MAX_LENGTH)?;
    let family = Family::BiLstm(BiLstmConfig::paper(tokenizer.vocabulary_size() as i64));
    let segmentation = Segmentation::None;
    let config = StudentConfig { max_length: MAX_LENGTH, segmentation, family };
    let labels = LabelSet::new(vec!["negative".to_owned(), "positive".to_owned()])?;
    tch::manual_seed(1);
    let fresh = Student::fresh(config, labels, tokenizer, Device::Cpu)?;
    let folder = tempfile::tempdir()?;
    fresh.save_description(folder.path())?;
    fresh.save_weights(folder.path(), BEST_WEIGHTS)?;
    Ok(folder)
}
