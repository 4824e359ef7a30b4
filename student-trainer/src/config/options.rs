//! The settings of a run as a user gives them: flags, and the keys of a TOML file.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use figment::{
    Figment,
    providers::{Format as _, Serialized, Toml},
};
use lectern::{
    commands::Usage,
    data::Task,
    training::{Alpha, Scheduled},
    wire::Encoding,
};
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::one_or_many;

/// The settings of a run as flags and as keys of the TOML file, all optional; the same names in both.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct TrainOptions {
    /// Labelled examples to train on: .json, .jsonl, .csv, .tsv or .parquet
    #[arg(long, value_name = "FILE")]
    pub train: Option<PathBuf>,
    /// Labelled examples that choose the best epoch: by accuracy, micro-averaged F1 or Pearson's correlation
    #[arg(long, value_name = "FILE")]
    pub dev: Option<PathBuf>,
    /// Labelled examples for a last report; never used to choose anything
    #[arg(long, value_name = "FILE")]
    pub test: Option<PathBuf>,
    /// New folder for the run
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Name of the experiment, as the teacher's log shows it [default: the output folder's name]
    #[arg(long)]
    pub name: Option<String>,
    /// What the label column says of a text [default: what the teacher was trained for; single-label without one]
    #[arg(long, value_enum)]
    pub task: Option<Task>,
    /// Label names in order, one per line or a JSON array [default: those of the training file, sorted]
    #[arg(long, value_name = "FILE")]
    pub label_names: Option<PathBuf>,
    /// Column or key of the text [default: text]
    #[arg(long, value_name = "NAME")]
    pub text_column: Option<String>,
    /// Column or key of the second text of a pair [default: `text_pair`, which may be absent]
    #[arg(long, value_name = "NAME")]
    pub text_pair_column: Option<String>,
    /// Column or key of the label [default: label]
    #[arg(long, value_name = "NAME")]
    pub label_column: Option<String>,

    /// Address of the teacher server; with neither it nor --labels the student learns from the hard labels alone.
    /// Several teachers: give it for each
    #[arg(long, value_name = "http://HOST:PORT")]
    #[serde(with = "one_or_many")]
    pub teacher: Option<Vec<String>>,
    /// Soft labels from a file instead of a server: what `teacher-server store export` wrote. Several teachers: give it
    /// for each
    #[arg(long, value_name = "FILE.parquet")]
    #[serde(with = "one_or_many")]
    pub labels: Option<Vec<PathBuf>>,
    /// What each of several teachers counts, in their order: W,W,... [default: all the same]
    #[arg(long, value_delimiter = ',', value_name = "WEIGHTS")]
    pub teacher_weights: Option<Vec<f64>>,
    /// How the rows of several teachers become one [default: mean]
    #[arg(long, value_enum)]
    pub combine: Option<CombineKind>,
    /// What to do with an example that the teacher cannot label or the file lacks: stop, leave it out, or use its hard label [default: wait]
    #[arg(long, value_enum)]
    pub on_missing: Option<OnMissing>,
    /// How long to wait for a teacher that is away before the run stops, in seconds [default: 300]
    #[arg(long, value_name = "SECONDS")]
    pub teacher_patience: Option<u64>,
    /// How the teacher's rows travel [default: float32, exact; top-k if --top-k is given]
    #[arg(long, value_enum)]
    pub encoding: Option<EncodingOption>,
    /// Logits of each row that travel exactly, the rest as one mass; for teachers of many labels
    #[arg(long, value_name = "K")]
    pub top_k: Option<usize>,
    /// Memory for rows of earlier epochs, in MiB; what does not fit is asked for again [default: 256]
    #[arg(long, value_name = "MIB")]
    pub label_memory_mb: Option<u64>,

    /// The model [default: bilstm]
    #[arg(long, value_enum)]
    pub student: Option<StudentKind>,
    /// A tokenizer.json to use [default: the words of the training file]
    #[arg(long, value_name = "FILE")]
    pub tokenizer: Option<PathBuf>,
    /// Words in a vocabulary built from the training file, at most [default: 30000]
    #[arg(long, value_name = "WORDS")]
    pub vocabulary_size: Option<usize>,
    /// How often a word must occur to enter that vocabulary [default: 2]
    #[arg(long, value_name = "COUNT")]
    pub min_count: Option<usize>,
    /// Longest input in tokens; the rest of a text is cut off [default: 128]
    #[arg(long, value_name = "TOKENS")]
    pub max_length: Option<usize>,

    /// What to learn from [default: ce-mse with a teacher, cross-entropy without; of a regression mse]
    #[arg(long, value_enum)]
    pub loss: Option<LossKind>,
    /// Weight of the hard labels in losses of probabilities and `cosine`, and of the data's numbers in a regression's
    /// losses; the teacher's weigh 1 - ALPHA. A number, linear:FROM:TO or cosine:FROM:TO over the run's steps, or
    /// entropy: each label by how unsure the teacher is of its example [default: 0.5]
    #[arg(long)]
    pub alpha: Option<Alpha>,
    /// Temperature of losses of probabilities, applied to both sides; the soft part is scaled by its square. A number,
    /// linear:FROM:TO or cosine:FROM:TO [default: 2; dkd 4, dist 1]
    #[arg(long)]
    pub temperature: Option<Scheduled>,
    /// Weight of cross-entropy in `ce-mse`, `dkd` and `dist`; may change as --temperature [default: 1]
    #[arg(long, value_name = "A")]
    pub ce_weight: Option<Scheduled>,
    /// Weight of the squared error of logits in `ce-mse`; may change as --temperature [default: 2]
    #[arg(long, value_name = "B")]
    pub mse_weight: Option<Scheduled>,
    /// Share of each hard label that is spread over all labels, of a single-label task [default: 0]
    #[arg(long, value_name = "SHARE")]
    pub label_smoothing: Option<f64>,
    /// Weight of the labelled class against all others in `dkd` [default: 1]
    #[arg(long, value_name = "ALPHA")]
    pub dkd_alpha: Option<f64>,
    /// Weight of the other classes among themselves in `dkd` [default: 8]
    #[arg(long, value_name = "BETA")]
    pub dkd_beta: Option<f64>,
    /// Weight of the correlation within an example in `dist` [default: 1]
    #[arg(long, value_name = "BETA")]
    pub dist_beta: Option<f64>,
    /// Weight of the correlation within a class in `dist` [default: 1]
    #[arg(long, value_name = "GAMMA")]
    pub dist_gamma: Option<f64>,
    /// Classes that `top-k-kl` tells apart, the teacher's likeliest; the others are one [default: 10]
    #[arg(long, value_name = "K")]
    pub kl_top_k: Option<usize>,

    /// Passes over the training examples [default: 10]
    #[arg(long)]
    pub epochs: Option<usize>,
    /// Examples in one step [default: 64]
    #[arg(long)]
    pub batch_size: Option<usize>,
    /// Learning rate [default: 0.001; sgd 0.05]
    #[arg(long)]
    pub lr: Option<f64>,
    /// How gradients become steps [default: adam]
    #[arg(long, value_enum)]
    pub optimizer: Option<OptimizerName>,
    /// Momentum of sgd [default: 0]
    #[arg(long)]
    pub momentum: Option<f64>,
    /// Weight decay of adamw [default: 0.01]
    #[arg(long)]
    pub weight_decay: Option<f64>,
    /// Joint norm that gradients are scaled down to [default: 5]
    #[arg(long, value_name = "NORM")]
    pub clip_norm: Option<f64>,
    /// Stop after this many epochs without a better score on dev [default: never]
    #[arg(long, value_name = "EPOCHS")]
    pub patience: Option<usize>,
    /// Decides the first weights and the order of examples [default: 1]
    #[arg(long)]
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
    TopK,
}

impl From<EncodingOption> for Encoding {
    fn from(option: EncodingOption) -> Self {
        match option {
            EncodingOption::Float32 => Self::Float32,
            EncodingOption::Float16 => Self::Float16,
            EncodingOption::TopK => Self::TopK,
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

/// How the rows of several teachers become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CombineKind {
    /// The mean of their logits, by --teacher-weights
    Mean,
    /// Each example its own mean: who is nearer to its label counts more, without a label who is surer
    Confidence,
}

/// The losses there are; weights are settings of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LossKind {
    /// Hard labels alone; binary cross-entropy in a multi-label task
    CrossEntropy,
    /// Cross-entropy, in a multi-label task binary, plus squared error of logits, 1 and 2 by default
    CeMse,
    /// Single-label: Hinton et al. 2015, with temperature
    Kl,
    /// Single-label: cross-entropy with the teacher's probabilities, with temperature
    SoftCrossEntropy,
    /// Single-label: KL from the student's side, which gives up classes rather than hedge, with temperature
    ReverseKl,
    /// Single-label: the divergence from the mean of both, with temperature
    JensenShannon,
    /// Single-label: decoupled distillation, Zhao et al. 2022: the labelled class and the others apart
    Dkd,
    /// Single-label: Huang et al. 2022, correlation with the teacher within examples and within classes
    Dist,
    /// Single-label: the angle between logits
    Cosine,
    /// Single-label: KL over the teacher's likeliest classes and the rest as one, with temperature
    #[value(name = "top-k-kl")]
    #[serde(rename = "top-k-kl")]
    TopKKl,
    /// Multi-label: binary cross-entropy against the teacher's probability of each label, with temperature
    Bce,
    /// Squared error of logits alone, as Tang et al. 2019; in a regression against the data's numbers too
    Mse,
    /// Regression: squared error of the differences between a batch's examples, Hofstätter et al. 2020
    MarginMse,
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
}

impl LossKind {
    /// As the flag spells it.
    pub(super) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// As messages list them.
    pub(super) fn list(kinds: &[Self]) -> String {
        let names: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
        match names.as_slice() {
            [all @ .., last] if !all.is_empty() => format!("{} or {last}", all.join(", ")),
            names => names.concat(),
        }
    }
}
