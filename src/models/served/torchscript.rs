//! Any other teacher as a TorchScript module (`torch.jit.trace` or `torch.jit.script`, then `save`).
//!
//! What is expected of it: `forward(input_ids, attention_mask)` or `forward(input_ids, attention_mask,
//! token_type_ids)`, all int64 `[B, T]`, ids padded with the tokenizer's padding token and the mask 1 at
//! tokens and 0 at padding, for any `B` and any `T` up to the maximum length. It returns logits `[B, C]`
//! of a floating type, or a tuple that begins with them. That it keeps to this is tried when it is loaded.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::json;
use tch::{CModule, Device, IValue, Kind, TchError, Tensor};

use super::{Reader, ServedModel, called, only};
use crate::{
    data::{LabelSet, Task},
    models::{
        Arithmetic, Classifier, ModelError, TokenBatch, fingerprint::Parts,
        teacher_config::stated_max_length,
    },
    text::{TextError, Tokenizer, Tokens, padding_id},
    wire::Fingerprint,
};

/// Changes when the same module would be given other tensors.
const PREPROCESSING_VERSION: &str = "lectern torchscript 1";

/// How far padding may move a logit, in units of the logit where that is larger than 1. Other shapes are
/// summed in another order; a module that reads its padding is off by far more.
const PADDING_TOLERANCE: f32 = 1e-3;

/// A module with the files that it needs beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TorchScriptFiles {
    /// What `torch.jit.save` wrote.
    pub module: PathBuf,
    /// Folder of its tokenizer.
    pub tokenizer: PathBuf,
    /// Label names in the order of the logits.
    pub labels: PathBuf,
    /// Longest input in tokens; `None` takes the tokenizer's.
    pub max_length: Option<usize>,
}

/// A loaded and tried module.
#[derive(Debug)]
pub struct TorchScript {
    module: CModule,
    path: PathBuf,
    hash: blake3::Hash,
    takes_type_ids: bool,
    padding: i64,
    labels: LabelSet,
    tokenizer: Tokenizer,
    max_length: usize,
    parameters: usize,
    device: Device,
    arithmetic: Arithmetic,
}

impl TorchScript {
    /// Reads the files and tries the module; an error names the argument that is to blame.
    pub fn load(
        files: &TorchScriptFiles,
        device: Device,
        arithmetic: Arithmetic,
    ) -> Result<Self, ModelError> {
        let TorchScriptFiles { module: path, tokenizer: folder, labels: names, max_length } = files;
        let labels = LabelSet::from_file(names, Task::SingleLabel)
            .map_err(|cause| argument("--labels", names, without_path(&cause, names)))?;
        let max_length = max_length.or_else(|| stated_max_length(folder)).ok_or_else(|| {
            let cause = "its tokenizer_config.json states no `model_max_length`; give --max-length";
            argument("--tokenizer", folder, cause)
        })?;
        let of_tokenizer = |cause| argument("--tokenizer", folder, without_path(&cause, folder));
        let tokenizer = Tokenizer::from_folder(folder, max_length).map_err(of_tokenizer)?;
        let padding = padding_id(folder, &tokenizer).map_err(of_tokenizer)?;

        let hash = hash(path)?;
        let broken = |cause| {
            let cause =
                format!("not a TorchScript module ({}); save it with torch.jit.save", said(&cause));
            argument(FLAG, path, cause)
        };
        let mut module = CModule::load_on_device(path, device).map_err(broken)?;
        module.f_set_eval().map_err(broken)?;
        let parameters = module.named_parameters().map_err(broken)?;
        let kind = parameters.first().map_or(Ok(Kind::Float), |(_, first)| first.f_kind())?;
        let found = match kind {
            Kind::BFloat16 => Arithmetic::BFloat16,
            Kind::Half => Arithmetic::Float16,
            _ => Arithmetic::Float32,
        };
        let mut loaded = Self {
            module,
            path: path.clone(),
            hash,
            takes_type_ids: true,
            padding,
            labels,
            tokenizer,
            max_length,
            parameters: parameters.iter().map(|(_, tensor)| tensor.numel()).sum(),
            device,
            arithmetic: only(path, found, arithmetic)?,
        };
        loaded.dry_run(names)?;
        Ok(loaded)
    }

    /// Finds out what `forward` takes, and whether its answers are logits of these labels for batches of
    /// unequal lengths, the longest input and every id of the tokenizer.
    fn dry_run(&mut self, names: &Path) -> Result<(), ModelError> {
        let _no_grad = tch::no_grad_guard();
        let wrong = |cause: String| argument(FLAG, &self.path, cause);
        let short = self.encode("a", None)?;
        let long = self.encode("a b c d e f g h i j k l m n o p", None)?;
        let both = TokenBatch::new(&[&short, &long], self.device)?;

        let with_types = self.run(&both, true);
        let takes_type_ids = with_types.is_ok();
        let outcome = with_types.or_else(|three| {
            self.run(&both, false).map_err(|two| {
                let elsewhere = if self.device.is_cuda() {
                    "; tensors that a traced module makes lie where it was traced: trace it on a GPU, or serve it with \
                     --device cpu"
                } else {
                    ""
                };
                wrong(format!(
                    "forward takes neither (input_ids, attention_mask, token_type_ids): {three}; nor \
                     (input_ids, attention_mask): {two}{elsewhere}"
                ))
            })
        })?;
        let (shape, kind) = (outcome.size(), outcome.f_kind()?);
        match *shape {
            [2, classes] if classes == self.labels.len() as i64 => {}
            [2, classes] => {
                let cause = format!(
                    "holds {} labels, but {} gives {classes} logits",
                    self.labels.len(),
                    self.path.display()
                );
                return Err(argument("--labels", names, cause));
            }
            _ => {
                let cause = format!("forward gave a tensor {shape:?} for 2 texts, expected [2, C]");
                return Err(wrong(cause));
            }
        }
        if !matches!(kind, Kind::Float | Kind::Double | Kind::Half | Kind::BFloat16) {
            return Err(wrong(format!("forward gave {kind:?} values, expected logits")));
        }
        self.takes_type_ids = takes_type_ids;

        let wrong = |cause: String| argument(FLAG, &self.path, cause);
        let try_out = |examples: &[&Tokens], what: &str| {
            self.predict(examples).map_err(|cause| wrong(format!("forward fails {what}: {cause}")))
        };
        let rows = try_out(&[&short, &long], "for two texts")?;
        if let Some(value) = rows.iter().flatten().find(|logit| !logit.is_finite()) {
            return Err(wrong(format!(
                "forward gave the logit {value}; check the module's weights"
            )));
        }
        for (example, padded, what) in [(&short, &rows[0], "shorter"), (&long, &rows[1], "longer")]
        {
            let alone = try_out(&[example], "for one text")?.concat();
            let off = alone.iter().zip(padded).map(|(a, b)| (a - b).abs() / a.abs().max(1.0));
            let off = off.fold(0.0, f32::max);
            if off > PADDING_TOLERANCE {
                return Err(wrong(format!(
                    "the {what} of two texts gets {padded:?} beside the other and {alone:?} alone: \
                     padding changes its answer; use attention_mask in forward"
                )));
            }
        }
        let last = self.tokenizer.vocabulary_size() as i64 - 1;
        let of = |ids: Vec<i64>| Tokens { type_ids: vec![0; ids.len()], ids, truncated: false };
        try_out(&[&of(vec![last])], &format!("for id {last}, the last of --tokenizer"))?;
        let longest = of(vec![short.ids.first().copied().unwrap_or(last); self.max_length]);
        try_out(&[&longest], &format!("for {} tokens (--max-length)", self.max_length))?;
        Ok(())
    }

    /// `[B, C]` logits of a module that may not do what it should; an error is in words.
    fn run(&self, batch: &TokenBatch, with_types: bool) -> Result<Tensor, String> {
        let said = |cause: TchError| said(&cause);
        let inputs = self.inputs(batch, with_types).map_err(said)?;
        match self.module.forward_is(&inputs).map_err(said)? {
            IValue::Tensor(logits) => Ok(logits),
            IValue::Tuple(values) => match values.into_iter().next() {
                Some(IValue::Tensor(logits)) => Ok(logits),
                _ => Err("it returned a tuple that does not begin with a tensor".to_owned()),
            },
            IValue::GenericDict(_) => {
                Err("it returned a dictionary; export with return_dict=False".to_owned())
            }
            _ => Err("it returned neither a tensor nor a tuple".to_owned()),
        }
    }

    fn inputs(&self, batch: &TokenBatch, with_types: bool) -> Result<Vec<IValue>, TchError> {
        let (ids, mask) = match &batch.mask {
            None => (batch.ids.shallow_clone(), batch.ids.f_ones_like()?),
            Some(mask) => (
                batch.ids.f_masked_fill(&mask.f_logical_not()?, self.padding)?,
                mask.f_to_kind(Kind::Int64)?,
            ),
        };
        let types = with_types.then(|| batch.type_ids.shallow_clone());
        Ok([Some(ids), Some(mask), types].into_iter().flatten().map(IValue::Tensor).collect())
    }
}

const FLAG: &str = "--torchscript";

fn argument(flag: &'static str, path: &Path, cause: impl Into<String>) -> ModelError {
    ModelError::Argument { flag, path: path.to_owned(), cause: cause.into() }
}

/// An error's words without the path that [`ModelError::Argument`] begins with.
fn without_path(error: &impl ToString, path: &Path) -> String {
    let said = error.to_string();
    said.strip_prefix(&format!("{}: ", path.display())).map_or(said.clone(), str::to_owned)
}

fn hash(path: &Path) -> Result<blake3::Hash, ModelError> {
    let read = || -> std::io::Result<blake3::Hash> {
        fs::metadata(path)?;
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(File::open(path)?)?;
        Ok(hasher.finalize())
    };
    read().map_err(|cause| argument(FLAG, path, cause.to_string()))
}

/// The line of libtorch's error that says what happened: an interpreter's error begins with its frames.
fn said(error: &TchError) -> String {
    let text = error.to_string();
    let mut lines = text.lines();
    let cause = text.lines().find(|line| line.starts_with("RuntimeError: "));
    cause.or_else(|| lines.next()).unwrap_or_default().to_owned()
}

impl Classifier for TorchScript {
    fn labels(&self) -> &LabelSet {
        &self.labels
    }

    fn encode(&self, text: &str, text_pair: Option<&str>) -> Result<Tokens, TextError> {
        self.tokenizer.encode(text, text_pair)
    }

    fn parameter_count(&self) -> usize {
        self.parameters
    }

    fn device(&self) -> Device {
        self.device
    }

    fn logits(&self, batch: &TokenBatch) -> Result<Tensor, ModelError> {
        let logits = self
            .run(batch, self.takes_type_ids)
            .map_err(|cause| argument(FLAG, &self.path, cause))?;
        let expected = [batch.lengths.len() as i64, self.labels.len() as i64];
        if logits.size() == expected {
            return Ok(logits);
        }
        let found = logits.size();
        Err(argument(
            FLAG,
            &self.path,
            format!("forward gave a tensor {found:?}, expected {expected:?}"),
        ))
    }
}

impl ServedModel for TorchScript {
    fn reader(&self) -> Arc<dyn Reader> {
        Arc::new(self.tokenizer.clone())
    }

    fn mask_token(&self) -> Option<&'static str> {
        self.tokenizer.mask_token()
    }

    fn name(&self) -> String {
        called(&self.path)
    }

    fn architecture(&self) -> String {
        let types = if self.takes_type_ids { ", token_type_ids" } else { "" };
        format!("TorchScript, forward(input_ids, attention_mask{types})")
    }

    fn max_length(&self) -> usize {
        self.max_length
    }

    fn arithmetic(&self) -> Arithmetic {
        self.arithmetic
    }

    fn fingerprint(&self) -> Result<Fingerprint, ModelError> {
        let mut parts = Parts::default();
        parts.add(PREPROCESSING_VERSION.as_bytes());
        parts.add(
            json!([self.max_length, self.padding, self.labels.names()]).to_string().as_bytes(),
        );
        parts.add(self.tokenizer.json().as_bytes());
        parts.add(self.hash.as_bytes());
        Ok(parts.finish())
    }

    fn flops(&self, _batch: &TokenBatch) -> f64 {
        0.0
    }
}
