//! Dropout, and the random numbers it draws.

use std::cell::RefCell;

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Tensor};

use super::ModelError;

thread_local! {
    /// What the calling thread draws from, if not from libtorch's random state.
    static OWN: RefCell<Option<ChaCha8Rng>> = const { RefCell::new(None) };
}

/// Srivastava et al. 2014 (JMLR 15): each value is 0 with `probability`, to the nearest 2^-16, the others scaled up for
/// the mean to stay. Nothing at probability 0.
///
/// libtorch's own draws a number for each value on one thread, which took 5 % of a training step; this draws 16
/// bits for each.
pub(super) fn dropout(x: Tensor, probability: f64) -> Result<Tensor, ModelError> {
    const STEPS: f64 = 65536.0;
    if probability <= 0.0 {
        return Ok(x);
    }
    if x.device() != Device::Cpu {
        return Ok(x.f_dropout(probability, true)?);
    }
    let dropped = (probability * STEPS).round().min(STEPS - 1.0);
    let bits = bits(x.numel())?;
    let mut kept = bits.f_ge(dropped - STEPS / 2.0)?.f_to_kind(x.kind())?;
    let scaled = kept.f_mul_scalar_(STEPS / (STEPS - dropped))?.f_view(x.size().as_slice())?;
    Ok(x.f_mul(&scaled)?)
}

/// Does a job whose dropout on a CPU draws from `random`: threads beside each other would draw from libtorch's state in an
/// order that nobody knows.
pub(crate) fn with_random<T>(random: ChaCha8Rng, job: impl FnOnce() -> T) -> T {
    OWN.set(Some(random));
    let done = job();
    OWN.set(None);
    done
}

/// `[n]` int16, each value as likely as any other.
fn bits(n: usize) -> Result<Tensor, ModelError> {
    OWN.with_borrow_mut(|own| match own {
        Some(random) => {
            let mut bytes = vec![0; n * size_of::<i16>()];
            random.fill_bytes(&mut bytes);
            Ok(Tensor::f_from_data_size(&bytes, &[n as i64], Kind::Int16)?)
        }
        None => Ok(Tensor::f_empty([n.div_ceil(4) as i64], (Kind::Int64, Device::Cpu))?
            .f_random_from_(i64::MIN, None::<i64>)?
            .f_view_dtype(Kind::Int16)?
            .f_narrow(0, 0, n as i64)?),
    })
}
