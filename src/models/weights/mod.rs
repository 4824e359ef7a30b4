//! Weight files: safetensors and PyTorch's own, whole or in shards, read as float32 with errors that name
//! file and tensor.

mod shards;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
};

use tch::Tensor;

pub use self::shards::{INDEX_SUFFIX, shard_names};
use super::{ModelError, folder::malformed, pickle::read_checkpoint};
pub(super) use crate::tensor_file::{Layout, apart, bytes};
use crate::tensor_file::{as_float32, read_tensors, write_tensors};

/// The files that weights are looked for in, before their indexes of shards: the first that is there is read.
pub const WEIGHTS: [&str; 2] = ["model.safetensors", "pytorch_model.bin"];

/// Where a folder's weights are: one file, or an index of shards.
fn weights_of(folder: &Path) -> Result<PathBuf, ModelError> {
    let names =
        WEIGHTS.iter().flat_map(|name| [(*name).to_owned(), format!("{name}{INDEX_SUFFIX}")]);
    names.map(|name| folder.join(name)).find(|path| path.is_file()).ok_or_else(|| {
        let files = WEIGHTS.join(" nor ");
        malformed(folder, format!("holds neither {files}, nor the index of either's shards"))
    })
}

/// All tensors of a model folder, with the path of the file or index that they are from.
pub(super) fn find_weights(
    folder: &Path,
) -> Result<(PathBuf, HashMap<String, Tensor>), ModelError> {
    find_weights_in(folder, Layout::Apart)
}

/// The same in a layout; PyTorch's own files have but one, [`Layout::Apart`].
pub(super) fn find_weights_in(
    folder: &Path,
    layout: Layout,
) -> Result<(PathBuf, HashMap<String, Tensor>), ModelError> {
    let path = weights_of(folder)?;
    let is_index = path.to_string_lossy().ends_with(INDEX_SUFFIX);
    let tensors = if is_index { shards::read(&path, layout)? } else { read_in(&path, layout)? };
    Ok((path, tensors))
}

/// Bytes of a folder's weights on disk.
pub fn weight_bytes(folder: &Path) -> Result<u64, ModelError> {
    let path = weights_of(folder)?;
    let files = if path.to_string_lossy().ends_with(INDEX_SUFFIX) {
        shard_names(&path)?.iter().map(|name| folder.join(name)).collect()
    } else {
        vec![path]
    };
    files
        .into_iter()
        .map(|path| {
            let metadata = fs::metadata(&path);
            metadata.map(|file| file.len()).map_err(|source| ModelError::Read { path, source })
        })
        .sum()
}

/// All tensors of one file, by name, on the CPU; floating-point ones as float32.
pub fn read_weights(path: &Path) -> Result<HashMap<String, Tensor>, ModelError> {
    read_in(path, Layout::Apart)
}

fn read_in(path: &Path, layout: Layout) -> Result<HashMap<String, Tensor>, ModelError> {
    let unreadable = |source: io::Error| match source.kind() {
        io::ErrorKind::InvalidData => {
            malformed(path, format!("not a whole weights file ({source}); fetch it again"))
        }
        io::ErrorKind::Unsupported => malformed(path, source.to_string()),
        _ => ModelError::Read { path: path.to_owned(), source },
    };
    fs::metadata(path).map_err(unreadable)?;
    let tensors = if path.extension().is_some_and(|e| e == "safetensors") {
        read_tensors(path, layout).map_err(unreadable)?.0
    } else {
        let tensors = read_checkpoint(path).map_err(|cause| malformed(path, cause.to_string()))?;
        let converted = tensors.into_iter().map(|(name, tensor)| Ok((name, as_float32(tensor)?)));
        converted.collect::<Result<_, ModelError>>()?
    };
    if tensors.is_empty() {
        return Err(malformed(path, "holds no tensors"));
    }
    Ok(tensors)
}

/// Writes float32 tensors, in the given order, as safetensors that PyTorch and `transformers` read.
pub fn write_weights<'a>(
    path: &Path,
    tensors: impl Iterator<Item = (&'a str, &'a Tensor)>,
) -> Result<(), ModelError> {
    // `transformers` refuses a file that does not name its framework.
    let texts = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    write_tensors(path, tensors, texts)
        .map_err(|source| ModelError::Read { path: path.to_owned(), source })
}
