//! Weight files: safetensors and PyTorch's own, read with an error that names the file; safetensors
//! written whole or not at all.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use safetensors::{Dtype, tensor::TensorView};
use tch::{Kind, Tensor};

use super::{ModelError, pickle::read_checkpoint};
use crate::files::write_atomically;

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
    let data = tensors
        .map(|(name, tensor)| {
            let shape = tensor.size().iter().map(|&d| d as usize).collect::<Vec<_>>();
            Ok((name, shape, bytes(tensor)?))
        })
        .collect::<Result<Vec<_>, ModelError>>()?;
    let malformed = |cause: safetensors::SafeTensorError| ModelError::Malformed {
        path: path.to_owned(),
        cause: cause.to_string(),
    };
    let views = data
        .iter()
        .map(|(name, shape, bytes)| {
            Ok((*name, TensorView::new(Dtype::F32, shape.clone(), bytes).map_err(malformed)?))
        })
        .collect::<Result<Vec<_>, ModelError>>()?;
    // `transformers` refuses a file that does not name its framework.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let file = safetensors::serialize(views, Some(metadata)).map_err(malformed)?;
    write_atomically(path, &file)
        .map_err(|source| ModelError::Read { path: path.to_owned(), source })
}

/// A float32 tensor's values as little-endian bytes.
pub(super) fn bytes(tensor: &Tensor) -> Result<Vec<u8>, ModelError> {
    let tensor =
        tensor.f_detach()?.f_to_device(tch::Device::Cpu)?.f_to_kind(Kind::Float)?.f_contiguous()?;
    let mut bytes = vec![0; tensor.numel() * 4];
    tensor.f_copy_data_u8(&mut bytes, tensor.numel())?;
    Ok(bytes)
}
