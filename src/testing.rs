//! Where unit tests compute: `LECTERN_DEVICE`, as for the programs, so that the same tests check a GPU.

use std::env;

use tch::{Device, Tensor, kind::Element};

use crate::commands::{DEVICE_VARIABLE, parse_device};

/// The CPU where nothing else is wanted.
pub(crate) fn device() -> Device {
    env::var(DEVICE_VARIABLE).map_or(Device::Cpu, |name| {
        parse_device(&name).unwrap_or_else(|cause| panic!("{DEVICE_VARIABLE}={name}: {cause}"))
    })
}

/// `[N]` values there.
pub(crate) fn tensor_of<T: Element>(values: &[T]) -> Tensor {
    Tensor::from_slice(values).to_device(device())
}
