//! One run's configuration: flags over a TOML file over defaults, checked once.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use figment::{
    Figment,
    providers::{Format as _, Serialized, Toml},
};
use lectern::{
    commands::Usage,
    data::Columns,
    training::{Loss, OptimizerKind},
    wire::Encoding,
};
use serde::{Deserialize, Serialize};

use crate::labels::TeacherUrl;

/// The settings of a run as flags and as keys of the TOML file, all optional; the same names in both.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct TrainOptions {
    /// Labelled examples to train on: .json, .jsonl, .csv, .tsv or .parquet
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train: Option<PathBuf>,
    /// Labelled examples that choose the best epoch
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dev: Option<PathBuf>,
    /// Labelled examples for a last report; never used to choose anything
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<PathBuf>,
    /// New folder for the run
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<PathBuf>,
    /// Name of the experiment, as the teacher's log shows it [default: the output folder's name]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Label names in order, one per line or a JSON array [default: those of the training file, sorted]
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<PathBuf>,
    /// Column or key of the text [default: text]
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_column: Option<String>,
    /// Column or key of the second text of a pair [default: `text_pair`, which may be absent]
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_pair_column: Option<String>,
    /// Column or key of the label [default: label]
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_column: Option<String>,

    /// Address of the teacher server; without it the student learns from the hard labels alone
    #[arg(long, value_name = "http://HOST:PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub teacher: Option<String>,
    /// What to do with an example that the teacher cannot label: stop, leave it out, or use its hard label [default: wait]
    #[arg(long, value_enum)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_missing: Option<OnMissing>,
    /// How long to wait for a teacher that is away before the run stops, in seconds [default: 300]
    #[arg(long, value_name = "SECONDS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub teacher_patience: Option<u64>,
    /// How the teacher's rows travel [default: float32, exact]
    #[arg(long, value_enum)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<EncodingOption>,
    /// Memory for rows of earlier epochs, in MiB; what does not fit is asked for again [default: 256]
    #[arg(long, value_name = "MIB")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_memory_mb: Option<u64>,

    /// The model [default: bilstm]
    #[arg(long, value_enum)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub student: Option<StudentKind>,
    /// A tokenizer.json to use [default: the words of the training file]
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<PathBuf>,
    /// Words in a vocabulary built from the training file, at most [default: 30000]
    #[arg(long, value_name = "WORDS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vocabulary_size: Option<usize>,
    /// How often a word must occur to enter that vocabulary [default: 2]
    #[arg(long, value_name = "COUNT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_count: Option<usize>,
    /// Longest input in tokens; the rest of a text is cut off [default: 128]
    #[arg(long, value_name = "TOKENS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_length: Option<usize>,

    /// What to learn from [default: ce-mse with a teacher, cross-entropy without]
    #[arg(long, value_enum)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<LossKind>,
    /// Weight of the hard labels in `kl`; the soft ones weigh 1 - ALPHA [default: 0.5]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpha: Option<f64>,
    /// Temperature of `kl`, applied to both sides; the soft part is scaled by its square [default: 2]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Weight of cross-entropy in `ce-mse` [default: 1]
    #[arg(long, value_name = "A")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ce_weight: Option<f64>,
    /// Weight of the squared error of logits in `ce-mse` [default: 2]
    #[arg(long, value_name = "B")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mse_weight: Option<f64>,

    /// Passes over the training examples [default: 10]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<usize>,
    /// Examples in one step [default: 64]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_size: Option<usize>,
    /// Learning rate [default: 0.001; sgd 0.05]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lr: Option<f64>,
    /// How gradients become steps [default: adam]
    #[arg(long, value_enum)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub optimizer: Option<OptimizerName>,
    /// Momentum of sgd [default: 0]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub momentum: Option<f64>,
    /// Weight decay of adamw [default: 0.01]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f64>,
    /// Joint norm that gradients are scaled down to [default: 5]
    #[arg(long, value_name = "NORM")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f64>,
    /// Stop after this many epochs without a better dev accuracy [default: never]
    #[arg(long, value_name = "EPOCHS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patience: Option<usize>,
    /// Decides the first weights and the order of examples [default: 1]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u32>,
}

/// What happens to an example that the teacher refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnMissing {
    /// The run stops with the teacher's reason.
    #[default]
    Wait,
    /// The example is left out and counted.
    Skip,
    /// The example is trained on its hard label alone and counted.
    HardOnly,
}

/// Flag form of [`Encoding`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "named as in the contract")]
pub enum EncodingOption {
    Float32,
    Float16,
}

impl From<EncodingOption> for Encoding {
    fn from(option: EncodingOption) -> Self {
        match option {
            EncodingOption::Float32 => Self::Float32,
            EncodingOption::Float16 => Self::Float16,
        }
    }
}

/// The students there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StudentKind {
    /// Embedding 300, BiLSTM 300, linear 192, ReLU, scores, maximum over time
    Bilstm,
    /// Tang et al. 2019: embedding 300, BiLSTM 150, last states, linear 200, ReLU, scores
    BilstmPaper,
}

/// The losses there are; weights are settings of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LossKind {
    /// Hard labels alone
    CrossEntropy,
    /// Cross-entropy plus squared error of logits, 1 and 2 by default
    CeMse,
    /// Hinton et al. 2015, with temperature
    Kl,
    /// Squared error of logits alone, as Tang et al. 2019
    Mse,
}

/// The optimizers there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "named as in the literature")]
pub enum OptimizerName {
    Sgd,
    Adam,
    Adamw,
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
    pub labels: Option<PathBuf>,
    pub columns: Columns,
    pub teacher: Option<TeacherUrl>,
    pub on_missing: OnMissing,
    pub teacher_patience: std::time::Duration,
    pub encoding: Encoding,
    pub label_memory: u64,
    pub student: StudentKind,
    pub tokenizer: Option<PathBuf>,
    pub vocabulary_size: usize,
    pub min_count: usize,
    pub max_length: usize,
    pub loss: Loss,
    pub epochs: usize,
    pub batch_size: usize,
    pub lr: f64,
    pub optimizer: OptimizerKind,
    pub clip_norm: f64,
    pub patience: Option<usize>,
    pub seed: u32,
    /// All of the above with defaults filled in, for the run folder; reads back as `--config`.
    pub resolved: TrainOptions,
}

impl TrainOptions {
    /// Puts these flags over the settings of `file`.
    pub fn over_file(self, file: Option<&Path>) -> Result<Self, Usage> {
        let Some(file) = file else { return Ok(self) };
        if !file.is_file() {
            return Err(Usage(format!("--config {}: no such file", file.display())));
        }
        Figment::from(Toml::file_exact(file))
            .merge(Serialized::defaults(self))
            .extract()
            .map_err(|cause| Usage(format!("--config {}: {cause}", file.display())))
    }

    /// Fills in the defaults and checks everything that can be checked without opening a file.
    pub fn resolve(mut self) -> Result<TrainConfig, Usage> {
        let missing = |flag: &str| Usage(format!("--{flag} is missing (or `{flag}` in --config)"));
        let train = self.train.clone().ok_or_else(|| missing("train"))?;
        let dev = self.dev.clone().ok_or_else(|| missing("dev"))?;
        let output = self.output.clone().ok_or_else(|| missing("output"))?;
        let folder = output.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = self.name.get_or_insert(folder.unwrap_or_else(|| "run".to_owned())).clone();
        let teacher = self
            .teacher
            .as_deref()
            .map(|url| url.parse::<TeacherUrl>().map_err(|cause| Usage(cause.to_string())))
            .transpose()?;
        let loss = self.resolve_loss(teacher.is_some())?;
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
            labels: self.labels.clone(),
            columns: Columns {
                text: self.text_column.clone(),
                text_pair: self.text_pair_column.clone(),
                label: self.label_column.clone(),
            },
            teacher,
            on_missing: *self.on_missing.get_or_insert_default(),
            teacher_patience: std::time::Duration::from_secs(
                *self.teacher_patience.get_or_insert(300),
            ),
            encoding: (*self.encoding.get_or_insert(EncodingOption::Float32)).into(),
            label_memory: *self.label_memory_mb.get_or_insert(256) << 20,
            student: *self.student.get_or_insert(StudentKind::Bilstm),
            tokenizer: self.tokenizer.clone(),
            vocabulary_size: at_least(
                "vocabulary-size",
                *self.vocabulary_size.get_or_insert(30_000),
                3,
            )?,
            min_count: *self.min_count.get_or_insert(2),
            max_length: at_least("max-length", *self.max_length.get_or_insert(128), 1)?,
            loss,
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

    fn resolve_loss(&mut self, has_teacher: bool) -> Result<Loss, Usage> {
        let default = if has_teacher { LossKind::CeMse } else { LossKind::CrossEntropy };
        let kind = *self.loss.get_or_insert(default);
        let only_for = |flag: &str, value: Option<f64>, wanted: LossKind| match value {
            Some(_) if kind != wanted => {
                let wanted = name_of(wanted);
                Err(Usage(format!("--{flag} belongs to --loss {wanted}, not {}", name_of(kind))))
            }
            _ => Ok(()),
        };
        only_for("alpha", self.alpha, LossKind::Kl)?;
        only_for("temperature", self.temperature, LossKind::Kl)?;
        only_for("ce-weight", self.ce_weight, LossKind::CeMse)?;
        only_for("mse-weight", self.mse_weight, LossKind::CeMse)?;
        let loss = match kind {
            LossKind::CrossEntropy => Loss::CrossEntropy,
            LossKind::Mse => Loss::Mse,
            LossKind::CeMse => Loss::CeMse {
                ce_weight: not_negative("ce-weight", *self.ce_weight.get_or_insert(1.0))?,
                mse_weight: positive("mse-weight", *self.mse_weight.get_or_insert(2.0))?,
            },
            LossKind::Kl => Loss::Kl {
                alpha: share("alpha", *self.alpha.get_or_insert(0.5))?,
                temperature: positive("temperature", *self.temperature.get_or_insert(2.0))?,
            },
        };
        match (loss.needs_teacher(), has_teacher) {
            (true, false) => Err(Usage(format!(
                "--loss {} needs a teacher: give --teacher http://HOST:PORT",
                name_of(kind)
            ))),
            (false, true) => Err(Usage(
                "--loss cross-entropy would not use the teacher: leave --teacher out, or choose another loss"
                    .to_owned(),
            )),
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

fn name_of(kind: LossKind) -> String {
    kind.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn minimal() -> TrainOptions {
        TrainOptions {
            train: Some("train.csv".into()),
            dev: Some("dev.csv".into()),
            output: Some("runs/first".into()),
            ..TrainOptions::default()
        }
    }

    fn refused(options: TrainOptions) -> String {
        options.resolve().unwrap_err().to_string()
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("run.toml");
        std::fs::write(&file, "train = 'other.csv'\nepochs = 7\nbatch-size = 16\n").unwrap();
        let flags = TrainOptions { epochs: Some(3), ..minimal() };
        let config = flags.over_file(Some(&file)).unwrap().resolve().unwrap();
        assert_eq!((config.epochs, config.batch_size, config.seed), (3, 16, 1));
        assert_eq!(config.train, Path::new("train.csv"));
    }

    #[test]
    fn the_resolved_configuration_reads_back_as_the_same_run() {
        let options = TrainOptions {
            teacher: Some("http://127.0.0.1:50051".into()),
            loss: Some(LossKind::Kl),
            ..minimal()
        };
        let config = options.resolve().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.toml");
        std::fs::write(&file, toml::to_string(&config.resolved).unwrap()).unwrap();
        let again = TrainOptions::default().over_file(Some(&file)).unwrap().resolve().unwrap();
        assert_eq!(format!("{again:?}"), format!("{config:?}"));
        assert_eq!(again.loss, Loss::Kl { alpha: 0.5, temperature: 2.0 });
    }

    #[test]
    fn a_misspelt_key_is_named_with_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("run.toml");
        std::fs::write(&file, "batchsize = 16\n").unwrap();
        let message = minimal().over_file(Some(&file)).unwrap_err().to_string();
        assert!(message.contains("run.toml") && message.contains("batchsize"), "{message}");
    }

    #[test]
    fn settings_that_contradict_each_other_are_refused() {
        let teacher = || Some("http://127.0.0.1:1".to_owned());
        let loss = |loss, teacher| TrainOptions { loss: Some(loss), teacher, ..minimal() };
        assert!(refused(loss(LossKind::Mse, None)).contains("needs a teacher"));
        assert!(
            refused(loss(LossKind::CrossEntropy, teacher())).contains("would not use the teacher")
        );
        let hot = TrainOptions { temperature: Some(2.0), ..loss(LossKind::Mse, teacher()) };
        assert!(refused(hot).contains("--temperature belongs to --loss kl"));
        assert!(refused(TrainOptions { momentum: Some(0.9), ..minimal() }).contains("sgd"));
        assert!(refused(TrainOptions { epochs: Some(0), ..minimal() }).contains("--epochs 0"));
        assert!(refused(TrainOptions { train: None, ..minimal() }).contains("--train is missing"));
        let url = TrainOptions { teacher: Some("somewhere".into()), ..minimal() };
        assert!(refused(url).contains("somewhere"));
    }
}
