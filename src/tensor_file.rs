//! Safetensors files with texts beside the tensors: written tensor by tensor, so that a large one is never held
//! twice, and whole or not at all. Knows names and float32 values, not what they are for.

use std::{collections::HashMap, fs, io, path::Path};

use safetensors::{
    Dtype, SafeTensors,
    tensor::{Metadata, TensorInfo},
};
use tch::{Device, Kind, TchError, Tensor};

use crate::files::write_atomically_with;

/// What every header's length is a multiple of, so that values lie aligned.
const ALIGNMENT: usize = 8;

/// Writes float32 tensors, in the given order, and `texts` into the header's `__metadata__`.
pub(crate) fn write_tensors<'a>(
    path: &Path,
    tensors: impl Iterator<Item = (&'a str, &'a Tensor)>,
    texts: HashMap<String, String>,
) -> io::Result<()> {
    let tensors: Vec<_> = tensors.collect();
    let mut end = 0;
    let infos = tensors.iter().map(|(name, tensor)| {
        let start = end;
        end += tensor.numel() * size_of::<f32>();
        let shape = tensor.size().iter().map(|&d| d as usize).collect();
        let info = TensorInfo { dtype: Dtype::F32, shape, data_offsets: (start, end) };
        ((*name).to_owned(), info)
    });
    let header = Metadata::new(Some(texts), infos.collect()).map_err(io::Error::other)?;
    let mut header = serde_json::to_vec(&header)?;
    header.resize(header.len().next_multiple_of(ALIGNMENT), b' ');
    write_atomically_with(path, |out| {
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(&header)?;
        tensors
            .iter()
            .try_for_each(|(_, tensor)| out.write_all(&bytes(tensor).map_err(io::Error::other)?))
    })
}

/// All tensors of a file, by name, on the CPU, and the header's texts. An error of the kind
/// [`io::ErrorKind::InvalidData`] means that the file is not a whole one.
pub(crate) fn read_tensors(
    path: &Path,
) -> io::Result<(HashMap<String, Tensor>, HashMap<String, String>)> {
    let broken = |cause: &dyn std::fmt::Display| {
        io::Error::new(io::ErrorKind::InvalidData, first_line(cause))
    };
    let file = fs::read(path)?;
    let (_, header) = SafeTensors::read_metadata(&file).map_err(|cause| broken(&cause))?;
    let tensors = SafeTensors::deserialize(&file).map_err(|cause| broken(&cause))?;
    let tensors = tensors.iter().map(|(name, view)| match view.dtype() {
        Dtype::F32 => {
            let size: Vec<i64> = view.shape().iter().map(|&d| d as i64).collect();
            let tensor = Tensor::f_from_data_size(view.data(), &size, Kind::Float);
            Ok((name.to_owned(), tensor.map_err(|cause| broken(&cause))?))
        }
        other => Err(broken(&format!("{name} is {other:?}, expected F32"))),
    });
    Ok((tensors.collect::<io::Result<_>>()?, header.metadata().clone().unwrap_or_default()))
}

fn first_line(error: &dyn std::fmt::Display) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

/// A tensor's values as little-endian float32.
pub(crate) fn bytes(tensor: &Tensor) -> Result<Vec<u8>, TchError> {
    let tensor =
        tensor.f_detach()?.f_to_device(Device::Cpu)?.f_to_kind(Kind::Float)?.f_contiguous()?;
    let mut bytes = vec![0; tensor.numel() * size_of::<f32>()];
    tensor.f_copy_data_u8(&mut bytes, tensor.numel())?;
    Ok(bytes)
}
