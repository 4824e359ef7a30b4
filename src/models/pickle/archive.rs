//! Checkpoints of torch 1.6 and later: a zip archive with a pickle and one stored entry per storage.

use std::{
    borrow::Cow,
    io::{Read, Seek},
};

use tch::Tensor;
use zip::{CompressionMethod, ZipArchive, read::ZipFile};

use super::{MAX_PICKLE_BYTES, PickleError, machine::read_pickle, state_dict, storages::Storages};

/// All tensors of the archive, which takes `length` bytes.
pub(super) fn read(
    file: impl Read + Seek,
    length: u64,
) -> Result<Vec<(String, Tensor)>, PickleError> {
    let damaged = |source| PickleError::Archive { place: "zip archive".to_owned(), source };
    let mut archive = ZipArchive::new(file).map_err(damaged)?;
    // Everything lies in one folder, which is named after the file or `archive`.
    let is_pickle = |name: &str| name.strip_suffix("/data.pkl").is_some_and(|f| !f.contains('/'));
    let names = archive.file_names().filter_map(Result::ok);
    let Some(pickle_name) = names.map(Cow::into_owned).find(|name| is_pickle(name)) else {
        return Err(PickleError::damaged("zip archive", "has no data.pkl"));
    };
    let folder = pickle_name.trim_end_matches("data.pkl").to_owned();

    let order_name = format!("{folder}byteorder");
    if archive.index_for_name(&order_name).is_some() {
        let order = small_entry(&mut archive, &order_name)?;
        if order != b"little" {
            return Err(PickleError::BigEndian);
        }
    }
    let pickle = small_entry(&mut archive, &pickle_name)?;
    let pickle = read_pickle(&mut pickle.as_slice(), "data.pkl")?;
    let described = state_dict::tensors(&pickle)?;

    let mut storages = Storages::new(length);
    let mut tensors = Vec::with_capacity(described.len());
    for (name, tensor) in described {
        let key = &tensor.storage.key;
        if let Some(&storage) = pickle.storages.get(key).filter(|_| !storages.has(key)) {
            let place = format!("{folder}data/{key}");
            let mut entry = entry(&mut archive, &place)?;
            if storage.bytes() != Some(entry.size()) {
                let cause = format!("{} elements in {} bytes", storage.elements, entry.size());
                return Err(PickleError::damaged(place, cause));
            }
            storages.read(key, storage, &mut entry)?;
            // The checksum is compared by whoever reads on at the entry's end.
            let end = entry.read(&mut [0]);
            end.map_err(|cause| PickleError::damaged(place, cause.to_string()))?;
        }
        tensors.push((name.to_string(), storages.tensor(&name, &tensor)?));
    }
    Ok(tensors)
}

/// PyTorch packs nothing, so an entry's size is what the file really holds.
fn entry<'a, F: Read + Seek>(
    archive: &'a mut ZipArchive<F>,
    name: &str,
) -> Result<ZipFile<'a, F>, PickleError> {
    let damaged = |source| PickleError::Archive { place: name.to_owned(), source };
    let entry = archive.by_name(name).map_err(damaged)?;
    if entry.compression() != CompressionMethod::Stored || entry.size() != entry.compressed_size() {
        return Err(PickleError::damaged(name, "is compressed, which PyTorch never does"));
    }
    Ok(entry)
}

/// A whole entry, checksum compared.
fn small_entry(
    archive: &mut ZipArchive<impl Read + Seek>,
    name: &str,
) -> Result<Vec<u8>, PickleError> {
    let entry = entry(archive, name)?;
    if entry.size() > MAX_PICKLE_BYTES {
        let (place, bytes) = (name.to_owned(), entry.size());
        return Err(PickleError::TooLarge { place, bytes, limit: MAX_PICKLE_BYTES });
    }
    let mut content = Vec::new();
    // One more than any entry here has, so that its end is seen and the checksum compared.
    entry
        .take(MAX_PICKLE_BYTES + 1)
        .read_to_end(&mut content)
        .map_err(|cause| PickleError::damaged(name, cause.to_string()))?;
    Ok(content)
}
