//! One run's configuration: flags over a TOML file over defaults, checked once.

mod options;
mod student;
#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use lectern::{
    commands::Usage,
    data::{Columns, Task, epoch_batches},
    training::{Loss, OptimizerKind},
    wire::RowFormat,
};

pub use options::{EncodingOption, LossKind, OnMissing, OptimizerName, TrainOptions};
pub use student::{
    Input, PairReading, Shape, StudentKind, StudentSettings, VectorsMode, WordOption,
    WordVectorFile,
};

use crate::labels::{LabelError, TeacherUrl};

/// Where a run's soft labels come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelSource {
    /// A teacher that is asked while the run goes on.
    Teacher(TeacherUrl),
    /// A file of rows that were exported from a teacher's store.
    File(PathBuf),
}

impl LabelSource {
    /// One of the two flags, or neither.
    pub fn from_flags(teacher: Option<&str>, labels: Option<&Path>) -> Result<Option<Self>, Usage> {
        match (teacher, labels) {
            (None, None) => Ok(None),
            (Some(url), None) => match url.parse() {
                Ok(url) => Ok(Some(Self::Teacher(url))),
                Err(cause) => Err(Usage(LabelError::to_string(&cause))),
            },
            (None, Some(path))
                if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("parquet")) =>
            {
                Ok(Some(Self::File(path.to_owned())))
            }
            (None, Some(path)) => Err(Usage(format!(
                "--labels {}: not a .parquet file of soft labels, as `teacher-server store export` \
                 writes it; names of labels are given with --label-names",
                path.display()
            ))),
            (Some(_), Some(_)) => Err(Usage(
                "--teacher and --labels exclude each other: rows come from a server or from a file"
                    .to_owned(),
            )),
        }
    }
}

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
    pub soft_labels: Option<LabelSource>,
    pub on_missing: OnMissing,
    pub teacher_patience: Duration,
    pub format: RowFormat,
    pub label_memory: u64,
    pub student: StudentKind,
    pub student_settings: StudentSettings,
    pub max_length: usize,
    pub epochs: usize,
    pub batch_size: usize,
    pub lr: f64,
    pub optimizer: OptimizerKind,
    pub clip_norm: f64,
    pub patience: Option<usize>,
    pub seed: u32,
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
    /// The whole configuration with all defaults filled in, for the run folder; reads back as `--config`.
    pub resolved: TrainOptions,
}

impl TrainConfig {
    /// The batches of an epoch, counted from 1, of training examples of these lengths. Who asks for rows
    /// and who trains on them both ask here, so they agree.
    pub fn batches(&self, lengths: &[usize], epoch: usize) -> Vec<Vec<usize>> {
        epoch_batches(lengths, self.batch_size, self.seed.into(), epoch as u64)
    }

    /// The loss for `task`, the teacher's or the one that was asked for.
    pub fn objective(&self, task: Task) -> Result<Objective, Usage> {
        let mut resolved = self.resolved.clone();
        resolved.task = Some(task);
        let loss = resolved.resolve_loss(task, self.soft_labels.is_some())?;
        Ok(Objective { task, loss, resolved })
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
        let soft_labels = LabelSource::from_flags(self.teacher.as_deref(), self.labels.as_deref())?;
        let task = self.resolve_task(soft_labels.is_some())?;
        let optimizer = self.resolve_optimizer()?;
        let lr = *self.lr.get_or_insert(match optimizer {
            OptimizerKind::Sgd { .. } => 0.05,
            OptimizerKind::Adam | OptimizerKind::AdamW { .. } => 1e-3,
        });
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
            on_missing: *self.on_missing.get_or_insert_default(),
            teacher_patience: Duration::from_secs(*self.teacher_patience.get_or_insert(300)),
            format: self.resolve_format()?,
            label_memory: *self.label_memory_mb.get_or_insert(256) << 20,
            student: *self.student.get_or_insert(StudentKind::Bilstm),
            student_settings: self.resolve_student()?,
            max_length: at_least("max-length", *self.max_length.get_or_insert(128), 1)?,
            epochs: at_least("epochs", *self.epochs.get_or_insert(10), 1)?,
            batch_size: at_least("batch-size", *self.batch_size.get_or_insert(64), 1)?,
            lr: positive("lr", lr)?,
            optimizer,
            clip_norm: positive("clip-norm", *self.clip_norm.get_or_insert(5.0))?,
            patience: self.patience.map(|epochs| at_least("patience", epochs, 1)).transpose()?,
            seed: *self.seed.get_or_insert(1),
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

    /// The task, where it does not depend on the teacher; where it does, the settings must fit one at least.
    fn resolve_task(&mut self, has_teacher: bool) -> Result<Option<Task>, Usage> {
        if !has_teacher {
            self.task.get_or_insert_default();
        }
        if let Some(task) = self.task {
            self.resolve_loss(task, has_teacher)?;
        } else {
            let [first, others @ ..] = Task::ALL.map(|task| self.clone().resolve_loss(task, true));
            if others.iter().all(Result::is_err) {
                first?;
            }
        }
        Ok(self.task)
    }

    fn resolve_loss(&mut self, task: Task, has_teacher: bool) -> Result<Loss, Usage> {
        let default = match (task, has_teacher) {
            (Task::Regression, _) => LossKind::Mse,
            (_, true) => LossKind::CeMse,
            (_, false) => LossKind::CrossEntropy,
        };
        let kind = *self.loss.get_or_insert(default);
        let fitting = LossKind::of_task(task);
        if !fitting.contains(&kind) {
            let (kind, fitting) = (kind.name(), LossKind::list(fitting));
            return Err(Usage(format!("--loss {kind} is not for a {task} task; choose {fitting}")));
        }
        let only_for = |flag: &str, value: Option<f64>, wanted: &[LossKind]| match value {
            Some(_) if !wanted.contains(&kind) => {
                let (kind, wanted) = (kind.name(), LossKind::list(wanted));
                Err(Usage(format!("--{flag} belongs to --loss {wanted}, not {kind}")))
            }
            _ => Ok(()),
        };
        let tempered = [LossKind::Kl, LossKind::Bce];
        let regression = task == Task::Regression;
        only_for("alpha", self.alpha, if regression { &[LossKind::Mse] } else { &tempered })?;
        only_for("temperature", self.temperature, &tempered)?;
        only_for("ce-weight", self.ce_weight, &[LossKind::CeMse])?;
        only_for("mse-weight", self.mse_weight, &[LossKind::CeMse])?;
        let alpha = |alpha: &mut Option<f64>| share("alpha", *alpha.get_or_insert(0.5));
        let temperature = |temperature: &mut Option<f64>| {
            positive("temperature", *temperature.get_or_insert(2.0))
        };
        let loss = match kind {
            LossKind::CrossEntropy => Loss::CrossEntropy,
            LossKind::Mse if !regression => Loss::Mse { alpha: 0.0 },
            LossKind::Mse if has_teacher => Loss::Mse { alpha: alpha(&mut self.alpha)? },
            LossKind::Mse if self.alpha.is_some() => {
                return Err(Usage(
                    "--alpha weighs the data's numbers against a teacher's: give --teacher \
                     http://HOST:PORT, or --labels FILE.parquet"
                        .to_owned(),
                ));
            }
            LossKind::Mse => Loss::Mse { alpha: 1.0 },
            LossKind::CeMse => Loss::CeMse {
                ce_weight: not_negative("ce-weight", *self.ce_weight.get_or_insert(1.0))?,
                mse_weight: positive("mse-weight", *self.mse_weight.get_or_insert(2.0))?,
            },
            LossKind::Kl => Loss::Kl {
                alpha: alpha(&mut self.alpha)?,
                temperature: temperature(&mut self.temperature)?,
            },
            LossKind::Bce => Loss::Bce {
                alpha: alpha(&mut self.alpha)?,
                temperature: temperature(&mut self.temperature)?,
            },
        };
        let kind = kind.name();
        match (loss.needs_teacher(), has_teacher) {
            (true, false) => Err(Usage(format!(
                "--loss {kind} needs a teacher: give --teacher http://HOST:PORT, or --labels FILE.parquet"
            ))),
            (false, true) => Err(Usage(format!(
                "--loss {kind}{} would not use the teacher: leave --teacher and --labels out, or choose \
                 another loss",
                if regression { " with --alpha 1" } else { "" }
            ))),
            _ => Ok(loss),
        }
    }

    fn resolve_optimizer(&mut self) -> Result<OptimizerKind, Usage> {
        let kind = *self.optimizer.get_or_insert(OptimizerName::Adam);
        if self.momentum.is_some() && kind != OptimizerName::Sgd {
            return Err(Usage("--momentum belongs to --optimizer sgd".to_owned()));
        }
        if self.weight_decay.is_some() && kind != OptimizerName::Adamw {
            return Err(Usage("--weight-decay belongs to --optimizer adamw".to_owned()));
        }
        Ok(match kind {
            OptimizerName::Sgd => OptimizerKind::Sgd {
                momentum: share("momentum", *self.momentum.get_or_insert(0.0))?,
            },
            OptimizerName::Adam => OptimizerKind::Adam,
            OptimizerName::Adamw => OptimizerKind::AdamW {
                weight_decay: share("weight-decay", *self.weight_decay.get_or_insert(0.01))?,
            },
        })
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
