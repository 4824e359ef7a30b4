//! From an encoder and labelled examples to a teacher folder.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    str::FromStr,
};

use anyhow::{Context as _, ensure};
use lectern::{
    commands::{Progress, check_free, claim_folder, judge, tokenise, write_report},
    data::{Columns, SplitFiles, Splits, Task, epoch_batches},
    hub::resolve,
    metrics::Mean,
    models::{Classifier as _, HeadKind, Teacher, TeacherSettings, TokenBatch},
    text::Tokens,
    training::{Decay, HardTargets, Optimizer, OptimizerKind, Schedule, clip_by_norm},
};
use tch::Device;
use tracing::info;

/// Which weights move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrainableLayers {
    /// All of them.
    All,
    /// The last so many encoder layers, the pooler and the head.
    Last(usize),
}

impl FromStr for TrainableLayers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Self::All),
            number => {
                number.parse().map(Self::Last).map_err(|_| "expected `all` or a number".to_owned())
            }
        }
    }
}

/// Everything a fine-tuning depends on.
#[derive(Debug, Clone)]
#[expect(
    missing_docs,
    reason = "each field is the flag of the same name, documented in the help text"
)]
pub struct FinetuneConfig {
    pub encoder: PathBuf,
    pub train: PathBuf,
    pub dev: PathBuf,
    pub test: Option<PathBuf>,
    pub output: PathBuf,
    pub task: Task,
    pub label_names: Option<PathBuf>,
    pub columns: Columns,
    pub head: HeadKind,
    pub trainable_layers: TrainableLayers,
    pub epochs: usize,
    pub batch_size: usize,
    pub lr: f64,
    pub warm_up: f64,
    pub weight_decay: f64,
    pub clip_norm: f64,
    pub dropout: f64,
    pub max_length: usize,
    pub patience: usize,
    pub seed: i64,
    pub threads: usize,
    pub device: Device,
}

/// Trains with AdamW, keeps the weights of the epoch that is best on dev, and prints the reports.
pub fn finetune(config: &FinetuneConfig) -> anyhow::Result<()> {
    tch::set_num_threads(config.threads as i32);
    check_free(&config.output)?;
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
    freeze(&teacher, config.trainable_layers)?;
    claim_folder(&config.output)?;
    info!(
        architecture = teacher.architecture(),
        parameters = teacher.parameters().count(),
        task = %config.task,
        labels = ?data.labels.names(),
        train = data.train.len(),
        dev = data.dev.len(),
        "fine-tuning"
    );

    train(&teacher, &data, config)?;

    // What is on disk is what is judged.
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

fn freeze(teacher: &Teacher, layers: TrainableLayers) -> anyhow::Result<()> {
    let depth = teacher.layers();
    let wanted: Box<dyn Fn(&str) -> bool> = match layers {
        TrainableLayers::All => Box::new(|_| true),
        TrainableLayers::Last(n) => {
            ensure!(n <= depth, "--trainable-layers {n}: the encoder has only {depth} layers");
            let cuts = teacher.cuts();
            ensure!(
                cuts.contains(&(depth - n)),
                "--trainable-layers {n}: layers of this encoder share parameters, which cannot be frozen in one and \
                 trained in the other; choose one of {:?}",
                cuts.iter().rev().map(|cut| depth - cut).collect::<Vec<_>>()
            );
            Box::new(move |name| {
                !teacher.is_of_encoder(name)
                    || teacher.layer_of(name).is_some_and(|layer| layer >= depth - n)
            })
        }
    };
    teacher.parameters().set_trainable(wanted)?;
    Ok(())
}

fn train(teacher: &Teacher, data: &Splits, config: &FinetuneConfig) -> anyhow::Result<()> {
    let tokens = tokenise(teacher.tokenizer(), &data.train, config.max_length)?;
    let lengths: Vec<usize> = tokens.iter().map(Tokens::len).collect();
    let kind = OptimizerKind::AdamW { weight_decay: config.weight_decay };
    let mut optimizer = Optimizer::new(kind, teacher.parameters().iter());
    let steps_per_epoch = tokens.len().div_ceil(config.batch_size);
    let steps = steps_per_epoch * config.epochs;
    let warm_up = (steps as f64 * config.warm_up).round() as usize;

    let schedule = Schedule { decay: Decay::Linear, warm_up, total: steps };
    let mut step = 0;
    let mut best: Option<(f64, usize)> = None;
    for epoch in 1..=config.epochs {
        let batches = epoch_batches(&lengths, config.batch_size, config.seed as u64, epoch as u64);
        let mut progress = Progress::new(format!("epoch {epoch}/{}", config.epochs), batches.len());
        let mut mean = Mean::default();
        for batch in &batches {
            let examples: Vec<_> = batch.iter().map(|&i| &tokens[i]).collect();
            let targets = batch.iter().filter_map(|&i| data.train[i].target.as_ref());
            let targets = HardTargets::new(&data.labels, targets, config.device)?;
            let logits =
                teacher.forward(&TokenBatch::new(&examples, config.device)?, config.dropout)?;
            let loss = targets.loss(&logits)?;
            let value = loss.f_double_value(&[])?;
            let gradients = optimizer.gradients(&loss)?;
            let norm = clip_by_norm(&gradients, config.clip_norm)?;
            ensure!(
                value.is_finite() && norm.is_finite(),
                "epoch {epoch}, step {}: loss {value} and gradient norm {norm} are not both finite; \
                 lower --lr",
                step + 1
            );
            optimizer.step(&gradients, config.lr * schedule.factor(step))?;
            step += 1;
            mean.add(value * batch.len() as f64, batch.len());
            progress.step(|| format!("loss {:.4}", mean.value()));
        }
        drop(progress);

        let dev = judge(teacher, &data.dev)?;
        let score = dev.report.score();
        let scores = dev.report.summary();
        info!(epoch, loss = mean.value(), dev_loss = dev.loss, dev = scores, "epoch done");
        if best.is_none_or(|(before, _)| score > before) {
            best = Some((score, epoch));
            teacher.save(&config.output)?;
        } else if best.is_some_and(|(_, at)| epoch - at >= config.patience) {
            info!(patience = config.patience, "no better on dev; stopping early");
            break;
        }
    }
    if let Some((score, epoch)) = best {
        info!(epoch, dev_score = score, folder = %config.output.display(), "best epoch kept");
    }
    Ok(())
}
