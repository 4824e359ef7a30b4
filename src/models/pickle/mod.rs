//! PyTorch checkpoints, the `torch.save(state_dict)` in `pytorch_model.bin`: from a file to named
//! tensors. Interprets the few instructions a state dict needs and runs none of the code that a
//! pickle can name; knows nothing of models.
//!
//! libtorch's own reader, `Tensor::loadz_multi`, takes only plain dicts, and the state dict of a
//! module is an `OrderedDict` with an attribute.

mod archive;
mod calls;
mod legacy;
mod machine;
mod state_dict;
mod storages;
#[cfg(test)]
mod tests;
mod value;

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek},
    path::Path,
};

use tch::Tensor;

/// A pickle holds names and shapes. Two thousand tensors take under one MiB, and a hostile file can
/// make each byte cost about a hundred here.
const MAX_PICKLE_BYTES: u64 = 8 << 20;

/// Why a checkpoint cannot be read; the caller names the file.
#[derive(Debug, thiserror::Error)]
pub(super) enum PickleError {
    /// The system cannot read the file.
    #[error(transparent)]
    Read(#[from] io::Error),
    /// The file begins like neither of the two formats.
    #[error(
        "begins with {start:?} and is no PyTorch checkpoint; fetch the file itself, not a Git LFS pointer to it"
    )]
    Unknown {
        /// The file's first bytes, as text.
        start: String,
    },
    /// The zip archive is damaged, or its entries are packed.
    #[error("{place}: {source}; the file is cut short or damaged, fetch it again")]
    Archive {
        /// The entry, or the archive itself.
        place: String,
        /// The cause.
        source: zip::result::ZipError,
    },
    /// Bytes that no version of PyTorch writes.
    #[error("{place}: {cause}; the file is cut short or damaged, fetch it again")]
    Damaged {
        /// Where in the file.
        place: String,
        /// What is wrong there.
        cause: String,
    },
    /// A Python function or class other than the few that rebuild tensors.
    #[error(
        "{place}: asks for Python's {global:?}, which no state dict needs and which was not run; save the model again with torch.save(model.state_dict(), path) or as model.safetensors"
    )]
    Forbidden {
        /// Where in the file.
        place: String,
        /// Module and name.
        global: String,
    },
    /// Numbers in the other byte order.
    #[error("was written on a big-endian machine; save it again on a little-endian one")]
    BigEndian,
    /// A pickle that is whole but of something else.
    #[error("holds {found}, not a state dict; save torch.save(model.state_dict(), path)")]
    NotAStateDict {
        /// What it holds.
        found: &'static str,
    },
    /// Larger than any checkpoint, or than this one's file allows.
    #[error(
        "{place}: {bytes} bytes, of at most {limit}; save only model.state_dict(), best as model.safetensors"
    )]
    TooLarge {
        /// Where in the file.
        place: String,
        /// The size asked for.
        bytes: u64,
        /// The most that is read.
        limit: u64,
    },
    /// libtorch refused a tensor.
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
}

impl PickleError {
    fn damaged(place: impl Into<String>, cause: impl Into<String>) -> Self {
        Self::Damaged { place: place.into(), cause: cause.into() }
    }
}

/// All tensors of a checkpoint, in its order, on the CPU and contiguous, each in its own kind.
///
/// A file whose top level is `{"state_dict": {…}}` gives what is in there. Entries that are no
/// tensors are left out. Tensors that shared a storage still do where both are contiguous in it, as
/// after `torch.load`.
pub(super) fn read_checkpoint(path: &Path) -> Result<Vec<(String, Tensor)>, PickleError> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    read(BufReader::new(file), length)
}

fn read(mut file: impl Read + Seek, length: u64) -> Result<Vec<(String, Tensor)>, PickleError> {
    let mut start = Vec::new();
    file.by_ref().take(16).read_to_end(&mut start)?;
    file.rewind()?;
    match *start.as_slice() {
        [b'P', b'K', 3, 4, ..] => archive::read(file, length),
        [0x80, ..] => legacy::read(file, length),
        _ => Err(PickleError::Unknown { start: String::from_utf8_lossy(&start).into_owned() }),
    }
}
