//! What a server needs to know, and why it may not start or has to end.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use lectern::{
    data::Task,
    models::{Arithmetic, ModelError},
    wire::Limits,
};

use super::{engine::Verify, model::ModelSource, schedule::Share};
use crate::store::{StoreConfig, StoreError};

/// What a server needs to know.
#[derive(Debug, Clone)]
pub struct ServeConfig {
    /// The teacher, or the members of an ensemble.
    pub models: Vec<ModelSource>,
    /// Where to listen; port 0 takes a free one.
    pub listen: String,
    /// Where to answer HTTP: `/metrics` for Prometheus.
    pub http: Option<String>,
    /// Where the teacher computes: a copy of it for each.
    pub devices: Vec<tch::Device>,
    /// Threads that compute on a CPU: forward passes beside each other, each on one of them, or, where a model cannot be shared
    /// by threads, the threads of one pass.
    pub threads: usize,
    /// What the teacher computes with.
    pub arithmetic: Arithmetic,
    /// Every example in a forward pass of its own, so that its row depends on nothing else.
    pub pinned: bool,
    /// Tokens in one forward pass, padding included; `None` measures what the device wants.
    pub max_batch_tokens: Option<usize>,
    /// Where rows are kept.
    pub store: StoreConfig,
    /// How rows from disk and from the shared tier are checked.
    pub verify: Verify,
    /// Weights and quotas, by the name of the experiment; all others weigh 1 and have no quota.
    pub shares: HashMap<String, Share>,
    /// Examples queued or under way beyond which streams wait and unary calls are refused.
    pub max_queued: usize,
    /// What one stream may do.
    pub limits: Limits,
    /// How long a shut-down waits for students to take their answers.
    pub drain: Duration,
    /// A file that gets the address as `HOST:PORT` once the server is SERVING.
    pub address_file: Option<PathBuf>,
}

impl ServeConfig {
    /// The defaults for one teacher: a free port of this machine, the CPU, rows in memory alone.
    pub fn new(model: &Path) -> Self {
        Self {
            models: vec![model.into()],
            listen: "127.0.0.1:0".to_owned(),
            http: None,
            devices: vec![tch::Device::Cpu],
            threads: 1,
            arithmetic: Arithmetic::Auto,
            pinned: false,
            max_batch_tokens: None,
            store: StoreConfig { memory_bytes: 256 << 20, ..StoreConfig::default() },
            verify: Verify { one_in: 1000, tolerance: 0.001 },
            shares: HashMap::new(),
            max_queued: 1 << 17,
            limits: Limits::default(),
            drain: Duration::from_secs(30),
            address_file: None,
        }
    }
}

/// Why a server did not start or had to end.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be had.
    #[error(
        "cannot listen on {address}: {source}; choose another with {flag}, port 0 takes a free one"
    )]
    Listen {
        /// As given.
        address: String,
        /// Where it was given.
        flag: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// Nothing to serve.
    #[error("no model to serve; give one with --model DIR or --torchscript FILE")]
    NoModel,
    /// Nowhere to compute.
    #[error("no device to compute on; give one with --device")]
    NoDevice,
    /// The folder is no teacher.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Members of an ensemble that do not answer the same question.
    #[error(
        "{path}: has the labels {found:?}, the first model {wanted:?}; the members of an ensemble \
         need the same labels, in any order"
    )]
    Labels {
        /// The member's folder or file.
        path: PathBuf,
        /// Its labels.
        found: Vec<String>,
        /// Those of the first member.
        wanted: Vec<String>,
    },
    /// Members of an ensemble of different tasks.
    #[error(
        "{path}: answers a {found} task, the first model a {wanted} one; the members of an ensemble need the \
         same"
    )]
    Tasks {
        /// The member's folder or file.
        path: PathBuf,
        /// Its task.
        found: Task,
        /// That of the first member.
        wanted: Task,
    },
    /// The label store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The teacher failed while it served.
    #[error("the teacher failed: {0}")]
    Teacher(String),
    /// The file for the address cannot be written.
    #[error("cannot write the address to {path}: {source}")]
    AddressFile {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The gRPC server ended on its own.
    #[error("the server ended: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// A thread or task that cannot be started or did not end as it should.
    #[error("{0}")]
    Thread(String),
}
