//! One face for everything that can be served, and what a path holds. A server, `evaluate` and `predict`
//! know models by this face only.

mod student;
#[cfg(test)]
mod tests;
mod text_gcn;
mod torchscript;

use std::{
    fmt::Debug,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use tch::Device;

pub use text_gcn::{TextGcn, TextGcnAnswers, TextGcnConfig};
pub use torchscript::{TorchScript, TorchScriptFiles};

use self::student::ServedStudent;
use super::{
    Arithmetic, BEST_WEIGHTS, Classifier, ModelError, Student, Teacher, TokenBatch, folder,
    weight_bytes,
};
use crate::{
    data::Task,
    text::{TextError, Tokenizer, Tokens},
    wire::Fingerprint,
};

/// Reads examples for a model on another thread than the model's.
pub trait Reader: Debug + Send + Sync {
    /// The example as the model reads it, or why the model has no answer for it.
    fn read(&self, text: &str, text_pair: Option<&str>) -> Result<Tokens, TextError>;
}

impl Reader for Tokenizer {
    fn read(&self, text: &str, text_pair: Option<&str>) -> Result<Tokens, TextError> {
        self.encode(text, text_pair)
    }
}

/// A model that others learn from.
pub trait ServedModel: Classifier + Debug + Send {
    /// Reads examples as [`encode`](Classifier::encode) does.
    fn reader(&self) -> Arc<dyn Reader>;
    /// What people call it: the name of its folder or file.
    fn name(&self) -> String;
    /// Family and size, for people.
    fn architecture(&self) -> String;
    /// Longest input in tokens.
    fn max_length(&self) -> usize;
    /// What stands for a hidden word in a text, where its tokenizer has such a token.
    fn mask_token(&self) -> Option<&'static str> {
        None
    }
    /// What it computes with; never [`Auto`](Arithmetic::Auto).
    fn arithmetic(&self) -> Arithmetic;
    /// Hash of everything that can change an answer.
    fn fingerprint(&self) -> Result<Fingerprint, ModelError>;
    /// Operations of the matrix products of a forward pass over `batch`; 0 where nobody knows.
    fn flops(&self, batch: &TokenBatch) -> f64;

    /// The same model in the same memory, to compute on another thread; `None` of one that cannot be shared.
    fn another(&self) -> Option<Box<dyn ServedModel>> {
        None
    }

    /// An example of `length` tokens, or as many as the model takes, to measure and warm up with.
    fn made_up(&self, length: usize) -> Result<Tokens, TextError> {
        let mut tokens = self.encode(&"warm ".repeat(length), None)?;
        tokens.ids.truncate(length);
        tokens.type_ids.truncate(length);
        Ok(tokens)
    }
}

/// The files of a model that can be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelFiles {
    /// A folder that says itself what it holds.
    Folder(PathBuf),
    /// A TorchScript module and what it needs.
    TorchScript(TorchScriptFiles),
}

impl From<&Path> for ModelFiles {
    fn from(folder: &Path) -> Self {
        Self::Folder(folder.to_owned())
    }
}

/// What a folder can hold.
#[derive(Debug, Clone, Copy)]
enum Held {
    TextGcn,
    Student,
    HuggingFace,
}

impl Held {
    /// Each kind with the file that tells it. Others may have a `config.json` too, so it is looked for last.
    const MARKS: [(&'static str, Self, &'static str); 3] = [
        (text_gcn::CONFIG, Self::TextGcn, "a textGCN folder"),
        (super::student::CONFIG, Self::Student, "a student's run folder"),
        ("config.json", Self::HuggingFace, "a Hugging Face folder"),
    ];

    fn find(folder: &Path) -> Result<Self, ModelError> {
        fs::read_dir(folder)
            .map_err(|source| ModelError::Read { path: folder.to_owned(), source })?;
        let found = Self::MARKS.iter().find(|(name, ..)| folder.join(name).is_file());
        found.map(|(_, held, _)| *held).ok_or_else(|| {
            let looked_for = Self::MARKS.map(|(name, _, what)| format!("{name} ({what})"));
            folder::malformed(
                folder,
                format!("holds no model: has none of {}", looked_for.join(", ")),
            )
        })
    }
}

impl ModelFiles {
    /// Loads the model to label text with.
    pub fn load(
        &self,
        device: Device,
        arithmetic: Arithmetic,
    ) -> Result<Box<dyn ServedModel>, ModelError> {
        let folder = match self {
            Self::TorchScript(files) => {
                return Ok(Box::new(TorchScript::load(files, device, arithmetic)?));
            }
            Self::Folder(folder) => folder,
        };
        Ok(match Held::find(folder)? {
            Held::HuggingFace => Box::new(Teacher::load_for_serving(folder, device, arithmetic)?),
            Held::Student => Box::new(ServedStudent::load(folder, device, arithmetic)?),
            Held::TextGcn => Box::new(TextGcn::load(folder, device, arithmetic)?),
        })
    }

    /// The folder, or the module's file.
    pub fn path(&self) -> &Path {
        match self {
            Self::Folder(folder) => folder,
            Self::TorchScript(files) => &files.module,
        }
    }

    /// The task of the model, before anything else of it is read. What has no word for it answers with one
    /// label of several.
    pub fn task(&self) -> Result<Task, ModelError> {
        match self {
            Self::TorchScript(_) => Ok(Task::SingleLabel),
            Self::Folder(folder) => match Held::find(folder)? {
                Held::HuggingFace => Teacher::task(folder),
                Held::Student => Student::task(folder),
                Held::TextGcn => Ok(Task::SingleLabel),
            },
        }
    }

    /// Size on disk of the weights, or of what stands in for them; 0 where there are none, which is for
    /// [`load`](Self::load) to refuse.
    pub fn weight_bytes(&self) -> u64 {
        let size = |path: &Path| path.metadata().map_or(0, |file| file.len());
        let folder = match self {
            Self::TorchScript(files) => return size(&files.module),
            Self::Folder(folder) => folder,
        };
        match Held::find(folder) {
            Ok(Held::HuggingFace) => weight_bytes(folder).unwrap_or(0),
            Ok(Held::Student) => size(&folder.join(BEST_WEIGHTS)),
            Ok(Held::TextGcn) => size(&folder.join(text_gcn::ANSWERS)),
            Err(_) => 0,
        }
    }
}

/// What people call the model at `path`.
fn called(path: &Path) -> String {
    folder::name(path).unwrap_or_else(|| "model".to_owned())
}

/// `found`, what a model computes with in any case, unless something else was asked for.
fn only(path: &Path, found: Arithmetic, wanted: Arithmetic) -> Result<Arithmetic, ModelError> {
    if wanted == Arithmetic::Auto || wanted == found {
        Ok(found)
    } else {
        Err(ModelError::FixedArithmetic { path: path.to_owned(), found, wanted })
    }
}
