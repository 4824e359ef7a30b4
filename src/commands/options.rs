//! Flags that more than one command has.

use std::{path::PathBuf, thread};

use clap::Args;
use tch::Device;

use crate::data::Columns;

/// Where in a data file the text, the second text and the label stand.
#[derive(Debug, Clone, Default, Args)]
pub struct ColumnOptions {
    /// Column or key of the text [default: text]
    #[arg(long, value_name = "NAME")]
    pub text_column: Option<String>,
    /// Column or key of the second text of a pair [default: `text_pair`, which may be absent]
    #[arg(long, value_name = "NAME")]
    pub text_pair_column: Option<String>,
    /// Column or key of the label [default: label]
    #[arg(long, value_name = "NAME")]
    pub label_column: Option<String>,
}

impl From<ColumnOptions> for Columns {
    fn from(options: ColumnOptions) -> Self {
        Self {
            text: options.text_column,
            text_pair: options.text_pair_column,
            label: options.label_column,
        }
    }
}

/// With how many threads tensors are computed.
#[derive(Debug, Clone, Args)]
pub struct ThreadOptions {
    /// Threads that compute; programs that share a machine must share its cores, too many threads make
    /// all of them slower [default: the number of cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
}

impl ThreadOptions {
    /// The number of threads to use.
    pub fn threads(&self) -> usize {
        let cores = || thread::available_parallelism().map_or(1, usize::from);
        self.threads.map_or_else(cores, usize::from)
    }
}

/// Where and with how many threads tensors are computed.
#[derive(Debug, Clone, Args)]
pub struct ComputeOptions {
    /// Threads.
    #[command(flatten)]
    threads: ThreadOptions,
    /// `cpu` or `cuda:N`
    #[arg(long, env = DEVICE_VARIABLE, default_value = "cpu", value_parser = parse_device)]
    pub device: Device,
}

impl ComputeOptions {
    /// The number of threads to use.
    pub fn threads(&self) -> usize {
        self.threads.threads()
    }

    /// Sets libtorch's threads for the calling thread.
    pub fn set_threads(&self) {
        tch::set_num_threads(self.threads() as i32);
    }
}

/// What names the device where no flag does.
pub const DEVICE_VARIABLE: &str = "LECTERN_DEVICE";

/// `cpu`, `cuda` or `cuda:N`, where libtorch has it.
pub fn parse_device(name: &str) -> Result<Device, String> {
    let device = match name {
        "cpu" => return Ok(Device::Cpu),
        "cuda" => Device::Cuda(0),
        other => match other.strip_prefix("cuda:").map(str::parse) {
            Some(Ok(index)) => Device::Cuda(index),
            _ => return Err("expected cpu or cuda:N".to_owned()),
        },
    };
    let found = tch::Cuda::device_count();
    match device {
        Device::Cuda(index) if index as i64 >= found => Err(format!(
            "libtorch sees {found} CUDA devices; a build with `cargo xtask libtorch --cuda` has CUDA, and \
                 nvidia-smi shows the driver's devices"
        )),
        device => Ok(device),
    }
}

/// How to judge a model on a labelled file.
#[derive(Debug, Clone, Args)]
pub struct EvaluateOptions {
    /// Labelled examples: .json, .jsonl, .csv, .tsv or .parquet
    #[arg(long, value_name = "FILE")]
    pub data: PathBuf,
    /// Also write the numbers as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Names of the label ids in the data, one per line or a JSON array, where they differ from the model's order
    #[arg(long, value_name = "FILE")]
    pub label_names: Option<PathBuf>,
    /// Columns of the data.
    #[command(flatten)]
    pub columns: ColumnOptions,
    /// Device and threads.
    #[command(flatten)]
    pub compute: ComputeOptions,
}

/// What to label and how it is written.
#[derive(Debug, Clone, Args)]
pub struct PredictOptions {
    /// JSON Lines with `text` and optionally `text_pair`; `-` is standard input
    #[arg(default_value = "-", value_name = "FILE")]
    pub input: PathBuf,
    /// Each line of the input is a text
    #[arg(long)]
    pub plain: bool,
    /// Device and threads.
    #[command(flatten)]
    pub compute: ComputeOptions,
}
