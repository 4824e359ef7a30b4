//! The few calls that a state dict's pickle makes, done here instead of in Python.

use std::{io::Read, rc::Rc};

use super::{
    PickleError,
    machine::Machine,
    value::{Global, StorageRef, StorageType, TensorRef, Value},
};

/// libtorch has no such bound; it keeps a short file from asking for long shapes many times.
const MAX_DIMENSIONS: usize = 64;

impl<R: Read> Machine<'_, R> {
    fn sequence(&self, value: &Value) -> &[Value] {
        match *value {
            Value::Tuple(index) | Value::List(index) => &self.built.sequences[index],
            _ => &[],
        }
    }

    /// Function and arguments from the stack, the result to it.
    pub(super) fn reduce(&mut self) -> Result<(), PickleError> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let result = match (&function, self.sequence(&arguments)) {
            (Value::Global(Global::OrderedDict), []) => {
                self.dict();
                return Ok(());
            }
            (Value::Global(Global::Size), [size @ Value::Tuple(_)]) => size.clone(),
            (Value::Global(Global::RebuildParameter), [tensor @ Value::Tensor(_), ..]) => {
                tensor.clone()
            }
            (
                Value::Global(Global::RebuildTensor),
                [Value::Storage(storage), Value::Int(offset), size, stride, ..],
            ) => {
                let int = |&int: &i128| i64::try_from(int).ok();
                let ints = |value: &Value| {
                    let values = self.sequence(value);
                    let ints = values.iter().take(MAX_DIMENSIONS + 1).map(|value| match value {
                        Value::Int(value) => int(value),
                        _ => None,
                    });
                    ints.collect::<Option<Vec<_>>>().filter(|ints| ints.len() <= MAX_DIMENSIONS)
                };
                let (Some(offset), Some(size), Some(stride)) =
                    (int(offset), ints(size), ints(stride))
                else {
                    return Err(self.damaged("a tensor's shape is no list of integers"));
                };
                Value::Tensor(Rc::new(TensorRef { storage: storage.clone(), offset, size, stride }))
            }
            (Value::Global(function), _) => {
                return Err(self.damaged(format!("{function:?} with arguments it does not have")));
            }
            _ => return Err(self.damaged("a call of what is no function")),
        };
        self.stack.push(result);
        Ok(())
    }

    /// The attribute of a state dict, `_metadata`: versions of modules, which no tensor needs.
    pub(super) fn build(&mut self) -> Result<(), PickleError> {
        self.pop()?;
        match self.top()? {
            Value::Dict(_) => Ok(()),
            _ => Err(self.damaged("attributes for what is no dict")),
        }
    }

    /// `("storage", type, key, location, elements)`, and in legacy files a sixth: none or
    /// `(key of the slice, its start, its length)`.
    pub(super) fn persistent_id(&mut self) -> Result<(), PickleError> {
        let id = self.pop()?;
        let (kind, key, elements, slice) = match self.sequence(&id) {
            [
                Value::Text(tag),
                Value::Global(Global::Storage(kind)),
                Value::Text(key),
                _,
                Value::Int(elements),
                rest @ ..,
            ] if &**tag == "storage" && rest.len() <= 1 => {
                (*kind, key.clone(), i64::try_from(*elements).ok(), rest.first().cloned())
            }
            _ => return Err(self.damaged("a reference to what is no storage")),
        };
        let Some(elements) = elements.filter(|&elements| elements >= 0) else {
            return Err(self.damaged(format!("storage {key:?} has no length")));
        };
        let whole = StorageType { kind, elements };
        if *self.built.storages.entry(key.clone()).or_insert(whole) != whole {
            return Err(self.damaged(format!("storage {key:?} is described in two ways")));
        }
        let (start, length) = match slice {
            None | Some(Value::None) => (0, elements),
            Some(slice) => self
                .slice(&slice, elements)
                .ok_or_else(|| self.damaged(format!("a slice outside storage {key:?}")))?,
        };
        self.stack.push(Value::Storage(Rc::new(StorageRef { key, start, length })));
        Ok(())
    }

    fn slice(&self, slice: &Value, elements: i64) -> Option<(i64, i64)> {
        let [_, Value::Int(start), Value::Int(length)] = self.sequence(slice) else {
            return None;
        };
        let (start, length) = (i64::try_from(*start).ok()?, i64::try_from(*length).ok()?);
        let inside = start >= 0 && length >= 0 && start.checked_add(length)? <= elements;
        inside.then_some((start, length))
    }
}
