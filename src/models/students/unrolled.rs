//! A bidirectional LSTM layer for training on a CPU, with a backward pass of its own.
//!
//! libtorch's LSTM multiplies every token of a batch, padding included, with the input weights. Here
//! each distinct token is multiplied once, in the forward pass and, with its gradients summed up, in the
//! backward pass: of a batch of headlines, less than half of the tokens are distinct. Padding costs nothing,
//! nor does the backward pass of tokens that come after the last one whose state was used. A direction
//! has a thread of its own, which need not meet others in every step.
//!
//! The layer is that of Hochreiter and Schmidhuber 1997 with a forget gate, as PyTorch's `nn.LSTM` states it,
//! its gates in the order `i, f, g, o`; the gradients are back-propagation through time (Werbos 1990).
//!
//! `N` tokens without padding in the order of `packing.rs`, `U` distinct ones, `D` numbers of a word, `H` units a
//! direction.

use std::sync::{Arc, OnceLock};

use tch::{Device, Kind, TchError, Tensor};

use super::{embedding::Bags, packing::Packing, recurrent::Weights};
use crate::threads::Pair;
use crate::traced::Detour;

/// The threads that train a layer.
#[derive(Debug)]
pub(super) struct Unrolled {
    /// For both directions, as many as the thread that made the model had.
    threads: i32,
    /// One for each direction.
    pair: OnceLock<Arc<Pair>>,
}

/// Words of a batch and where they stand.
#[derive(Debug)]
pub(super) struct Words {
    /// `[U, D]`, that gradients flow through.
    pub(super) x: Tensor,
    /// Of each example, the row of `x` of each of its tokens.
    pub(super) rows: Vec<Vec<i64>>,
}

impl Unrolled {
    pub(super) fn new() -> Self {
        Self { threads: tch::get_num_threads(), pair: OnceLock::new() }
    }

    /// Whether it computes on threads of its own.
    pub(super) const fn has_threads(&self) -> bool {
        self.threads > 1
    }

    /// The threads themselves, hired when first needed.
    pub(super) fn pair(&self) -> &Arc<Pair> {
        self.pair.get_or_init(|| Arc::new(Pair::hire(self.threads)))
    }

    /// All states, `[T, B, 2H]`, both directions in the order of the text, 0 in the place of padding.
    pub(super) fn states(
        &self,
        words: &Words,
        width: i64,
        layer: &[Weights; 2],
    ) -> Result<(Tensor, Detour), TchError> {
        let (examples, hidden) = (words.rows.len() as i64, layer[0][1].size()[1]);
        let options = (Kind::Float, Device::Cpu);
        let states = Tensor::f_zeros([width * examples, 2 * hidden], options)?;
        let direction = |reversed: bool| {
            let weights = layer[usize::from(reversed)].each_ref().map(Tensor::shallow_clone);
            let x = words.x.shallow_clone();
            let packing = Packing::new(&words.rows, reversed);
            let half = states.f_narrow(1, i64::from(reversed) * hidden, hidden)?;
            Ok::<_, TchError>((Direction { x, weights, packing }, half))
        };
        let both = [direction(false)?, direction(true)?];
        let [forward, backward] = self.pair().both(both, |(direction, mut half)| {
            let passed = direction.forward()?;
            let places = Tensor::f_from_slice(&passed.direction.packing.places)?;
            let _half = half.f_index_copy_(0, &places, &passed.states)?;
            Ok::<_, TchError>(passed)
        })?;
        let output = states.f_view([width, examples, 2 * hidden])?.f_set_requires_grad(true)?;
        let pair = Arc::clone(self.pair());
        let backward = move |gradient: &Tensor| {
            let gradient = gradient.f_reshape([width * examples, 2 * hidden])?;
            let half = |half: i64| gradient.f_narrow(1, half * hidden, hidden);
            let both = [(forward, half(0)?), (backward, half(1)?)];
            let [forward, backward] = pair.both(both, |(mut direction, gradient)| {
                let gradients = direction.backward(&gradient)?;
                tch::with_grad(|| direction.surrogate(&gradients))
            })?;
            forward.f_add(&backward)
        };
        Ok((output.shallow_clone(), Detour { output, backward: Box::new(backward) }))
    }
}

/// What one direction starts from.
#[derive(Debug)]
struct Direction {
    x: Tensor,
    weights: Weights,
    packing: Packing,
}

/// What is kept of a forward pass, `[N, ..]`.
#[derive(Debug)]
struct Passed {
    direction: Direction,
    /// `[N, 4H]`, after their sigmoids and tanh.
    gates: Tensor,
    /// `c`.
    cells: Tensor,
    /// `tanh(c)`.
    squashed: Tensor,
    /// `h`.
    states: Tensor,
}

/// Of the loss in what a direction was computed from; both biases have the same.
#[derive(Debug)]
struct Gradients {
    x: Option<Tensor>,
    input: Tensor,
    own: Tensor,
    bias: Tensor,
}

/// The gates `i, f, g, o` of some rows, each `[.., H]`.
fn gates(all: &Tensor) -> Result<[Tensor; 4], TchError> {
    let hidden = all.size()[1] / 4;
    let gate = |k: i64| all.f_narrow(1, k * hidden, hidden);
    Ok([gate(0)?, gate(1)?, gate(2)?, gate(3)?])
}

/// `tanh(x) = 2 σ(2x) - 1` from the sigmoid, in place: libtorch computes a sigmoid three times as fast as a tanh.
fn tanh_from_sigmoid(sigmoid: &mut Tensor) -> Result<Tensor, TchError> {
    sigmoid.f_mul_scalar_(2.0)?.f_sub_scalar_(1.0)
}

/// Gates `i` and `f`, `[.., 2H]`.
fn first_two(all: &Tensor) -> Result<Tensor, TchError> {
    all.f_narrow(1, 0, all.size()[1] / 2)
}

impl Direction {
    fn forward(self) -> Result<Passed, TchError> {
        let [input, own, input_bias, own_bias] = &self.weights;
        let bias = input_bias.f_add(own_bias)?;
        let words = bias.f_addmm(&self.x, &input.f_transpose(0, 1)?)?;
        let all = words.f_index_select(0, &Tensor::f_from_slice(&self.packing.rows)?)?;
        let own = own.f_transpose(0, 1)?;
        let empty = || Tensor::f_empty([all.size()[0], own.size()[0]], (Kind::Float, Device::Cpu));
        let (cells, squashed, states) = (empty()?, empty()?, empty()?);
        for &step in &self.packing.steps {
            let mut sums = step.of(&all)?;
            if let Some(last) = step.before(&states)? {
                let _sum = sums.f_addmm_(&last, &own)?;
            }
            let [i, f, mut g, o] = gates(&sums)?;
            let _doubled = g.f_mul_scalar_(2.0)?;
            let _sigmoids = sums.f_sigmoid_()?;
            let _tanh = tanh_from_sigmoid(&mut g)?;
            let (mut cell, squashed) = (step.of(&cells)?, step.of(&squashed)?);
            let _cell = match step.before(&cells)? {
                None => i.f_mul_out(&cell, &g)?,
                Some(before) => {
                    let _kept = f.f_mul_out(&cell, &before)?;
                    cell.f_addcmul_(&i, &g)?
                }
            };
            let mut squashed = cell.f_mul_scalar_out(&squashed, 2.0)?.f_sigmoid_()?;
            let _h = tanh_from_sigmoid(&mut squashed)?.f_mul_out(&step.of(&states)?, &o)?;
        }
        Ok(Passed { direction: self, gates: all, cells, squashed, states })
    }
}

impl Passed {
    /// From the loss's gradient in the states, `[T · B, H]`.
    fn backward(&mut self, gradient: &Tensor) -> Result<Gradients, TchError> {
        let largest = Vec::<f32>::try_from(gradient.f_abs()?.f_amax([1i64].as_slice(), false)?)?;
        let matters = |place: i64| largest[place as usize] != 0.0;
        let reached = std::mem::take(&mut self.direction.packing).reached(matters);
        let packing = &reached.packing;
        let Direction { x, weights: [input, own, ..], .. } = &self.direction;
        let hidden = own.size()[1];

        let of_states = gradient.f_index_select(0, &Tensor::f_from_slice(&packing.places)?)?;
        let options = (Kind::Float, Device::Cpu);
        let of_gates = Tensor::f_empty([of_states.size()[0], 4 * hidden], options)?;
        let most = packing.steps.first().map_or(0, |step| step.count);
        let of_cell = Tensor::f_zeros([most, hidden], options)?;
        for &step in packing.steps.iter().rev() {
            let (all, squashed) =
                (reached.of(&self.gates, step)?, reached.of(&self.squashed, step)?);
            let (dz, dh) = (step.of(&of_gates)?, step.of(&of_states)?);
            let ([i, f, g, o], [di, mut df, dg, d_o]) = (gates(&all)?, gates(&dz)?);
            let mut dc = of_cell.f_narrow(0, 0, step.count)?;

            let through_cell = dh.f_mul(&o)?;
            let _slope =
                Tensor::f_tanh_backward_grad_input(&through_cell, &through_cell, &squashed)?;
            let _dc = dc.f_add_(&through_cell)?;
            let _output = dh.f_mul_out(&d_o, &squashed)?;
            let _input = dc.f_mul_out(&di, &g)?;
            let _cell = dc.f_mul_out(&dg, &i)?;
            let _forget = match reached.before(&self.cells, step)? {
                None => df.f_zero_()?,
                Some(before) => dc.f_mul_out(&df, &before)?,
            };
            let (two, d_two) = (first_two(&all)?, first_two(&dz)?);
            let _slopes = Tensor::f_sigmoid_backward_grad_input(&d_two, &d_two, &two)?;
            let _slopes = Tensor::f_tanh_backward_grad_input(&dg, &dg, &g)?;
            let _slopes = Tensor::f_sigmoid_backward_grad_input(&d_o, &d_o, &o)?;
            if let Some(mut before) = step.before(&of_states)? {
                let _dc = dc.f_mul_(&f)?;
                let _dh = before.f_addmm_(&dz, own)?;
            }
        }

        let [distinct, order, starts] = packing.occurrences();
        let distinct = Tensor::f_from_slice(&distinct)?;
        let occurrences =
            Bags { rows: Tensor::f_from_slice(&order)?, starts: Tensor::f_from_slice(&starts)? };
        let of_words = occurrences.sums(&of_gates)?;
        let words = x.f_index_select(0, &distinct)?;
        let of_x = if x.requires_grad() {
            let zeros = Tensor::f_zeros(x.size(), options)?;
            Some(zeros.f_index_copy(0, &distinct, &of_words.f_mm(input)?)?)
        } else {
            None
        };
        let previous = Tensor::f_from_slice(&reached.previous())?;
        let later = of_gates.f_narrow(0, most, of_gates.size()[0] - most)?;
        Ok(Gradients {
            x: of_x,
            input: of_words.f_transpose(0, 1)?.f_mm(&words)?,
            own: later.f_transpose(0, 1)?.f_mm(&self.states.f_index_select(0, &previous)?)?,
            bias: of_words.f_sum_dim_intlist([0i64].as_slice(), false, Kind::Float)?,
        })
    }

    /// A scalar that has these gradients.
    fn surrogate(&self, gradients: &Gradients) -> Result<Tensor, TchError> {
        let product =
            |of: &Tensor, gradient: &Tensor| of.f_reshape([-1])?.f_dot(&gradient.f_reshape([-1])?);
        let Direction { x, weights: [input, own, input_bias, own_bias], .. } = &self.direction;
        let mut sum = product(input, &gradients.input)?
            .f_add(&product(own, &gradients.own)?)?
            .f_add(&product(input_bias, &gradients.bias)?)?
            .f_add(&product(own_bias, &gradients.bias)?)?;
        if let Some(gradient) = &gradients.x {
            sum = sum.f_add(&product(x, gradient)?)?;
        }
        Ok(sum)
    }
}
