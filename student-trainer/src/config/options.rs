//! The settings of a run as a user gives them: flags, and the keys of a TOML file.

use std::path::{Path, PathBuf};

use clap::Args;
use figment::{
    Figment,
    providers::{Format as _, Serialized, Toml},
};
use lectern::{
    commands::{BestBy, Usage},
    data::Task,
    training::{Alpha, Decay, Scheduled},
};
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::{
    choices::{CombineKind, EncodingOption, LossKind, OnMissing, OptimizerName},
    one_or_many,
    student::{PairReading, StudentKind, VectorsMode, WordOption},
};

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

    /// Texts made of each training text, for the teacher to label: words are hidden or exchanged for others of their part of
    /// speech, or only a few in a row kept [default: 2 if the teacher is a server and has a mask token, else 0]
    #[arg(long, value_name = "TEXTS")]
    pub augment: Option<usize>,
    /// Share of words that the mask token takes the place of [default: 0.1]
    #[arg(long, value_name = "SHARE")]
    pub augment_mask: Option<f64>,
    /// Share of words that another training word of the same part of speech takes the place of [default: 0.1]
    #[arg(long, value_name = "SHARE")]
    pub augment_pos: Option<f64>,
    /// Share of those texts of which only one to five words in a row stay [default: 0.25]
    #[arg(long, value_name = "SHARE")]
    pub augment_ngram: Option<f64>,
    /// What hides a word, as the teacher's tokenizer spells it; the student reads its own mask token there [default: as
    /// the teacher says, else `[MASK]`]
    #[arg(long, value_name = "TOKEN")]
    pub augment_mask_token: Option<String>,
    /// Decides those texts; runs of other --seed but the same of this share the teacher's answers to them [default: 1]
    #[arg(long, value_name = "SEED")]
    pub augment_seed: Option<u32>,
    /// Text without labels, for the teacher to label: .txt with a text a line, or a data file; may be given several times. Its
    /// words join the student's vocabulary
    #[arg(long, value_name = "FILE")]
    pub unlabelled: Option<Vec<PathBuf>>,
    /// Texts without labels in an epoch for each labelled one; epochs take turns at them [default: all in each epoch]
    #[arg(long, value_name = "RATIO")]
    pub unlabelled_ratio: Option<f64>,

    /// The model [default: bilstm]
    #[arg(long, value_enum)]
    pub student: Option<StudentKind>,
    /// Numbers of a word vector [default: 300; fasttext 100; those of --vectors]
    #[arg(long, value_name = "NUMBERS")]
    pub embedding: Option<i64>,
    /// Units of a recurrent layer in each direction, or of the hidden states of a fresh transformer [default: bilstm 300;
    /// bilstm-paper, bigru 150; as in --encoder-config]
    #[arg(long, value_name = "UNITS")]
    pub hidden: Option<i64>,
    /// Units of the ReLU layer, or of the feed-forward layers of a fresh transformer [default: bilstm, average 192;
    /// bilstm-paper, bigru 200; as many times --hidden as in --encoder-config]
    #[arg(long, value_name = "UNITS")]
    pub inner: Option<i64>,
    /// Filters of a convolution, in textcnn of each width [default: textcnn 100, dpcnn 250]
    #[arg(long, value_name = "FILTERS")]
    pub filters: Option<i64>,
    /// Tokens that the filters of textcnn see [default: 3,4,5]
    #[arg(long, value_name = "TOKENS", value_delimiter = ',')]
    pub filter_widths: Option<Vec<i64>>,
    /// Recurrent layers, layers of a fresh transformer, or blocks of dpcnn, all but the first of which halve the text
    /// [default: 1; dpcnn 4; as in --encoder-config]
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
    /// What a fresh transformer looks like: a Hugging Face folder, of which only config.json and the tokenizer are read, or
    /// a config.json alone. The table of words is as long as the tokenizer needs
    #[arg(long, value_name = "DIR|FILE.json")]
    pub encoder_config: Option<PathBuf>,
    /// Heads of attention of a fresh transformer [default: each as wide as in --encoder-config]
    #[arg(long, value_name = "HEADS")]
    pub heads: Option<i64>,
    /// A tokenizer.json, or a model's folder whose tokenizer to use [default: the folder's of --encoder-config, else the
    /// words of the training file]
    #[arg(long, value_name = "PATH")]
    pub tokenizer: Option<PathBuf>,
    /// What a word is where no tokenizer says it; that of --encoder-config then says nothing [default: unicode]
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

    /// What to learn from [default: kl with a teacher, of a multi-label task ce-mse; cross-entropy without; of a regression mse]
    #[arg(long, value_enum)]
    pub loss: Option<LossKind>,
    /// Weight of the hard labels in losses of probabilities and `cosine`, and of the data's numbers in a regression's
    /// losses; the teacher's weigh 1 - ALPHA. A number, linear:FROM:TO or cosine:FROM:TO over the run's steps, or
    /// entropy: each label by how unsure the teacher is of its example [default: 0 of a single-label task, else 0.5]
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

    /// Passes over the training examples [default: 4]
    #[arg(long)]
    pub epochs: Option<usize>,
    /// Examples in one step [default: 64]
    #[arg(long)]
    pub batch_size: Option<usize>,
    /// Batches whose gradients make one step [default: 1]
    #[arg(long, value_name = "BATCHES")]
    pub accumulate: Option<usize>,
    /// Learning rate at its peak [default: 0.002; transformer 0.0001, a fresh one 0.0005; sgd 0.05, adadelta 1]
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
    /// What the averages of adadelta keep of the past in a step [default: 0.95]
    #[arg(long)]
    pub rho: Option<f64>,
    /// The learning rate after its warm-up [default: cosine]
    #[arg(long, value_enum)]
    pub schedule: Option<Decay>,
    /// Share of the steps in which the learning rate rises to its peak [default: 0]
    #[arg(long, value_name = "SHARE")]
    pub warmup: Option<f64>,
    /// Joint norm that gradients are scaled down to [default: 5]
    #[arg(long, value_name = "NORM")]
    pub clip_norm: Option<f64>,
    /// Stop after this many epochs without a better score on dev [default: never]
    #[arg(long, value_name = "EPOCHS")]
    pub patience: Option<usize>,
    /// Judge and keep a running average of the weights, of which a step leaves this share [default: the weights themselves]
    #[arg(long, value_name = "DECAY")]
    pub ema_decay: Option<f64>,
    /// The number on dev that chooses the epoch whose weights are kept [default: score]
    #[arg(long, value_enum)]
    pub best_by: Option<BestBy>,
    /// Decides the first weights, dropout and the order of examples [default: 1]
    #[arg(long)]
    pub seed: Option<u32>,
    /// One run for each of these seeds, in a folder of its own, and the mean of their scores
    #[arg(long, value_delimiter = ',', value_name = "SEEDS", conflicts_with = "seed")]
    pub seeds: Option<Vec<u32>>,
    /// Steps between two checkpoints; there is always one after an epoch [default: epochs alone]
    #[arg(long, value_name = "STEPS")]
    pub checkpoint_every: Option<usize>,
    /// Go on with the run in --output where it was stopped or killed, to the same weights; start it where there is none
    #[arg(long)]
    #[serde(skip)]
    pub resume: bool,
}

impl TrainOptions {
    /// Puts these flags over the settings of `file`.
    pub fn over_file(self, file: Option<&Path>) -> Result<Self, Usage> {
        let Some(file) = file else { return Ok(self) };
        if !file.is_file() {
            return Err(Usage(format!("--config {}: no such file", file.display())));
        }
        let resume = self.resume;
        Figment::from(Toml::file_exact(file))
            .merge(Serialized::defaults(self))
            .extract()
            .map(|options| Self { resume, ..options })
            .map_err(|cause| Usage(format!("--config {}: {cause}", file.display())))
    }
}
