//! `x W^T + b`: as it is trained, or with its weight laid out once for serving.

use std::sync::Arc;

use tch::{Device, Kind, Tensor};

use super::{Activation, Arithmetic, Builder, Init, ModelError, weights::apart};
use crate::operators::Operators;
use crate::shared::Shared;

/// Numbers of rows are multiples of this.
const FEWEST_ROWS: i64 = 16;

/// `x W^T + b`.
#[derive(Debug, Clone)]
pub(super) struct Linear {
    /// `[output, input]`, in the order that the product wants.
    weight: Shared,
    bias: Shared,
    product: Product,
}

/// Which operator multiplies.
#[derive(Debug, Clone)]
enum Product {
    /// libtorch's own choice; the only one with gradients.
    Plain,
    /// oneDNN's, with a packed weight.
    Packed(Arc<Operators>),
    /// oneDNN's on eight-bit integers. `steps` `[output]`: what one unit of a row of the weight is
    /// worth; `zeros` `[output]`: all zero.
    Quantised { steps: Shared, zeros: Shared, operators: Arc<Operators> },
}

impl Linear {
    /// `[.., input]` to `[.., output]`, named `name.weight` and `name.bias`.
    pub(super) fn new(
        builder: &Builder,
        name: &str,
        input: i64,
        output: i64,
        weight: Init,
        bias: Init,
    ) -> Result<Self, ModelError> {
        Ok(Self {
            weight: builder.get(&format!("{name}.weight"), &[output, input], weight)?.into(),
            bias: builder.get(&format!("{name}.bias"), &[output], bias)?.into(),
            product: Product::Plain,
        })
    }

    /// The same without a bias, named `name.weight`. Zeros are added in its place, so that there is one way to
    /// multiply.
    pub(super) fn without_bias(
        builder: &Builder,
        name: &str,
        input: i64,
        output: i64,
        weight: Init,
    ) -> Result<Self, ModelError> {
        Self::of_weight(builder.get(&format!("{name}.weight"), &[output, input], weight)?)
    }

    /// `x W^T` with a weight `[output, input]` from elsewhere.
    pub(super) fn of_weight(weight: Tensor) -> Result<Self, ModelError> {
        let bias = Tensor::f_zeros([weight.size()[0]], (weight.kind(), weight.device()))?;
        Ok(Self { weight: weight.into(), bias: bias.into(), product: Product::Plain })
    }

    /// Layers over the same input as one, their outputs side by side. Of trained layers.
    fn joined(layers: &[Self]) -> Result<Self, ModelError> {
        let cat = |part: fn(&Self) -> &Tensor| {
            Tensor::f_cat(&layers.iter().map(part).collect::<Vec<_>>(), 0).map(Shared::from)
        };
        let (weight, bias) = (cat(|layer| &layer.weight)?, cat(|layer| &layer.bias)?);
        Ok(Self { weight, bias, product: Product::Plain })
    }

    /// Numbers that come out.
    pub(super) fn outputs(&self) -> i64 {
        self.bias.size()[0]
    }

    /// The same layer elsewhere, in memory of its own. Of a trained layer.
    pub(super) fn to_device(&self, device: Device) -> Result<Self, ModelError> {
        let there = |part: &Tensor| apart(part, device, part.kind()).map(Shared::from);
        let (weight, bias) = (there(&self.weight)?, there(&self.bias)?);
        Ok(Self { weight, bias, product: Product::Plain })
    }

    /// Applies the layer to the last dimension; to two dimensions, once it is
    /// [served](Kernels::linear).
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        match &self.product {
            Product::Plain => Ok(x.f_linear(&self.weight, Some(&self.bias))?),
            Product::Packed(operators) => Ok(operators.linear(x, &self.weight, &self.bias)?),
            Product::Quantised { steps, zeros, operators } => {
                let (x, x_steps) = quantised(x)?;
                let mut y = operators.linear_int8(&x, &self.weight, steps, zeros)?;
                Ok(y.f_mul_(&x_steps)?.f_add_(&self.bias)?)
            }
        }
    }

    /// [`forward`](Self::forward), then `activation`.
    pub(super) fn forward_then(
        &self,
        activation: Activation,
        x: &Tensor,
    ) -> Result<Tensor, ModelError> {
        match (&self.product, activation) {
            (Product::Packed(operators), Activation::Gelu) => {
                Ok(operators.linear_gelu(x, &self.weight, &self.bias)?)
            }
            _ => activation.apply_to(self.forward(x)?),
        }
    }
}

/// Largest whole number of a quantised activation, and of a weight where products are exact.
const LARGEST: i64 = 127;

/// Largest whole number of a weight where two products are added in 16 bits, as processors without VNNI
/// instructions do: `2 · 255 · 64 < 2^15`.
const LARGEST_IN_16_BITS: i64 = 64;

/// Steps of one row, for it to lie between `-n` and `n` of them: `[R, input]` to `[R, 1]`.
fn steps(x: &Tensor, n: i64) -> Result<Tensor, ModelError> {
    // Not of absolute values, which would be written to memory first.
    let (low, high) = (x.f_amin([-1i64].as_slice(), true)?, x.f_amax([-1i64].as_slice(), true)?);
    let largest = high.f_maximum(&low.f_neg()?)?;
    // A row of zeros may have any step but 0.
    Ok(largest.f_div_scalar(n as f64)?.f_clamp_min(f64::from(f32::MIN_POSITIVE))?)
}

/// Each row as whole numbers of a step of its own, so that no row depends on another: `[R, input]`
/// uint8 with 0 at 128, and the `[R, 1]` steps.
fn quantised(x: &Tensor) -> Result<(Tensor, Tensor), ModelError> {
    let steps = steps(x, LARGEST)?;
    let signed = x.f_div(&steps)?.f_round_()?.f_to_kind(Kind::Int8)?;
    // Turning the sign's bit adds 128. libtorch's own ways to uint8 take a value at a time.
    let whole = signed.f_view_dtype(Kind::Uint8)?.f_bitwise_xor_(128)?;
    Ok((whole, steps))
}

/// How a served model's tensors are laid out and multiplied.
#[derive(Debug, Clone)]
pub(super) struct Kernels {
    device: Device,
    arithmetic: Arithmetic,
    /// Present where they compute this arithmetic.
    operators: Option<Arc<Operators>>,
    /// Largest whole number of an eight-bit weight.
    largest_weight: i64,
}

/// [`LARGEST`] if eight-bit products are exact with such weights here, otherwise [`LARGEST_IN_16_BITS`]: too large a
/// sum would silently stop at the end of its type.
fn largest_weight(operators: &Operators) -> Result<i64, ModelError> {
    const SIDE: i64 = 64;
    let full = |value: i64, kind| Tensor::f_full([SIDE, SIDE], value, (kind, Device::Cpu));
    let weight = operators.pack_int8(&full(LARGEST, Kind::Int8)?)?;
    let steps = Tensor::f_ones([SIDE], (Kind::Float, Device::Cpu))?;
    let zeros = Tensor::f_zeros([SIDE], (Kind::Int64, Device::Cpu))?;
    let sums = operators.linear_int8(&full(255, Kind::Uint8)?, &weight, &steps, &zeros)?;
    // 255 stands for 255 - 128.
    let exact = (SIDE * LARGEST * (255 - 128)) as f64;
    let is_exact = sums.f_eq(exact)?.f_all()?.f_int64_value(&[])? == 1;
    Ok(if is_exact { LARGEST } else { LARGEST_IN_16_BITS })
}

impl Kernels {
    /// The fastest that `device` has for `arithmetic`; an error if it has none.
    pub(super) fn new(device: Device, arithmetic: Arithmetic) -> Result<Self, ModelError> {
        let arithmetic = arithmetic.on(device);
        let operators = match device {
            // Without wide vectors MKL's products are the faster ones in float32 (`docs/FORWARD.md`).
            Device::Cpu if arithmetic == Arithmetic::Float32 && !has_wide_vectors() => None,
            Device::Cpu => Operators::load().ok(),
            _ => None,
        };
        // Processors lack some of them; only trying tells.
        let operators = operators.filter(|operators| {
            let size = [16, 16].as_slice();
            let trial = |kind| Tensor::f_ones(size, (kind, Device::Cpu));
            match arithmetic {
                Arithmetic::Int8 => trial(Kind::Int8).and_then(|w| operators.pack_int8(&w)).is_ok(),
                _ => trial(arithmetic.kind()).and_then(|w| operators.pack(&w)).is_ok(),
            }
        });
        let largest_weight = match (arithmetic, &operators) {
            (Arithmetic::Int8, None) => return Err(ModelError::Arithmetic { arithmetic, device }),
            (Arithmetic::Int8, Some(operators)) => largest_weight(operators)?,
            _ => LARGEST,
        };
        let operators = operators.map(Arc::new);
        Ok(Self { device, arithmetic, operators, largest_weight })
    }

    /// What tells these answers from those of the same arithmetic elsewhere, for the fingerprint.
    pub(super) fn name(&self) -> String {
        match self.largest_weight {
            LARGEST => self.arithmetic.to_string(),
            n => format!("{}, weights to {n}", self.arithmetic),
        }
    }

    /// Never [`Arithmetic::Auto`].
    pub(super) const fn arithmetic(&self) -> Arithmetic {
        self.arithmetic
    }

    /// A table, a norm or a bias on the device, in the type of activations and in memory of its own.
    pub(super) fn tensor(&self, tensor: &Tensor) -> Result<Shared, ModelError> {
        Ok(apart(tensor, self.device, self.arithmetic.kind())?.into())
    }

    /// A trained layer, laid out to be served, in memory of its own.
    pub(super) fn linear(&self, trained: &Linear) -> Result<Linear, ModelError> {
        let weight = match &self.operators {
            None => self.tensor(&trained.weight)?,
            // What is packed is copied anyway.
            Some(_) => self.converted(&trained.weight)?.into(),
        };
        self.laid_out(weight, self.tensor(&trained.bias)?)
    }

    /// Trained layers over the same input as one, their outputs side by side, laid out to be served.
    pub(super) fn joined(&self, trained: &[Linear]) -> Result<Linear, ModelError> {
        let Linear { weight, bias, .. } = Linear::joined(trained)?;
        self.laid_out(self.converted(&weight)?.into(), self.converted(&bias)?.into())
    }

    fn converted(&self, tensor: &Tensor) -> Result<Tensor, ModelError> {
        Ok(tensor.f_to_device(self.device)?.f_to_kind(self.arithmetic.kind())?)
    }

    /// Of converted parameters.
    fn laid_out(&self, weight: Shared, bias: Shared) -> Result<Linear, ModelError> {
        let (weight, product) = match &self.operators {
            None => (weight, Product::Plain),
            Some(operators) if self.arithmetic == Arithmetic::Int8 => {
                let steps = steps(&weight, self.largest_weight)?;
                let whole = weight.f_div(&steps)?.f_round_()?.f_to_kind(Kind::Int8)?;
                let steps = steps.f_view([-1])?;
                let zeros = Tensor::f_zeros(steps.size(), (Kind::Int64, self.device))?;
                let operators = Arc::clone(operators);
                let weight = operators.pack_int8(&whole)?;
                (
                    weight.into(),
                    Product::Quantised { steps: steps.into(), zeros: zeros.into(), operators },
                )
            }
            Some(operators) => {
                (operators.pack(&weight)?.into(), Product::Packed(Arc::clone(operators)))
            }
        };
        Ok(Linear { weight, bias, product })
    }

    /// Rows to compute where `rows` are wanted.
    ///
    /// oneDNN compiles kernels for each product and each number of rows and keeps some of them, so that few
    /// numbers should occur: four between a power of two and the next. More than a fourth is never wasted,
    /// and little where a batch is cut to a power of two.
    pub(super) fn rows(&self, rows: i64) -> i64 {
        if self.operators.is_none() || self.arithmetic == Arithmetic::Int8 {
            return rows;
        }
        rounded_up(rows)
    }
}

/// To one of four numbers between a power of two and the next.
fn rounded_up(rows: i64) -> i64 {
    let power = rows.unsigned_abs().next_power_of_two() as i64;
    let step = (power / 8).max(FEWEST_ROWS);
    (rows + step - 1) / step * step
}

/// Whether the processor computes on 512 bits at once.
fn has_wide_vectors() -> bool {
    #[cfg(target_arch = "x86_64")]
    let has = std::arch::is_x86_feature_detected!("avx512f");
    #[cfg(not(target_arch = "x86_64"))]
    let has = false;
    has
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_rounded_up_to_four_numbers_an_octave() {
        let rounded = [1, 16, 17, 65, 129, 257, 449, 512, 513].map(rounded_up);
        assert_eq!(rounded, [16, 16, 32, 80, 160, 320, 512, 512, 640]);
        let kernels = Kernels::new(Device::Cpu, Arithmetic::Int8).unwrap();
        assert_eq!(kernels.rows(17), 17);
    }

    #[test]
    fn a_row_s_largest_value_is_127_steps_from_128_whatever_the_other_rows_hold() {
        let x = Tensor::from_slice2(&[[-1.0f32, 0.0, 0.25, 1.0], [-8.0, 2.0, 0.0, 3.0], [0.0; 4]]);
        let (whole, steps) = quantised(&x).unwrap();
        assert_eq!(whole.kind(), Kind::Uint8);
        // 0.25 is 31.75 steps of 1/127; 2 and 3 are 31.75 and 47.6 of 8/127.
        let whole = Vec::<i64>::try_from(whole.flatten(0, 1)).unwrap();
        assert_eq!(whole, [1, 128, 160, 255, 1, 160, 128, 176, 128, 128, 128, 128]);
        assert_eq!(steps.size(), [3, 1]);
    }

    #[test]
    fn an_arithmetic_that_a_device_lacks_is_refused_by_its_flag() {
        let error = Kernels::new(Device::Cuda(0), Arithmetic::Int8).unwrap_err().to_string();
        assert!(error.starts_with("--dtype int8 cannot run on Cuda(0)"), "{error}");
    }
}
