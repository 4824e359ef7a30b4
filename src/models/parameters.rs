//! Named parameters: where a model's tensors come from (a file or a seed) and where they are found
//! again (by name, in a fixed order).

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, HashMap},
    f64::consts::SQRT_2,
    fmt,
    path::{Path, PathBuf},
};

use statrs::function::erf::erf;
use tch::{Device, Kind, Tensor};
use tracing::debug;

use super::ModelError;
use crate::shared::Shared;

/// What a parameter is before training when the file does not hold it.
#[derive(Debug, Clone, Copy)]
pub enum Init {
    /// It must be in the file.
    Required,
    /// All zero.
    Zeros,
    /// All one.
    Ones,
    /// Normal with mean 0 and this standard deviation.
    Normal(f64),
    /// Normal with mean 0 and this standard deviation, but for values further than `cutoff` of it from 0.
    TruncatedNormal {
        /// Of the whole normal distribution.
        std: f64,
        /// In standard deviations.
        cutoff: f64,
    },
    /// Uniform in `[-bound, bound]`.
    Uniform(f64),
}

/// A model's parameters by name, in alphabetical order: the order of the optimizer and the file.
#[derive(Debug, Clone, Default)]
pub struct Parameters {
    tensors: BTreeMap<String, Shared>,
    /// The names as the model took them while it was built.
    built: Vec<String>,
    /// Those that training leaves as they are.
    fixed: BTreeSet<String>,
    /// Values in tensors that were released.
    released: usize,
}

impl Parameters {
    /// Name and tensor, in order. The tensors share memory with the model's.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), &**tensor))
    }

    /// The names in the order in which the model was built, which is that of `parameters()` in PyTorch: embeddings, the
    /// first layer to the last, the head.
    pub fn as_built(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.built.iter().map(String::as_str)
    }

    /// Number of trained values: those of all tensors, released ones included, but not of
    /// [fixed](Builder::fixed) ones.
    pub fn count(&self) -> usize {
        let trained = self.iter().filter(|(name, _)| !self.fixed.contains(*name));
        self.released + trained.map(|(_, tensor)| tensor.numel()).sum::<usize>()
    }

    /// Lets go of every tensor and keeps their number. A model that is served in another layout would
    /// hold its weights twice otherwise.
    pub(super) fn release(&mut self) {
        *self = Self { released: self.count(), ..Self::default() };
    }

    /// Makes exactly the tensors whose names `wanted` accepts trainable, [fixed](Builder::fixed) ones never.
    pub fn set_trainable(&self, wanted: impl Fn(&str) -> bool) -> Result<(), ModelError> {
        for (name, tensor) in self.iter() {
            let trained = wanted(name) && !self.fixed.contains(name);
            let _same = tensor.f_set_requires_grad(trained)?;
        }
        Ok(())
    }

    /// A copy of every tensor, on the CPU and outside autograd.
    pub fn snapshot(&self) -> Result<Vec<(String, Tensor)>, ModelError> {
        self.iter()
            .map(|(name, tensor)| {
                let copy = tensor.f_detach()?.f_to_device(Device::Cpu)?.f_detach_copy()?;
                Ok((name.to_owned(), copy))
            })
            .collect()
    }

    /// Puts a [`snapshot`](Self::snapshot) back.
    pub fn restore(&self, snapshot: &[(String, Tensor)]) -> Result<(), ModelError> {
        let _no_grad = tch::no_grad_guard();
        for (name, saved) in snapshot {
            if let Some(tensor) = self.tensors.get(name) {
                tensor.shallow_clone().f_copy_(saved)?;
            }
        }
        Ok(())
    }
}

/// Uniform in `[-bound, bound]`.
fn uniform(shape: &[i64], bound: f64, options: (Kind, Device)) -> Result<Tensor, ModelError> {
    Ok(Tensor::f_rand(shape, options)?.f_mul_scalar(2.0 * bound)?.f_sub_scalar(bound)?)
}

/// What a parameter of a name and shape starts as.
type Rule = dyn Fn(&str, &[i64]) -> Init;

/// Hands out parameters by name while a model is built, and gathers every misfit on the way, so that
/// a broken folder is reported whole.
pub struct Builder {
    source: HashMap<String, Tensor>,
    path: PathBuf,
    device: Device,
    left_over: Box<dyn Fn(&str) -> bool>,
    missing: Option<Box<Rule>>,
    built: RefCell<Parameters>,
    problems: RefCell<Vec<String>>,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let mut out = f.debug_struct("Builder");
        out.field("path", &self.path).field("tensors", &self.source.len());
        out.field("built", &self.built).finish_non_exhaustive()
    }
}

impl Builder {
    /// Parameters from the tensors of `path`; those it lacks follow their [`Init`].
    pub fn from_weights(source: HashMap<String, Tensor>, path: &Path, device: Device) -> Self {
        Self {
            source,
            path: path.to_owned(),
            device,
            left_over: Box::new(|_| false),
            missing: None,
            built: RefCell::default(),
            problems: RefCell::default(),
        }
    }

    /// Lets the source hold tensors that no parameter takes, where `left_over` accepts their names. Any
    /// other one says that the file is of another model.
    #[must_use]
    pub fn with_left_over(self, left_over: impl Fn(&str) -> bool + 'static) -> Self {
        Self { left_over: Box::new(left_over), ..self }
    }

    /// Lets the source lack required parameters: these are then what `initial` makes of name and shape.
    #[must_use]
    pub(super) fn with_missing(self, initial: impl Fn(&str, &[i64]) -> Init + 'static) -> Self {
        Self { missing: Some(Box::new(initial)), ..self }
    }

    /// Parameters from libtorch's random state alone.
    pub fn fresh(device: Device) -> Self {
        Self::from_weights(HashMap::new(), Path::new("a fresh model"), device)
    }

    /// The parameter `name`, float32, of exactly `shape`.
    pub fn get(&self, name: &str, shape: &[i64], init: Init) -> Result<Tensor, ModelError> {
        let options = (Kind::Float, self.device);
        let init = match (init, &self.missing) {
            (Init::Required, Some(initial)) => initial(name, shape),
            (init, _) => init,
        };
        let tensor = match (self.source.get(name), init) {
            (Some(found), _) if found.size() == shape => {
                found.f_to_device(self.device)?.f_to_kind(Kind::Float)?.f_contiguous()?
            }
            (Some(found), _) => {
                let found = found.size();
                self.problem(format!("{name}: expected shape {shape:?}, found {found:?}"));
                Tensor::f_zeros(shape, options)?
            }
            (None, Init::Required) => {
                self.problem(format!("{name}: missing, expected shape {shape:?}"));
                Tensor::f_zeros(shape, options)?
            }
            (None, Init::Zeros) => Tensor::f_zeros(shape, options)?,
            (None, Init::Ones) => Tensor::f_ones(shape, options)?,
            (None, Init::Normal(std)) => Tensor::f_randn(shape, options)?.f_mul_scalar(std)?,
            (None, Init::TruncatedNormal { std, cutoff }) => {
                // `erfinv` takes the error function's values between those at the bounds to normal ones between them.
                let bound = erf(cutoff / SQRT_2);
                uniform(shape, bound, options)?.f_erfinv()?.f_mul_scalar(SQRT_2 * std)?
            }
            (None, Init::Uniform(bound)) => uniform(shape, bound, options)?,
        };
        let mut built = self.built.borrow_mut();
        if built.tensors.insert(name.to_owned(), tensor.shallow_clone().into()).is_none() {
            built.built.push(name.to_owned());
        }
        Ok(tensor)
    }

    /// The same of a parameter that is saved and never trained.
    pub fn fixed(&self, name: &str, shape: &[i64], init: Init) -> Result<Tensor, ModelError> {
        self.built.borrow_mut().fixed.insert(name.to_owned());
        self.get(name, shape, init)
    }

    /// A parameter of `shape` that the model took before, sharing its memory: one that is used in two places.
    pub(super) fn taken(&self, name: &str, shape: &[i64]) -> Result<Tensor, ModelError> {
        let taken = self.built.borrow().tensors.get(name).map(|tensor| tensor.shallow_clone());
        taken.map_or_else(|| self.get(name, shape, Init::Required), Ok)
    }

    fn problem(&self, problem: String) {
        self.problems.borrow_mut().push(problem);
    }

    /// The finished parameters, or every tensor that did not fit.
    pub fn finish(self) -> Result<Parameters, ModelError> {
        let built = self.built.into_inner();
        let mut problems = self.problems.into_inner();
        let unused = self.source.keys().filter(|name| !built.tensors.contains_key(*name));
        let (left_over, mut unexpected): (Vec<_>, Vec<_>) =
            unused.partition(|name| (self.left_over)(name));
        debug!(path = %self.path.display(), tensors = ?left_over, "not of this model, left out");
        unexpected.sort_unstable();
        problems.extend(unexpected.into_iter().map(|name| {
            let shape = self.source[name].size();
            format!("{name}: unexpected, found shape {shape:?}")
        }));
        if problems.is_empty() {
            Ok(built)
        } else {
            Err(ModelError::Tensors { path: self.path, problems })
        }
    }
}
