//! The flags that say which model answers: all that decides its fingerprint.

use std::path::PathBuf;

use clap::Args;
use lectern::{
    commands::Usage,
    hub::resolve,
    models::{Arithmetic, ModelFiles, TorchScriptFiles},
};
use tch::Device;

use crate::serve::ModelSource;

/// TorchScript modules. The flags beside --torchscript are given once for all modules, or once for each.
#[derive(Debug, Args)]
struct TorchScriptOptions {
    /// A TorchScript module, as torch.jit.save writes it, whose `forward(input_ids, attention_mask)`
    /// or `forward(input_ids, attention_mask, token_type_ids)`, all int64 `[B, T]`, returns float logits `[B, C]`
    /// or a tuple that begins with them. Tried at start on two texts of unequal lengths
    #[arg(long = "torchscript", value_name = "FILE", requires = "tokenizers", requires = "labels")]
    modules: Vec<PathBuf>,
    /// Folder of the module's tokenizer, which pads with its `pad_token`
    #[arg(long = "tokenizer", value_name = "DIR", requires = "modules")]
    tokenizers: Vec<PathBuf>,
    /// Names of the module's labels in the order of its logits, one per line or a JSON array
    #[arg(long, value_name = "FILE", requires = "modules")]
    labels: Vec<PathBuf>,
    /// Longest input of the module in tokens [default: the `model_max_length` of its tokenizer]
    #[arg(long = "max-length", value_name = "TOKENS", requires = "modules", value_parser = clap::value_parser!(u32).range(1..))]
    max_lengths: Vec<u32>,
}

impl TorchScriptOptions {
    fn files(&self) -> Result<Vec<ModelFiles>, Usage> {
        let Self { modules, tokenizers, labels, max_lengths } = self;
        let files = |(i, module): (usize, &PathBuf)| {
            Ok(ModelFiles::TorchScript(TorchScriptFiles {
                module: module.clone(),
                tokenizer: of(i, modules, "--tokenizer", tokenizers)?
                    .ok_or_else(|| Usage("--torchscript needs --tokenizer DIR".to_owned()))?
                    .clone(),
                labels: of(i, modules, "--labels", labels)?
                    .ok_or_else(|| Usage("--torchscript needs --labels FILE".to_owned()))?
                    .clone(),
                max_length: of(i, modules, "--max-length", max_lengths)?.map(|&n| n as usize),
            }))
        };
        modules.iter().enumerate().map(files).collect()
    }
}

/// The value for module `i` of a flag that was given not at all, once, or once for each module.
fn of<'a, T>(
    i: usize,
    modules: &[PathBuf],
    flag: &str,
    values: &'a [T],
) -> Result<Option<&'a T>, Usage> {
    match values {
        [] => Ok(None),
        [one] => Ok(Some(one)),
        several if several.len() == modules.len() => Ok(several.get(i)),
        several => Err(Usage(format!(
            "{flag} is given {} times for {} modules; give it once, or once for each --torchscript",
            several.len(),
            modules.len()
        ))),
    }
}

/// One model.
#[derive(Debug, Args)]
pub(super) struct OneModelOptions {
    /// A teacher: what `finetune` or `textgcn` wrote, a student's run folder, or a `ForSequenceClassification` of
    /// transformers; or the name of one on the Hugging Face hub, ORG/NAME or ORG/NAME@REVISION
    #[arg(long, value_name = "DIR|NAME", conflicts_with = "modules")]
    model: Option<PathBuf>,
    #[command(flatten)]
    torchscript: TorchScriptOptions,
    /// What to compute with
    #[arg(long, value_enum, default_value_t, value_name = "TYPE")]
    pub(super) dtype: Arithmetic,
}

impl OneModelOptions {
    /// The model's files; fetches them if it is named by its hub name.
    pub(super) fn files(&self) -> anyhow::Result<ModelFiles> {
        if let Some(model) = &self.model {
            return Ok(ModelFiles::Folder(resolve(model)?));
        }
        match self.torchscript.files()?.as_slice() {
            [files] => Ok(files.clone()),
            [] => Err(no_model().into()),
            _ => Err(Usage("--torchscript: give one module here".to_owned()).into()),
        }
    }
}

fn no_model() -> Usage {
    Usage("which teacher? give its folder with --model DIR, or --torchscript FILE".to_owned())
}

#[derive(Debug, Args)]
pub(super) struct ModelOptions {
    /// A teacher: what `finetune` or `textgcn` wrote, a student's run folder, or a `ForSequenceClassification` of
    /// transformers; or the name of one on the Hugging Face hub, ORG/NAME or ORG/NAME@REVISION. Given
    /// several times, or beside --torchscript, an ensemble: rows are the weighted mean of the members' logits
    #[arg(long = "model", value_name = "DIR|NAME")]
    models: Vec<PathBuf>,
    #[command(flatten)]
    torchscript: TorchScriptOptions,
    /// Shares of the members of an ensemble in the mean, one for each --model and then for each
    /// --torchscript [default: equal]
    #[arg(long, value_name = "W,W..", value_delimiter = ',')]
    weights: Vec<f64>,
    /// What to compute with: other numbers are other answers, so each type has its own fingerprint.
    /// Students and textGCNs know float32 alone, TorchScript modules the type they were saved in
    #[arg(long, value_enum, default_value_t, value_name = "TYPE")]
    pub(super) dtype: Arithmetic,
    /// Compute every example in a forward pass of its own, so that its row never depends, not even in
    /// its last bits, on which others were asked for at the time; costs speed, on a GPU most of it
    #[arg(long)]
    pub(super) pinned: bool,
}

impl ModelOptions {
    /// Whether no model is named, which is for [`sources`](Self::sources) a mistake.
    pub(super) fn is_empty(&self) -> bool {
        self.models.is_empty() && self.torchscript.modules.is_empty()
    }

    /// How far a row computed again, among other examples, may be from the one that was stored.
    pub(super) fn tolerance(&self, devices: &[Device]) -> f32 {
        let exact = devices.iter().all(|&device| self.dtype.on(device) == Arithmetic::Float32);
        if exact { 0.001 } else { 0.1 }
    }

    /// The members' files; fetches those that are named by their hub names.
    pub(super) fn sources(&self) -> anyhow::Result<Vec<ModelSource>> {
        let (torchscript, weights) = (self.torchscript.files()?, &self.weights);
        let members = self.models.len() + torchscript.len();
        if members == 0 {
            return Err(no_model().into());
        }
        if !weights.is_empty() && weights.len() != members {
            return Err(Usage(format!(
                "--weights has {} numbers for {} models; give one for each",
                weights.len(),
                members
            ))
            .into());
        }
        if let Some(wrong) = weights.iter().find(|w| !(**w > 0.0 && w.is_finite())) {
            return Err(Usage(format!("--weights {wrong}: must be positive")).into());
        }
        let weight = |i: usize| weights.get(i).copied().unwrap_or(1.0);
        let folder = |model: &PathBuf| Ok(ModelFiles::Folder(resolve(model)?));
        let files = self.models.iter().map(folder).chain(torchscript.into_iter().map(Ok));
        let source = |(i, files): (usize, anyhow::Result<ModelFiles>)| {
            Ok(ModelSource { files: files?, weight: weight(i) })
        };
        files.enumerate().map(source).collect()
    }
}
