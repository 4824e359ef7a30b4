//! From an encoder and labelled examples to a teacher folder.

mod config;
mod freezing;
mod objective;
mod prefix;
mod state;
#[cfg(test)]
mod tests;
mod train;

use std::io::{self, Write as _};

use anyhow::Context as _;
use lectern::{
    commands::{CHECKPOINT, check_output, claim_folder, judge, tokenise, write_report},
    data::{SplitFiles, Splits, contents_hash},
    hub::resolve,
    models::{Teacher, TeacherSettings, WEIGHTS},
    training::Checkpoint,
};
use tracing::info;

pub use config::{FinetuneConfig, Trainable};

use self::{freezing::freeze, objective::Objective, train::Training};

/// Trains with AdamW, keeps the weights that are best on dev, and prints the reports.
pub fn finetune(config: &FinetuneConfig) -> anyhow::Result<()> {
    tch::set_num_threads(config.threads as i32);
    check_output(&config.output, config.resume, "fine-tuning", WEIGHTS[0])?;
    let encoder = resolve(&config.encoder)?;
    let data = Splits::read(SplitFiles {
        train: &config.train,
        dev: &config.dev,
        test: config.test.as_deref(),
        label_names: config.label_names.as_deref(),
        task: config.task,
        columns: &config.columns,
    })?;
    tch::manual_seed(config.seed);
    let settings = TeacherSettings { head: config.head, max_length: config.max_length };
    let labels = data.labels.clone();
    let teacher = Teacher::from_encoder(&encoder, labels, settings, config.device)?;
    let frozen = freeze(&teacher, config.trainable, config.freeze_embeddings)?;
    let objective = Objective::new(config, &data.labels, &data.train)?;
    let contents = [
        ("encoder", teacher.encoder_hash()?),
        ("labels", data.labels.names().join(", ")),
        ("train", contents_hash(&data.train)),
        ("dev", contents_hash(&data.dev)),
    ];
    let checkpoint = Checkpoint::new(config.output.join(CHECKPOINT), config.settings(contents)?);
    if !checkpoint.exists() {
        claim_folder(&config.output)?;
    }
    info!(
        architecture = teacher.architecture(),
        parameters = teacher.parameters().count(),
        task = %config.task,
        labels = ?data.labels.names(),
        train = data.train.len(),
        dev = data.dev.len(),
        "fine-tuning"
    );
    let tokens = tokenise(teacher.tokenizer(), &data.train, config.max_length)?;
    Training::begin(config, &data, &tokens, &teacher, frozen, objective, &checkpoint)?.run()?;
    report(config, &data)?;
    checkpoint.remove().with_context(|| format!("cannot remove {}", checkpoint.path().display()))
}

/// Judges what is on disk, which is what will be served.
fn report(config: &FinetuneConfig, data: &Splits) -> anyhow::Result<()> {
    let teacher = Teacher::load(&config.output, config.device)?;
    let mut out = io::stdout().lock();
    let sets = [("dev", Some(&data.dev)), ("test", data.test.as_ref())];
    for (name, examples) in sets.into_iter().filter_map(|(n, e)| Some((n, e?))) {
        let evaluation = judge(&teacher, examples)?;
        evaluation.say_truncated(name);
        write_report(&config.output, name, &evaluation.report)
            .with_context(|| format!("cannot write the {name} report"))?;
        writeln!(out, "{name}\n{}", evaluation.report)?;
    }
    Ok(())
}
