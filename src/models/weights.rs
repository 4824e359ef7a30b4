//! Weight files: safetensors and PyTorch's own, read with an error that names the file; safetensors
//! written whole or not at all.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use tch::Tensor;

use super::{ModelError, pickle::read_checkpoint};
pub(super) use crate::tensor_file::bytes;
use crate::tensor_file::write_tensors;

/// All tensors of a model folder, from `model.safetensors` or `pytorch_model.bin`, with the file's path.
pub(super) fn find_weights(
    folder: &Path,
) -> Result<(PathBuf, HashMap<String, Tensor>), ModelError> {
    for name in ["model.safetensors", "pytorch_model.bin"] {
        let path = folder.join(name);
        if path.is_file() {
            let tensors = read_weights(&path)?;
            return Ok((path, tensors));
        }
    }
    Err(ModelError::Malformed {
        path: folder.to_owned(),
        cause: "holds neither model.safetensors nor pytorch_model.bin".to_owned(),
    })
}

/// All tensors of one file, by name, on the CPU.
pub fn read_weights(path: &Path) -> Result<HashMap<String, Tensor>, ModelError> {
    let malformed = |cause: String| ModelError::Malformed { path: path.to_owned(), cause };
    fs::metadata(path).map_err(|source| ModelError::Read { path: path.to_owned(), source })?;
    let tensors = if path.extension().is_some_and(|e| e == "safetensors") {
        Tensor::read_safetensors(path).map_err(|cause| {
            malformed(format!("not a whole weights file ({}); fetch it again", first_line(&cause)))
        })?
    } else {
        read_checkpoint(path).map_err(|cause| malformed(cause.to_string()))?
    };
    if tensors.is_empty() {
        return Err(malformed("holds no tensors".to_owned()));
    }
    Ok(tensors.into_iter().collect())
}

fn first_line(error: &dyn std::error::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
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
