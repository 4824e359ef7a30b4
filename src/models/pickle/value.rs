//! What a checkpoint's pickle can be made of: plain values, storages and tensors that are still only
//! described. Knows no file.

use std::{collections::HashMap, rc::Rc};

use tch::Kind;

/// One value. Containers are indices into [`Pickle`], so that a copy is cheap, an appended element is
/// seen through every copy, and no nesting is too deep to drop.
#[derive(Clone, Debug)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i128),
    Float,
    Text(Rc<str>),
    Tuple(usize),
    List(usize),
    Dict(usize),
    Global(Global),
    Storage(Rc<StorageRef>),
    Tensor(Rc<TensorRef>),
}

/// The functions and classes that are understood; every other name is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Size,
    Storage(Kind),
}

impl Global {
    pub(super) fn find(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            // The first four arguments, which are those used, never changed between the two.
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Self::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Self::RebuildParameter,
            ("torch", "Size") => Self::Size,
            ("torch", "FloatStorage") => Self::Storage(Kind::Float),
            ("torch", "HalfStorage") => Self::Storage(Kind::Half),
            ("torch", "BFloat16Storage") => Self::Storage(Kind::BFloat16),
            ("torch", "DoubleStorage") => Self::Storage(Kind::Double),
            ("torch", "LongStorage") => Self::Storage(Kind::Int64),
            ("torch", "IntStorage") => Self::Storage(Kind::Int),
            ("torch", "ShortStorage") => Self::Storage(Kind::Int16),
            ("torch", "CharStorage") => Self::Storage(Kind::Int8),
            ("torch", "BoolStorage") => Self::Storage(Kind::Bool),
            ("torch", "ByteStorage") | ("torch" | "torch.storage", "UntypedStorage") => {
                Self::Storage(Kind::Uint8)
            }
            _ => return None,
        })
    }
}

/// The elements `start..start + length` of a storage of the file.
#[derive(Clone, Debug)]
pub(super) struct StorageRef {
    pub(super) key: Rc<str>,
    pub(super) start: i64,
    pub(super) length: i64,
}

/// A tensor whose elements are still in the file; sizes, strides and offset count elements.
#[derive(Debug)]
pub(super) struct TensorRef {
    pub(super) storage: Rc<StorageRef>,
    pub(super) offset: i64,
    pub(super) size: Vec<i64>,
    pub(super) stride: Vec<i64>,
}

/// Kind and number of elements of a whole storage of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StorageType {
    pub(super) kind: Kind,
    pub(super) elements: i64,
}

impl StorageType {
    /// Nothing where the number overflows.
    pub(super) fn bytes(self) -> Option<u64> {
        u64::try_from(self.elements).ok()?.checked_mul(self.kind.elt_size_in_bytes() as u64)
    }
}

/// A pickle that was read to its end.
#[derive(Debug)]
pub(super) struct Pickle {
    pub(super) root: Value,
    /// Elements of tuples and lists.
    pub(super) sequences: Vec<Vec<Value>>,
    pub(super) dicts: Vec<Vec<(Value, Value)>>,
    /// All storages that are mentioned, by key.
    pub(super) storages: HashMap<Rc<str>, StorageType>,
}
