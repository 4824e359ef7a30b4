//! From an encoder and plain text to an encoder that knows such text: pre-training goes on as its family began it.

mod config;
mod corpus;
mod objective;
mod state;
mod train;

use anyhow::Context as _;
use lectern::{
    commands::{CHECKPOINT, check_output, claim_folder},
    hub::resolve,
    models::{LanguageModel, WEIGHTS},
    text::WordReader,
    training::Checkpoint,
};
use tracing::info;

pub use config::{HeldOut, PretrainConfig};

use self::{corpus::Corpus, train::Training};

/// Trains with AdamW, and keeps the weights of the epoch after which held-out text is predicted best.
pub fn pretrain(config: &PretrainConfig) -> anyhow::Result<()> {
    tch::set_num_threads(config.threads as i32);
    check_output(&config.output, config.resume, "pre-training", WEIGHTS[0])?;
    let encoder = resolve(&config.encoder)?;
    tch::manual_seed(config.seed);
    let model = LanguageModel::load(&encoder, config.max_length, config.device)?;
    let corpus = Corpus::read(config, &WordReader::new(model.tokenizer()))?;
    let contents = [("encoder", model.hash()?), ("text", corpus.hash.clone())];
    let checkpoint = Checkpoint::new(config.output.join(CHECKPOINT), config.settings(contents)?);
    if !checkpoint.exists() {
        claim_folder(&config.output)?;
    }
    let table = model.word_table();
    model.parameters().set_trainable(|name| !(config.freeze_embeddings && name == table))?;
    let parameters = model.parameters().count();
    info!(encoder = model.description(), parameters, "pre-training");
    Training::begin(config, &corpus, &model, &checkpoint)?.run()?;
    checkpoint.remove().with_context(|| format!("cannot remove {}", checkpoint.path().display()))
}
