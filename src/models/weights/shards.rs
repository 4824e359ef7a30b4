//! Weights in several files, with an index that says which tensor is in which.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::Path,
};

use serde::Deserialize;
use tch::Tensor;

use super::{Layout, read_in};
use crate::models::{
    ModelError,
    folder::{malformed, read_json},
};

/// What the name of an index adds to the name that the weights would have in one file.
pub const INDEX_SUFFIX: &str = ".index.json";

#[derive(Deserialize)]
struct Index {
    /// File name by tensor.
    weight_map: BTreeMap<String, String>,
}

impl Index {
    fn read(path: &Path) -> Result<Self, ModelError> {
        let index: Self = read_json(path)?;
        // An index may come from anywhere; its files come from its own folder.
        let is_plain = |name: &str| !name.is_empty() && !name.contains(['/', '\\']) && name != "..";
        match index.weight_map.values().find(|name| !is_plain(name)) {
            Some(name) => Err(malformed(path, format!("{name:?} is no file name for a shard"))),
            None if index.weight_map.is_empty() => Err(malformed(path, "names no tensors")),
            None => Ok(index),
        }
    }

    fn shards(&self) -> BTreeSet<&str> {
        self.weight_map.values().map(String::as_str).collect()
    }
}

/// The files that an index names, in order.
pub fn shard_names(index: &Path) -> Result<Vec<String>, ModelError> {
    Ok(Index::read(index)?.shards().into_iter().map(str::to_owned).collect())
}

/// All tensors of all shards; every one that the index promises is where it says.
pub(super) fn read(index: &Path, layout: Layout) -> Result<HashMap<String, Tensor>, ModelError> {
    let promised = Index::read(index)?;
    let folder = index.parent().unwrap_or(Path::new(""));
    let shards = promised.shards();
    let missing: Vec<_> =
        shards.iter().filter(|name| !folder.join(name).is_file()).copied().collect();
    if !missing.is_empty() {
        let cause = format!("names shards that are not in its folder: {}", missing.join(", "));
        return Err(malformed(index, format!("{cause}; fetch them from the model's source")));
    }
    let mut tensors = HashMap::new();
    let mut problems = Vec::new();
    for shard in shards {
        let mut found = read_in(&folder.join(shard), layout)?;
        let here = promised.weight_map.iter().filter(|(_, file)| *file == shard);
        for (name, _) in here {
            match found.remove(name) {
                Some(tensor) => drop(tensors.insert(name.clone(), tensor)),
                None => problems.push(format!("{name}: not in {shard}, where the index has it")),
            }
        }
        // What no index mentions is still of the checkpoint, unless another shard has it by promise.
        found.retain(|name, _| !promised.weight_map.contains_key(name));
        tensors.extend(found);
    }
    if problems.is_empty() {
        Ok(tensors)
    } else {
        Err(ModelError::Tensors { path: index.to_owned(), problems })
    }
}
