//! From a storage's bytes and a tensor's description to the tensor. Nothing is allocated that the
//! file's own length does not warrant.

use std::{collections::HashMap, io::Read, rc::Rc};

use tch::{Device, Kind, Tensor};

use super::{
    PickleError,
    value::{StorageType, TensorRef},
};

/// What copies of small expanded tensors may take in a file that is itself small.
const SMALL_BYTES: u64 = 16 << 20;

/// The storages read so far, and what memory the rest may take.
pub(super) struct Storages {
    /// Bytes that may still be allocated. All storages together are no longer than the file;
    /// transposed tensors take their size once more, and some are stored under two names.
    left: u64,
    limit: u64,
    /// Each as one flat tensor.
    whole: HashMap<Rc<str>, (Kind, Tensor)>,
}

impl Storages {
    pub(super) fn new(file_length: u64) -> Self {
        let limit = file_length.saturating_mul(3).saturating_add(SMALL_BYTES);
        Self { left: limit, limit, whole: HashMap::new() }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.whole.contains_key(key)
    }

    /// Reads a whole storage, which begins where `input` stands.
    pub(super) fn read(
        &mut self,
        key: &Rc<str>,
        storage: StorageType,
        input: &mut impl Read,
    ) -> Result<(), PickleError> {
        let place = format!("storage {key:?}");
        let length = storage.bytes().unwrap_or(u64::MAX);
        self.allow(&place, length)?;
        let mut bytes = Vec::with_capacity(length as usize);
        input
            .take(length)
            .read_to_end(&mut bytes)
            .map_err(|cause| PickleError::damaged(&place, cause.to_string()))?;
        if bytes.len() as u64 != length {
            let cause = format!("{length} bytes, of which {} are there", bytes.len());
            return Err(PickleError::damaged(place, cause));
        }
        if storage.kind == Kind::Bool {
            // Other bytes than 0 and 1 are no values of libtorch's type.
            for byte in &mut bytes {
                *byte = u8::from(*byte != 0);
            }
        }
        let flat = Tensor::f_from_data_size(&bytes, &[storage.elements], storage.kind)?;
        self.whole.insert(key.clone(), (storage.kind, flat));
        Ok(())
    }

    /// The tensor, contiguous: a view of its storage, or a copy where the strides ask for one.
    pub(super) fn tensor(&mut self, name: &str, tensor: &TensorRef) -> Result<Tensor, PickleError> {
        let place = format!("tensor {name:?}");
        let outside = || PickleError::damaged(&place, "reaches outside its storage");
        let Some((kind, flat)) = self.whole.get(&tensor.storage.key) else {
            let cause = format!("storage {:?} is not in the file", tensor.storage.key);
            return Err(PickleError::damaged(place, cause));
        };
        let elements = elements(tensor).ok_or_else(outside)?;
        if elements == 0 {
            return Ok(Tensor::f_zeros(&tensor.size, (*kind, Device::Cpu))?);
        }
        let last = last_element(tensor).ok_or_else(outside)?;
        let start = tensor.storage.start.checked_add(tensor.offset).ok_or_else(outside)?;
        if last >= tensor.storage.length {
            return Err(outside());
        }
        let view = flat.f_as_strided(&tensor.size, &tensor.stride, start)?;
        if is_row_major(tensor) {
            return Ok(view);
        }
        let bytes = StorageType { kind: *kind, elements }.bytes().unwrap_or(u64::MAX);
        self.allow(&place, bytes)?;
        Ok(view.f_contiguous()?)
    }

    fn allow(&mut self, place: &str, bytes: u64) -> Result<(), PickleError> {
        self.left = self.left.checked_sub(bytes).ok_or_else(|| PickleError::TooLarge {
            place: place.to_owned(),
            bytes,
            limit: self.limit,
        })?;
        Ok(())
    }
}

/// The product of the sizes; nothing where a number is negative, missing or too large.
fn elements(tensor: &TensorRef) -> Option<i64> {
    let TensorRef { offset, size, stride, .. } = tensor;
    if *offset < 0 || size.len() != stride.len() || size.iter().chain(stride).any(|&n| n < 0) {
        return None;
    }
    // libtorch multiplies the sizes of empty tensors as if none were zero.
    let product = size.iter().try_fold(1_i64, |product, &n| product.checked_mul(n.max(1)))?;
    Some(if size.contains(&0) { 0 } else { product })
}

/// Where in its storage the last element of a tensor that is not empty lies.
fn last_element(tensor: &TensorRef) -> Option<i64> {
    tensor.size.iter().zip(&tensor.stride).try_fold(tensor.offset, |last, (&size, &stride)| {
        last.checked_add((size - 1).checked_mul(stride)?)
    })
}

/// Whether elements lie as libtorch's contiguous tensors do; the stride of a size of one says nothing.
fn is_row_major(tensor: &TensorRef) -> bool {
    let mut expected = 1;
    tensor.size.iter().zip(&tensor.stride).rev().all(|(&size, &stride)| {
        let fits = size == 1 || stride == expected;
        expected *= size;
        fits
    })
}
