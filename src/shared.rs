//! Tensors that several threads compute with.

use std::{borrow::Borrow, ops::Deref};

use tch::Tensor;

/// A tensor whose clones have the same memory and are the same variable to libtorch. So a clone of a model takes no memory, and
/// computes on another thread, which cannot be lent a `Tensor`.
#[derive(Debug)]
pub(crate) struct Shared(Tensor);

impl Clone for Shared {
    fn clone(&self) -> Self {
        Self(self.0.shallow_clone())
    }
}

impl From<Tensor> for Shared {
    fn from(tensor: Tensor) -> Self {
        Self(tensor)
    }
}

impl Deref for Shared {
    type Target = Tensor;

    fn deref(&self) -> &Tensor {
        &self.0
    }
}

impl Borrow<Tensor> for &Shared {
    fn borrow(&self) -> &Tensor {
        &self.0
    }
}
