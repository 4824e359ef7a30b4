//! One run's configuration: flags over a TOML file over defaults, checked once.

mod augmentation;
mod choices;
mod loss;
mod one_or_many;
mod optimizer;
mod options;
mod student;
mod teachers;
#[cfg(test)]
mod tests;
mod transformer;

use std::{path::PathBuf, time::Duration};

use lectern::{
    augmentation::Augmentation,
    commands::{BestBy, Usage},
    data::{Columns, Task, epoch_batches},
    training::{Decay, Loss, OptimizerKind, Settings},
    wire::{RowFormat, TeacherCard},
};

use serde_json::Value;

pub use augmentation::{AugmentFlags, DEFAULT_TEXTS, Transfer, TransferCounts};
pub use choices::{CombineKind, EncodingOption, LossKind, OnMissing, OptimizerName};
pub use options::TrainOptions;
pub use student::{
    Input, PairReading, Shape, StudentKind, StudentSettings, VectorsMode, WordOption,
    WordVectorFile,
};
pub use teachers::{Combine, LabelSource};

/// A run's configuration, complete and checked.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each field is the setting of the same name")]
pub struct TrainConfig {
    pub train: PathBuf,
    pub dev: PathBuf,
    pub test: Option<PathBuf>,
    pub output: PathBuf,
    pub name: String,
    /// `None` where the teacher says it.
    pub task: Option<Task>,
    pub label_names: Option<PathBuf>,
    pub columns: Columns,
    /// One for each teacher; none for hard labels alone.
    pub soft_labels: Vec<LabelSource>,
    pub combine: Combine,
    pub on_missing: OnMissing,
    pub teacher_patience: Duration,
    pub format: RowFormat,
    pub label_memory: u64,
    pub transfer: Transfer,
    pub student: StudentKind,
    pub student_settings: StudentSettings,
    pub max_length: usize,
    pub epochs: usize,
    pub batch_size: usize,
    pub lr: f64,
    pub optimizer: OptimizerKind,
    pub clip_norm: f64,
    pub accumulate: usize,
    pub schedule: Decay,
    pub warmup: f64,
    /// Decay of the running average of the weights.
    pub average: Option<f64>,
    pub patience: Option<usize>,
    pub best_by: BestBy,
    pub seed: u32,
    /// More than one run, where it is not empty.
    pub seeds: Vec<u32>,
    pub checkpoint_every: Option<usize>,
    pub resume: bool,
    /// All of the above with defaults filled in, but for those that depend on a task that is not known yet.
    resolved: TrainOptions,
}

/// What a run is to learn, once its task is known.
#[derive(Debug, Clone)]
pub struct Objective {
    /// The kind of target.
    pub task: Task,
    /// The loss, one that fits the task.
    pub loss: Loss,
    /// What is made of the labelled examples; `None` for nothing.
    pub augmentation: Option<Augmentation>,
    /// The whole configuration with all defaults filled in, for the run folder; reads back as `--config`.
    pub resolved: TrainOptions,
}

impl TrainConfig {
    /// The batches of an epoch, counted from 1, of examples of these lengths, of which there are so many of each kind. Who
    /// asks for rows and who trains on them both ask here, so they agree.
    pub fn batches(
        &self,
        lengths: &[usize],
        counts: TransferCounts,
        epoch: usize,
    ) -> Vec<Vec<usize>> {
        let (seed, epoch) = (self.seed.into(), epoch as u64);
        let examples = counts.of_epoch(self.transfer.unlabelled_ratio, seed, epoch);
        let lengths: Vec<usize> = examples.iter().map(|&example| lengths[example]).collect();
        let mut batches = epoch_batches(&lengths, self.batch_size, seed, epoch);
        for place in batches.iter_mut().flatten() {
            *place = examples[*place];
        }
        batches
    }

    /// The run of one seed among several, in a folder of its own.
    #[must_use]
    pub fn of_seed(&self, seed: u32) -> Self {
        let output = self.output.join(format!("seed-{seed}"));
        let name = format!("{}-seed-{seed}", self.name);
        let resolved = TrainOptions {
            output: Some(output.clone()),
            name: Some(name.clone()),
            seed: Some(seed),
            seeds: None,
            ..self.resolved.clone()
        };
        Self { output, name, seed, seeds: Vec::new(), resolved, ..self.clone() }
    }

    /// Whether the run that `written`, a `config.toml`, describes is this one.
    pub fn is_of(&self, written: &TrainOptions) -> bool {
        let known = |options: &TrainOptions| match serde_json::to_value(options) {
            Ok(Value::Object(options)) => options,
            _ => Settings::new(),
        };
        let written = known(written);
        known(&self.resolved).iter().all(|(name, value)| written.get(name) == Some(value))
    }

    /// The loss for `task`, the one that was asked for or that of these teachers, and what is made for them to label.
    pub fn objective(&self, task: Task, teachers: &[TeacherCard]) -> Result<Objective, Usage> {
        let mut resolved = self.resolved.clone();
        resolved.task = Some(task);
        resolved.check_best_by(task)?;
        let loss = resolved.resolve_loss(task, !self.soft_labels.is_empty())?;
        self.combine.check(task)?;
        let (augmentation, flags) = self.transfer.augmentation(teachers)?;
        resolved.take_augmentation(flags);
        Ok(Objective { task, loss, augmentation, resolved })
    }
}

impl Objective {
    /// What a resumed run must share, by option, beside the `contents` of files: everything that its result depends on.
    pub fn settings<const N: usize>(
        &self,
        contents: [(&str, String); N],
    ) -> anyhow::Result<Settings> {
        // Files and teachers count by what they say, not by where they are; the rest changes no weight.
        const APART: [&str; 22] = [
            "train",
            "dev",
            "test",
            "output",
            "name",
            "label-names",
            "text-column",
            "text-pair-column",
            "label-column",
            "teacher",
            "labels",
            "teacher-patience",
            "label-memory-mb",
            "tokenizer",
            "vectors",
            "vectors-words",
            "init-from",
            "encoder-config",
            "init-embeddings",
            "unlabelled",
            "seeds",
            "checkpoint-every",
        ];
        let mut settings = match serde_json::to_value(&self.resolved)? {
            Value::Object(settings) => settings,
            _ => Settings::new(),
        };
        settings.retain(|name, _| !APART.contains(&name.as_str()));
        settings.extend(contents.map(|(option, hash)| (option.to_owned(), hash.into())));
        Ok(settings)
    }
}

impl TrainOptions {
    /// Fills in the defaults and checks everything that can be checked without opening a file.
    pub fn resolve(mut self) -> Result<TrainConfig, Usage> {
        let missing = |flag: &str| Usage(format!("--{flag} is missing (or `{flag}` in --config)"));
        let train = self.train.clone().ok_or_else(|| missing("train"))?;
        let dev = self.dev.clone().ok_or_else(|| missing("dev"))?;
        let output = self.output.clone().ok_or_else(|| missing("output"))?;
        let folder = output.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = self.name.get_or_insert(folder.unwrap_or_else(|| "run".to_owned())).clone();
        let soft_labels = self.label_sources()?;
        let combine = self.resolve_combine(soft_labels.len())?;
        let task = self.resolve_task(!soft_labels.is_empty())?;
        let optimizer = self.resolve_optimizer()?;
        let student = *self.student.get_or_insert(StudentKind::Bilstm);
        let lr = self.resolve_lr(optimizer, student);
        let seeds = self.resolve_seeds()?;
        let config = TrainConfig {
            train,
            dev,
            test: self.test.clone(),
            output,
            name,
            task,
            label_names: self.label_names.clone(),
            columns: Columns {
                text: self.text_column.clone(),
                text_pair: self.text_pair_column.clone(),
                label: self.label_column.clone(),
            },
            soft_labels,
            combine,
            on_missing: *self.on_missing.get_or_insert_default(),
            teacher_patience: Duration::from_secs(*self.teacher_patience.get_or_insert(300)),
            format: self.resolve_format()?,
            label_memory: *self.label_memory_mb.get_or_insert(256) << 20,
            transfer: self.resolve_transfer()?,
            student,
            student_settings: self.resolve_student()?,
            max_length: at_least("max-length", *self.max_length.get_or_insert(128), 1)?,
            epochs: at_least("epochs", *self.epochs.get_or_insert(4), 1)?,
            batch_size: at_least("batch-size", *self.batch_size.get_or_insert(64), 1)?,
            lr: positive("lr", lr)?,
            optimizer,
            clip_norm: positive("clip-norm", *self.clip_norm.get_or_insert(5.0))?,
            patience: self.patience.map(|epochs| at_least("patience", epochs, 1)).transpose()?,
            accumulate: at_least("accumulate", *self.accumulate.get_or_insert(1), 1)?,
            schedule: *self.schedule.get_or_insert(Decay::Cosine),
            warmup: share("warmup", *self.warmup.get_or_insert(0.0))?,
            average: self.resolve_average()?,
            best_by: self.resolve_best_by(),
            seed: if seeds.is_empty() { *self.seed.get_or_insert(1) } else { seeds[0] },
            seeds,
            checkpoint_every: (self.checkpoint_every)
                .map(|steps| at_least("checkpoint-every", steps, 1))
                .transpose()?,
            resume: self.resume,
            resolved: TrainOptions::default(),
        };
        Ok(TrainConfig { resolved: self, ..config })
    }

    fn resolve_format(&mut self) -> Result<RowFormat, Usage> {
        let encoding = *self.encoding.get_or_insert(match self.top_k {
            Some(_) => EncodingOption::TopK,
            None => EncodingOption::Float32,
        });
        let top_k = match (encoding, self.top_k) {
            (EncodingOption::TopK, Some(k)) => at_least("top-k", k, 1)?,
            (EncodingOption::TopK, None) => {
                return Err(Usage("--encoding top-k needs --top-k N".to_owned()));
            }
            (_, Some(_)) => return Err(Usage("--top-k belongs to --encoding top-k".to_owned())),
            (_, None) => 0,
        };
        if self.labels.is_some() && encoding != EncodingOption::Float32 {
            return Err(Usage(
                "--encoding says how rows travel from a --teacher; those of --labels are as exported"
                    .to_owned(),
            ));
        }
        Ok(RowFormat { encoding: encoding.into(), top_k, variance: false })
    }

    fn resolve_seeds(&self) -> Result<Vec<u32>, Usage> {
        let seeds = self.seeds.clone().unwrap_or_default();
        if self.seeds.is_some() && self.seed.is_some() {
            return Err(Usage("--seed and --seeds exclude each other".to_owned()));
        }
        let mut distinct = seeds.clone();
        distinct.sort_unstable();
        match distinct.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(twice) => Err(Usage(format!("--seeds: {} stands there twice", twice[0]))),
            None => Ok(seeds),
        }
    }

    /// The task, where it does not depend on the teacher; where it does, the settings must fit one at least.
    fn resolve_task(&mut self, has_teacher: bool) -> Result<Option<Task>, Usage> {
        if !has_teacher {
            self.task.get_or_insert_default();
        }
        if let Some(task) = self.task {
            self.resolve_loss(task, has_teacher)?;
            self.check_best_by(task)?;
        } else {
            let [first, others @ ..] = Task::ALL.map(|task| self.clone().resolve_loss(task, true));
            if others.iter().all(Result::is_err) {
                first?;
            }
        }
        Ok(self.task)
    }
}

fn at_least(flag: &str, value: usize, least: usize) -> Result<usize, Usage> {
    if value >= least {
        Ok(value)
    } else {
        Err(Usage(format!("--{flag} {value}: must be at least {least}")))
    }
}

fn positive(flag: &str, value: f64) -> Result<f64, Usage> {
    if value > 0.0 && value.is_finite() {
        Ok(value)
    } else {
        Err(Usage(format!("--{flag} {value}: must be positive")))
    }
}

fn not_negative(flag: &str, value: f64) -> Result<f64, Usage> {
    if value == 0.0 { Ok(value) } else { positive(flag, value) }
}

fn share(flag: &str, value: f64) -> Result<f64, Usage> {
    if (0.0..=1.0).contains(&value) {
        Ok(value)
    } else {
        Err(Usage(format!("--{flag} {value}: must lie between 0 and 1")))
    }
}
