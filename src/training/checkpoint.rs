//! A training's state in one file, so that a training that was killed goes on as if it had not been: trained
//! values, the optimizer's memory, and what the loop adds. Knows no model and no data.
//!
//! libtorch's random state cannot be read through `tch`, so it is not part of a checkpoint: a loop re-seeds before each
//! batch with [`step_seed`], and its randomness is a function of seed and step.
//!
//! The file is safetensors: `value/NAME`, `first/NAME`, `second/NAME` for each trained parameter, and JSON under the
//! metadata key `lectern`. It is replaced whole, so a crash, a full disk or a kill leaves the one before.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use tch::Tensor;

use super::{Optimizer, OptimizerError};
use crate::tensor_file::{Layout, read_tensors, write_tensors};

/// Everything that a training's result depends on, by the name that its user gives it; a training goes on only under
/// the settings it began with.
pub type Settings = Map<String, Value>;

/// Changes when an older file would be misread.
const VERSION: u32 = 1;

/// The metadata key.
const KEY: &str = "lectern";

/// Why a checkpoint cannot be written, read or gone on from.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The disk refused.
    #[error(
        "{path}: the checkpoint cannot be written: {source}; the one before it, if any, still stands"
    )]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A file that is there and cannot be read.
    #[error("{path}: the checkpoint cannot be read: {cause}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// A run that began with other settings.
    #[error("{path}: this run began with other settings; give those, or start anew elsewhere:\n  {}", differences.join("\n  "))]
    Settings {
        /// The file.
        path: PathBuf,
        /// One line each: name, value then, value now.
        differences: Vec<String>,
    },
}

/// Where a training keeps its state.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    settings: Settings,
}

#[derive(Serialize, Deserialize)]
struct Header<S> {
    version: u32,
    settings: Settings,
    optimizer_step: i32,
    state: S,
}

impl Checkpoint {
    /// In the file at `path`, of a training with these settings. Touches nothing yet.
    pub fn new(path: PathBuf, settings: Settings) -> Self {
        Self { path, settings }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is one to go on from.
    pub fn exists(&self) -> bool {
        self.path.exists()
    }

    /// Replaces the file. `state` is the loop's own: its position, its best score.
    pub fn write<S: Serialize>(
        &self,
        optimizer: &Optimizer,
        state: &S,
    ) -> Result<(), CheckpointError> {
        let failed = |source| CheckpointError::Write { path: self.path.clone(), source };
        let header = Header {
            version: VERSION,
            settings: self.settings.clone(),
            optimizer_step: optimizer.steps(),
            state,
        };
        let header = serde_json::to_string(&header).map_err(|cause| failed(cause.into()))?;
        let tensors = optimizer.tensors();
        let tensors = tensors.iter().map(|(name, tensor)| (name.as_str(), *tensor));
        write_tensors(&self.path, tensors, HashMap::from([(KEY.to_owned(), header)]))
            .map_err(failed)
    }

    /// Puts values and memory back into `optimizer`, which must be over the same parameters, and returns the loop's
    /// state.
    pub fn resume<S: DeserializeOwned>(
        &self,
        optimizer: &mut Optimizer,
    ) -> Result<S, CheckpointError> {
        let (header, mut tensors) = self.read::<S>()?;
        optimizer
            .restore(header.optimizer_step, &mut tensors)
            .map_err(|cause: OptimizerError| self.unreadable(cause))?;
        Ok(header.state)
    }

    /// Says which settings differ from those that the file's training began with.
    fn read<S: DeserializeOwned>(
        &self,
    ) -> Result<(Header<S>, HashMap<String, Tensor>), CheckpointError> {
        let (tensors, mut texts) =
            read_tensors(&self.path, Layout::Apart).map_err(|cause| self.unreadable(cause))?;
        let header =
            texts.remove(KEY).ok_or_else(|| self.unreadable("not a checkpoint of Lectern"))?;
        // Settings first: where those differ, the state may too, and they are what the user can mend.
        let header: Header<Value> =
            serde_json::from_str(&header).map_err(|cause| self.unreadable(cause))?;
        if header.version != VERSION {
            return Err(self.unreadable(format!(
                "written by another version of Lectern (format {}, this one reads {VERSION})",
                header.version
            )));
        }
        let differences = differences(&header.settings, &self.settings);
        if !differences.is_empty() {
            return Err(CheckpointError::Settings { path: self.path.clone(), differences });
        }
        let state = serde_json::from_value(header.state).map_err(|cause| self.unreadable(cause))?;
        let Header { version, settings, optimizer_step, .. } = header;
        Ok((Header { version, settings, optimizer_step, state }, tensors))
    }

    /// Removes the file, once the training has ended.
    pub fn remove(&self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }

    fn unreadable(&self, cause: impl std::fmt::Display) -> CheckpointError {
        CheckpointError::Read { path: self.path.clone(), cause: cause.to_string() }
    }
}

fn differences(then: &Settings, now: &Settings) -> Vec<String> {
    let shown = |value: Option<&Value>| value.map_or("absent".to_owned(), Value::to_string);
    let names = then.keys().chain(now.keys().filter(|name| !then.contains_key(*name)));
    names
        .filter(|name| then.get(*name) != now.get(*name))
        .map(|name| format!("{name}: {}, now {}", shown(then.get(name)), shown(now.get(name))))
        .collect()
}

/// The seed of libtorch's generator for one batch of a training with `seed`, counted over all epochs: the first eight
/// bytes of a hash of both, so that neighbouring seeds and batches share nothing.
pub fn step_seed(seed: i64, batch: usize) -> i64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes()).update(&(batch as u64).to_le_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    i64::from_le_bytes(first)
}
