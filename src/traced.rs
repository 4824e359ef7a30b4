//! A value that gradients flow through, where a part of the way is one that libtorch has no record of.

use std::fmt;

use tch::{TchError, Tensor};

/// From the loss's gradient in a detour's output to a scalar whose gradients in all that the output was computed from are the
/// loss's own.
type Backward = Box<dyn FnOnce(&Tensor) -> Result<Tensor, TchError>>;

/// A value with all that its gradients need: libtorch's record of the operations that made it, and at most one detour.
#[derive(Debug)]
pub struct Traced {
    /// What was computed.
    pub value: Tensor,
    pub(crate) detour: Option<Detour>,
}

/// Part of a forward pass with a backward pass of its own.
pub(crate) struct Detour {
    /// What came out of it; libtorch's record begins anew here.
    pub(crate) output: Tensor,
    pub(crate) backward: Backward,
}

impl Traced {
    pub(crate) const fn new(value: Tensor, detour: Detour) -> Self {
        Self { value, detour: Some(detour) }
    }

    /// Goes on computing with the value.
    pub fn map<E>(self, go_on: impl FnOnce(&Tensor) -> Result<Tensor, E>) -> Result<Self, E> {
        Ok(Self { value: go_on(&self.value)?, detour: self.detour })
    }
}

impl From<Tensor> for Traced {
    /// A value whose way libtorch has recorded.
    fn from(value: Tensor) -> Self {
        Self { value, detour: None }
    }
}

impl From<&Tensor> for Traced {
    fn from(value: &Tensor) -> Self {
        value.shallow_clone().into()
    }
}

impl fmt::Debug for Detour {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Detour").field("output", &self.output).finish_non_exhaustive()
    }
}
