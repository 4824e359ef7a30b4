//! The settings of a run as a user gives them: flags, and the keys of a TOML file.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use figment::{
    Figment,
    providers::{Format as _, Serialized, Toml},
};
use lectern::{commands::Usage, data::Task, wire::Encoding};
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::student::{PairReading, StudentKind, VectorsMode, WordOption};

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

    /// Address of the teacher server; with neither it nor --labels the student learns from the hard labels alone
    #[arg(long, value_name = "http://HOST:PORT")]
    pub teacher: Option<String>,
    /// Soft labels from a file instead of a server: what `teacher-server store export` wrote
    #[arg(long, value_name = "FILE.parquet")]
    pub labels: Option<PathBuf>,
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
    /// Numbers of a word vector [default: 300; fasttext 100; those of --vectors]
    #[arg(long, value_name = "NUMBERS")]
    pub embedding: Option<i64>,
    /// Units of a recurrent layer in each direction [default: bilstm 300; bilstm-paper, bigru 150]
    #[arg(long, value_name = "UNITS")]
    pub hidden: Option<i64>,
    /// Units of the ReLU layer [default: bilstm, average 192; bilstm-paper, bigru 200]
    #[arg(long, value_name = "UNITS")]
    pub inner: Option<i64>,
    /// Filters of a convolution, in textcnn of each width [default: textcnn 100, dpcnn 250]
    #[arg(long, value_name = "FILTERS")]
    pub filters: Option<i64>,
    /// Tokens that the filters of textcnn see [default: 3,4,5]
    #[arg(long, value_name = "TOKENS", value_delimiter = ',')]
    pub filter_widths: Option<Vec<i64>>,
    /// Recurrent layers, or blocks of dpcnn, all but the first of which halve the text [default: 1; dpcnn 4]
    #[arg(long, value_name = "LAYERS")]
    pub num_layers: Option<usize>,
    /// Vectors that the bigrams of fasttext share by their hash [default: 100000]
    #[arg(long, value_name = "VECTORS")]
    pub buckets: Option<i64>,
    /// Probability of dropout in the student [default: 0; textcnn, dpcnn 0.5; transformer 0.1]
    #[arg(long, value_name = "P")]
    pub student_dropout: Option<f64>,
    /// How a recurrent student reads pairs of texts: apart, to compare them, or one after the other [default: compare]
    #[arg(long, value_enum)]
    pub pairs: Option<PairReading>,
    /// Hugging Face folder of the encoder whose layers a transformer starts with; its tokenizer is used too
    #[arg(long, value_name = "DIR")]
    pub init_from: Option<PathBuf>,
    /// Which layers of --init-from, counted from 0, become the transformer's
    #[arg(long, value_name = "LAYER", value_delimiter = ',')]
    pub layers: Option<Vec<usize>>,
    /// A tokenizer.json, or a model's folder whose tokenizer to use [default: the words of the training file]
    #[arg(long, value_name = "PATH")]
    pub tokenizer: Option<PathBuf>,
    /// What a word is where no tokenizer says it [default: unicode]
    #[arg(long, value_enum)]
    pub words: Option<WordOption>,
    /// Words in a vocabulary built from the training file, at most [default: 30000]
    #[arg(long, value_name = "WORDS")]
    pub vocabulary_size: Option<usize>,
    /// How often a word must occur to enter that vocabulary; words of --vectors always do [default: 2]
    #[arg(long, value_name = "COUNT")]
    pub min_count: Option<usize>,
    /// Longest input in tokens; the rest of a text is cut off [default: 128]
    #[arg(long, value_name = "TOKENS")]
    pub max_length: Option<usize>,
    /// Pretrained word vectors: word2vec as text or binary, `GloVe`, fastText .vec or .bin, or an .npy table
    #[arg(long, value_name = "FILE")]
    pub vectors: Option<PathBuf>,
    /// The words of an .npy table of --vectors, one a line
    #[arg(long, value_name = "FILE")]
    pub vectors_words: Option<PathBuf>,
    /// What training does to given word vectors: leaves them, changes them, or has one of each [default: tuned;
    /// bilstm-paper with --vectors both, as the paper]
    #[arg(long, value_enum)]
    pub vectors_mode: Option<VectorsMode>,
    /// Hugging Face folder of an encoder whose tokenizer to use and whose word embeddings to start from, made as
    /// narrow as --embedding by their principal components
    #[arg(long, value_name = "DIR")]
    pub init_embeddings: Option<PathBuf>,

    /// What to learn from [default: ce-mse with a teacher, cross-entropy without; of a regression mse]
    #[arg(long, value_enum)]
    pub loss: Option<LossKind>,
    /// Weight of the hard labels in `kl` and `bce`, and of the data's numbers in a regression's `mse`; the teacher's
    /// weigh 1 - ALPHA [default: 0.5]
    #[arg(long)]
    pub alpha: Option<f64>,
    /// Temperature of `kl` and `bce`, applied to both sides; the soft part is scaled by its square [default: 2]
    #[arg(long)]
    pub temperature: Option<f64>,
    /// Weight of cross-entropy in `ce-mse` [default: 1]
    #[arg(long, value_name = "A")]
    pub ce_weight: Option<f64>,
    /// Weight of the squared error of logits in `ce-mse` [default: 2]
    #[arg(long, value_name = "B")]
    pub mse_weight: Option<f64>,

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
    /// Multi-label: binary cross-entropy against the teacher's probability of each label, with temperature
    Bce,
    /// Squared error of logits alone, as Tang et al. 2019; in a regression against the data's numbers too
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

    /// Those that mean something for `task`.
    pub(super) const fn of_task(task: Task) -> &'static [Self] {
        match task {
            Task::SingleLabel => &[Self::CeMse, Self::Kl, Self::Mse, Self::CrossEntropy],
            Task::MultiLabel => &[Self::CeMse, Self::Bce, Self::Mse, Self::CrossEntropy],
            Task::Regression => &[Self::Mse],
        }
    }

    /// As messages list them.
    pub(super) fn list(kinds: &[Self]) -> String {
        kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(" or ")
    }
}
