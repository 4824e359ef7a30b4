//! From a pickle's values to the tensors of its state dict, still only described.

use std::{collections::HashMap, rc::Rc};

use super::{
    PickleError,
    value::{Pickle, TensorRef, Value},
};

/// One entry of a state dict.
type Described = (Rc<str>, Rc<TensorRef>);

/// Names and tensors in the order of their first mention; of two with one name the later counts, as
/// in Python.
pub(super) fn tensors(pickle: &Pickle) -> Result<Vec<Described>, PickleError> {
    let Value::Dict(root) = pickle.root else {
        return Err(PickleError::NotAStateDict { found: found(&pickle.root) });
    };
    let nested = pickle.dicts[root].iter().rev().find_map(|(key, value)| match (key, value) {
        (Value::Text(key), Value::Dict(dict)) if &**key == "state_dict" => Some(*dict),
        _ => None,
    });
    let mut tensors = Vec::<Described>::new();
    let mut places = HashMap::new();
    for (key, value) in &pickle.dicts[nested.unwrap_or(root)] {
        let (Value::Text(name), Value::Tensor(tensor)) = (key, value) else { continue };
        let place = *places.entry(name.clone()).or_insert(tensors.len());
        match tensors.get_mut(place) {
            Some((_, earlier)) => *earlier = tensor.clone(),
            None => tensors.push((name.clone(), tensor.clone())),
        }
    }
    Ok(tensors)
}

fn found(value: &Value) -> &'static str {
    match value {
        Value::None => "none",
        Value::Bool(_) | Value::Int(_) | Value::Float => "a number",
        Value::Text(_) => "a text",
        Value::Tuple(_) | Value::List(_) => "a list",
        Value::Dict(_) => "a dict",
        Value::Global(_) => "a type",
        Value::Storage(_) => "a bare storage",
        Value::Tensor(_) => "a single tensor",
    }
}
