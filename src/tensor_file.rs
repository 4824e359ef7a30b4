//! Safetensors files with texts beside the tensors: written and read tensor by tensor or block by block, so that a
//! large file is never held twice, and written whole or not at all. Knows names and float32 values, not what they are for.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::Path,
};

use safetensors::{
    Dtype,
    tensor::{Metadata, TensorInfo},
};
use tch::{Device, Kind, TchError, Tensor};

use crate::files::write_atomically_with;

/// What every header's length is a multiple of, so that values lie aligned.
const ALIGNMENT: usize = 8;

/// The format's own limit on its header of names and shapes.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// From this size on, what is allocated has pages of its own that go back to the system with it, however glibc is set:
/// the largest value of its threshold that grows by itself.
const BLOCK_BYTES: usize = 32 << 20;

/// As float32, a tensor of this size leaves no hole that is not used again, and is read apart from blocks.
const LARGE_BYTES: usize = 16 << 20;

/// Which tensors of a file lie in memory that is allocated as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// None: for tensors that stay.
    Apart,
    /// Neighbours, as many as make a block: for tensors that are [copied](apart) and dropped. One by one they would
    /// leave holes in the heap, of which little is used again; blocks leave none.
    Blocks,
}

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

/// All tensors of a file, by name, on the CPU, floating-point ones as float32, and the header's texts. Besides the
/// tensors there is never more in memory than one of them, or one block, as the file has it.
///
/// An error of the kind [`io::ErrorKind::InvalidData`] means that the file is not a whole one,
/// [`io::ErrorKind::Unsupported`] that a tensor is of a type that libtorch has none for.
pub(crate) fn read_tensors(
    path: &Path,
    layout: Layout,
) -> io::Result<(HashMap<String, Tensor>, HashMap<String, String>)> {
    let broken = |cause: String| io::Error::new(io::ErrorKind::InvalidData, cause);
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    if length < 8 {
        return Err(broken(format!("{length} bytes")));
    }
    let mut size = [0; 8];
    file.read_exact(&mut size)?;
    let size = u64::from_le_bytes(size);
    if size > MAX_HEADER_BYTES.min(length - 8) {
        return Err(broken(format!("its header would take {size} of {length} bytes")));
    }
    let mut header = vec![0; size as usize];
    file.read_exact(&mut header)?;
    // Checks that the tensors follow one another without holes and have the sizes of their shapes.
    let header: Metadata =
        serde_json::from_slice(&header).map_err(|cause| broken(cause.to_string()))?;
    let there = length - 8 - size;
    let names = header.offset_keys();
    let described: Vec<_> = names
        .iter()
        .filter_map(|name| header.info(name).map(|info| (name.as_str(), info)))
        .collect();
    let mut tensors = HashMap::with_capacity(described.len());
    for block in blocks(&described, layout) {
        for (name, info) in block {
            let end = info.data_offsets.1;
            if end as u64 > there {
                let all = header.data_len();
                let cause = format!("{name} ends at byte {end} of {all}, the file at {there}");
                return Err(broken(cause));
            }
        }
        let start = block.first().map_or(0, |(_, info)| info.data_offsets.0);
        file.seek(SeekFrom::Start(8 + size + start as u64))?;
        let mut values = vec![0; bytes_of(block)];
        file.read_exact(&mut values)?;
        read_block(block, &values, &mut tensors)?;
    }
    if header.data_len() as u64 != there {
        return Err(broken(format!("{there} bytes of values, {} described", header.data_len())));
    }
    Ok((tensors, header.metadata().clone().unwrap_or_default()))
}

/// A tensor of a file by its name.
type Described<'a> = (&'a str, &'a TensorInfo);

/// Cuts the tensors of a file, in its order, into those that are read as one.
fn blocks<'a, 'b>(tensors: &'a [Described<'b>], layout: Layout) -> Vec<&'a [Described<'b>]> {
    if layout == Layout::Apart {
        return tensors.chunks(1).collect();
    }
    let is_large = |info: &TensorInfo| elements(info) * size_of::<f32>() >= LARGE_BYTES;
    let runs = tensors.chunk_by(|(_, before), (_, next)| {
        before.dtype == next.dtype && !is_large(before) && !is_large(next)
    });
    runs.flat_map(cut).collect()
}

/// Cuts tensors of one type into blocks, none of them smaller than the whole or [`BLOCK_BYTES`].
fn cut<'a, 'b>(mut run: &'a [Described<'b>]) -> Vec<&'a [Described<'b>]> {
    let mut blocks = Vec::new();
    while let Some(n) = (1..run.len()).find(|&n| bytes_of(&run[..n]) >= BLOCK_BYTES)
        && bytes_of(&run[n..]) >= BLOCK_BYTES
    {
        let (block, rest) = run.split_at(n);
        blocks.push(block);
        run = rest;
    }
    blocks.push(run);
    blocks
}

/// Bytes of neighbours in the file.
fn bytes_of(block: &[Described<'_>]) -> usize {
    let ends = block.first().zip(block.last());
    ends.map_or(0, |((_, first), (_, last))| last.data_offsets.1 - first.data_offsets.0)
}

fn elements(info: &TensorInfo) -> usize {
    info.shape.iter().product()
}

/// Adds the tensors of a block, in one allocation, to `tensors`.
fn read_block(
    block: &[Described<'_>],
    values: &[u8],
    tensors: &mut HashMap<String, Tensor>,
) -> io::Result<()> {
    if let [(name, info)] = block {
        tensors.insert((*name).to_owned(), tensor(name, info, &shape(info), values)?);
        return Ok(());
    }
    let Some((name, first)) = block.first() else { return Ok(()) };
    let all: usize = block.iter().map(|(_, info)| elements(info)).sum();
    let all = tensor(name, first, &[all as i64], values)?;
    let mut start = 0;
    for (name, info) in block {
        let length = elements(info) as i64;
        let part =
            all.f_narrow(0, start, length).and_then(|part| part.f_view(shape(info).as_slice()));
        tensors.insert((*name).to_owned(), part.map_err(io::Error::other)?);
        start += length;
    }
    Ok(())
}

fn shape(info: &TensorInfo) -> Vec<i64> {
    info.shape.iter().map(|&size| size as i64).collect()
}

/// A tensor on `device` as `kind`, in memory that it shares with none that may be of a [block](Layout::Blocks).
pub(crate) fn apart(tensor: &Tensor, device: Device, kind: Kind) -> Result<Tensor, TchError> {
    if (device, kind) != (tensor.device(), tensor.kind()) {
        return tensor.f_to_device(device)?.f_to_kind(kind);
    }
    if tensor.numel() * size_of::<f32>() >= LARGE_BYTES {
        return Ok(tensor.shallow_clone());
    }
    tensor.f_to_dtype(kind, false, true)
}

fn tensor(name: &str, info: &TensorInfo, shape: &[i64], values: &[u8]) -> io::Result<Tensor> {
    let kind = match info.dtype {
        Dtype::F32 => Kind::Float,
        Dtype::F16 => Kind::Half,
        Dtype::BF16 => Kind::BFloat16,
        Dtype::F64 => Kind::Double,
        Dtype::I64 => Kind::Int64,
        Dtype::I32 => Kind::Int,
        Dtype::I16 => Kind::Int16,
        Dtype::I8 => Kind::Int8,
        Dtype::U8 => Kind::Uint8,
        Dtype::BOOL => Kind::Bool,
        other => {
            let cause = format!(
                "{name} is of type {other:?}; weights are read as F32, F16, BF16 or F64: save the model \
                 in one of these"
            );
            return Err(io::Error::new(io::ErrorKind::Unsupported, cause));
        }
    };
    let tensor = Tensor::f_from_data_size(values, shape, kind).and_then(as_float32);
    tensor.map_err(io::Error::other)
}

/// float32 for any floating-point type; others stay as they are.
pub(crate) fn as_float32(tensor: Tensor) -> Result<Tensor, TchError> {
    match tensor.kind() {
        Kind::Half | Kind::BFloat16 | Kind::Double => tensor.f_to_kind(Kind::Float),
        _ => Ok(tensor),
    }
}

/// A tensor's values as little-endian float32.
pub(crate) fn bytes(tensor: &Tensor) -> Result<Vec<u8>, TchError> {
    let tensor =
        tensor.f_detach()?.f_to_device(Device::Cpu)?.f_to_kind(Kind::Float)?.f_contiguous()?;
    let mut bytes = vec![0; tensor.numel() * size_of::<f32>()];
    tensor.f_copy_data_u8(&mut bytes, tensor.numel())?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(sizes: &[(Dtype, usize)]) -> Vec<(String, TensorInfo)> {
        let mut end = 0;
        let info = |(i, &(dtype, elements)): (usize, &(Dtype, usize))| {
            let start = end;
            end += elements * dtype.bitsize() / 8;
            (i.to_string(), TensorInfo { dtype, shape: vec![elements], data_offsets: (start, end) })
        };
        sizes.iter().enumerate().map(info).collect()
    }

    /// Numbers of tensors in each block.
    fn lengths(sizes: &[(Dtype, usize)], layout: Layout) -> Vec<usize> {
        let described = described(sizes);
        let tensors: Vec<_> = described.iter().map(|(name, info)| (name.as_str(), info)).collect();
        blocks(&tensors, layout).into_iter().map(<[_]>::len).collect()
    }

    #[test]
    fn blocks_are_of_one_type_without_large_tensors_and_none_is_a_small_rest() {
        // 8 MiB as float32: four make a block.
        const PART: (Dtype, usize) = (Dtype::F32, 2 << 20);
        const LARGE: (Dtype, usize) = (Dtype::F32, 4 << 20);
        const COUNT: (Dtype, usize) = (Dtype::I64, 512);
        assert_eq!(lengths(&[PART; 3], Layout::Apart), [1, 1, 1]);
        assert_eq!(lengths(&[PART; 3], Layout::Blocks), [3]);
        assert_eq!(lengths(&[PART; 7], Layout::Blocks), [7]);
        assert_eq!(lengths(&[PART; 10], Layout::Blocks), [4, 6]);
        let mixed = [PART, LARGE, PART, PART, COUNT, PART];
        assert_eq!(lengths(&mixed, Layout::Blocks), [1, 1, 2, 1, 1]);
        assert!(lengths(&[], Layout::Blocks).is_empty());
    }

    #[test]
    fn tensors_are_the_same_in_blocks_and_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("some.safetensors");
        let tensors = [
            ("a", Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0]).view([2, 2])),
            ("b", Tensor::from_slice(&[0.0f32; 0])),
            ("c", Tensor::from(5.0f32)),
            ("d", Tensor::from_slice(&[6.0f32, 7.0])),
        ];
        let named = tensors.iter().map(|(name, tensor)| (*name, tensor));
        write_tensors(&path, named, HashMap::new()).unwrap();
        for layout in [Layout::Apart, Layout::Blocks] {
            let (found, _) = read_tensors(&path, layout).unwrap();
            assert_eq!(found.len(), tensors.len());
            for (name, tensor) in &tensors {
                assert_eq!(found[*name].size(), tensor.size(), "{name}, {layout:?}");
                assert!(found[*name].equal(tensor), "{name}, {layout:?}");
            }
        }
    }

    #[test]
    fn what_is_apart_shares_no_memory_with_a_block() {
        let block = Tensor::zeros([4], (Kind::Float, Device::Cpu));
        let mut copy = apart(&block.narrow(0, 1, 2), Device::Cpu, Kind::Float).unwrap();
        let _ones = copy.fill_(1.0);
        assert!(block.equal(&block.zeros_like()));
    }
}
