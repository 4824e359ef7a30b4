//! Checkpoints of torch before 1.6: five pickles in a row, then the storages.

use std::{
    collections::HashSet,
    io::{self, Read},
};

use tch::Tensor;

use super::{
    PickleError,
    machine::read_pickle,
    state_dict,
    storages::Storages,
    value::{Pickle, StorageType, Value},
};

/// `MAGIC_NUMBER` of torch/serialization.py.
const MAGIC: i128 = 0x1950_a86a_20f9_469c_fc6c;
/// `PROTOCOL_VERSION` there, the only one there ever was.
const PROTOCOL: i128 = 1001;

/// All tensors of the stream, which takes `length` bytes.
pub(super) fn read(mut file: impl Read, length: u64) -> Result<Vec<(String, Tensor)>, PickleError> {
    header(&mut file)?;
    let pickle = read_pickle(&mut file, "state dict")?;
    let described = state_dict::tensors(&pickle)?;
    let used = described.iter().map(|(_, tensor)| &*tensor.storage.key).collect::<HashSet<_>>();

    let mut storages = Storages::new(length);
    for key in keys(&read_pickle(&mut file, "list of storages")?)? {
        let Some((key, &storage)) = pickle.storages.get_key_value(key) else {
            let cause = format!("storage {key:?} is of no tensor");
            return Err(PickleError::damaged("list of storages", cause));
        };
        if storages.has(key) {
            let cause = format!("storage {key:?} is there twice");
            return Err(PickleError::damaged("list of storages", cause));
        }
        check_elements(&mut file, key, storage)?;
        if used.contains(&**key) {
            storages.read(key, storage, &mut file)?;
        } else {
            skip(&mut file, key, storage)?;
        }
    }
    described
        .iter()
        .map(|(name, tensor)| Ok((name.to_string(), storages.tensor(name, tensor)?)))
        .collect()
}

fn header(file: &mut impl Read) -> Result<(), PickleError> {
    for (place, expected) in [("magic number", MAGIC), ("protocol version", PROTOCOL)] {
        match read_pickle(file, place)?.root {
            Value::Int(found) if found == expected => {}
            _ => return Err(PickleError::damaged(place, "is not that of a PyTorch checkpoint")),
        }
    }
    let system = read_pickle(file, "system info")?;
    let Value::Dict(entries) = system.root else {
        return Err(PickleError::damaged("system info", "is no dict"));
    };
    let big = system.dicts[entries].iter().any(|(key, value)| {
        matches!((key, value), (Value::Text(key), Value::Bool(false)) if &**key == "little_endian")
    });
    if big { Err(PickleError::BigEndian) } else { Ok(()) }
}

fn keys(list: &Pickle) -> Result<impl Iterator<Item = &str>, PickleError> {
    let Value::List(index) = list.root else {
        return Err(PickleError::damaged("list of storages", "is no list"));
    };
    let keys = list.sequences[index].iter().map(|key| match key {
        Value::Text(key) => Ok(&**key),
        _ => Err(PickleError::damaged("list of storages", "has a key that is no text")),
    });
    Ok(keys.collect::<Result<Vec<_>, _>>()?.into_iter())
}

/// Each storage says once more how many elements it has.
fn check_elements(
    file: &mut impl Read,
    key: &str,
    storage: StorageType,
) -> Result<(), PickleError> {
    let mut elements = [0; 8];
    let damaged = |cause: String| PickleError::damaged(format!("storage {key:?}"), cause);
    file.read_exact(&mut elements).map_err(|cause| damaged(cause.to_string()))?;
    let elements = i64::from_le_bytes(elements);
    if elements != storage.elements {
        return Err(damaged(format!("{elements} elements, not {}", storage.elements)));
    }
    Ok(())
}

fn skip(file: &mut impl Read, key: &str, storage: StorageType) -> Result<(), PickleError> {
    let length = storage.bytes().unwrap_or(u64::MAX);
    if io::copy(&mut file.take(length), &mut io::sink())? != length {
        return Err(PickleError::damaged(format!("storage {key:?}"), "ends too early"));
    }
    Ok(())
}
