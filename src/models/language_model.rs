//! An encoder as it is pre-trained: from its folder, with the output that predicts tokens, back to a folder. Knows
//! neither losses nor which tokens are predicted.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use tch::Device;

use super::{
    Builder, MaskedLm, ModelError, Parameters, PermutationLm,
    encoder_folder::{canonical_names, is_left_over, tokenizer_of, write_tokenizer},
    encoders::{Architecture, Facts, architecture},
    folder::{malformed, name, read_json, write_text},
    permutation_lm,
    weights::{bytes, find_weights, write_weights},
};
use crate::text::{Tokenizer, mask_token};

/// An encoder with what its family is pre-trained by, and its tokenizer.
#[derive(Debug)]
pub struct LanguageModel {
    folder: PathBuf,
    config: Value,
    architecture: Box<dyn Architecture>,
    objective: Objective,
    /// The class of `transformers` that has these parameters.
    class: &'static str,
    tokenizer: Tokenizer,
    mask: i64,
    parameters: Parameters,
    device: Device,
}

/// What a family is pre-trained by.
#[derive(Debug)]
pub enum Objective {
    /// BERT and its relatives.
    Masked(MaskedLm),
    /// XLNet.
    Permutation(PermutationLm),
}

impl LanguageModel {
    /// Reads any checkpoint of a family, for texts of at most `max_length` tokens. What the folder lacks beside the
    /// encoder starts fresh, from libtorch's random state; what it has for other tasks is left out.
    pub fn load(folder: &Path, max_length: usize, device: Device) -> Result<Self, ModelError> {
        let path = folder.join("config.json");
        let mut config: Value = read_json(&path)?;
        let architecture = architecture(folder, &config)?;
        if config.get("tie_word_embeddings").and_then(Value::as_bool) == Some(false) {
            let cause = "`tie_word_embeddings` is false: only encoders whose output layer is their word table can be pre-trained";
            return Err(malformed(&path, cause));
        }
        let tokenizer = tokenizer_of(folder, architecture.as_ref(), max_length)?;
        let mask = mask_token(folder, &tokenizer)?;
        let (weights, tensors) = find_weights(folder)?;
        let prefix = architecture.facts().prefix;
        let builder = Builder::from_weights(canonical_names(tensors, prefix), &weights, device)
            .with_left_over(move |name| name.strip_prefix(prefix).is_none_or(is_left_over));
        let (class, objective) = if let Some(head) = architecture.masked_head() {
            let model = MaskedLm::new(architecture.as_ref(), head, &builder)?;
            (head.class, Objective::Masked(model))
        } else if let Some(model) = PermutationLm::new(architecture.as_ref(), &builder)? {
            (permutation_lm::CLASS, Objective::Permutation(model))
        } else {
            let family = &config["model_type"];
            return Err(malformed(&path, format!("{family} has no language model to pre-train")));
        };
        let parameters = builder.finish()?;
        if let Some(config) = config.as_object_mut() {
            // Of a classifier that the encoder was part of.
            for key in ["lectern", "id2label", "label2id", "problem_type"] {
                config.shift_remove(key);
            }
        }
        let folder = folder.to_owned();
        Ok(Self {
            folder,
            config,
            architecture,
            objective,
            class,
            tokenizer,
            mask,
            parameters,
            device,
        })
    }

    /// What it is pre-trained by.
    pub const fn objective(&self) -> &Objective {
        &self.objective
    }

    /// Its tokenizer.
    pub const fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Id of the token that stands where one is hidden.
    pub const fn mask_token(&self) -> i64 {
        self.mask
    }

    /// All trained values, under the names of the class in `transformers`.
    pub const fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Name of the table of word embeddings.
    pub fn word_table(&self) -> String {
        self.architecture.word_table()
    }

    /// Where the parameters lie.
    pub const fn device(&self) -> Device {
        self.device
    }

    /// Name, class and size, for people.
    pub fn description(&self) -> String {
        let name = name(&self.folder).unwrap_or_else(|| "encoder".to_owned());
        let Facts { depth, width, .. } = self.architecture.facts();
        format!("{name}, {}, {depth} layers x {width}", self.class)
    }

    /// Hash of every value and its name, and of the tokenizer.
    pub fn hash(&self) -> Result<String, ModelError> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.tokenizer.json().as_bytes());
        for (name, tensor) in self.parameters.iter() {
            hasher.update(format!("{name}{:?}", tensor.size()).as_bytes()).update(&bytes(tensor)?);
        }
        Ok(hasher.finalize().to_hex()[..16].to_owned())
    }

    /// Writes an encoder's folder in the Hugging Face format, weights last, each file whole. `transformers` loads it as
    /// the family's `ForMaskedLM` or `XLNetLMHeadModel`, and everything that takes an encoder as an encoder.
    pub fn save(&self, folder: &Path) -> Result<(), ModelError> {
        fs::create_dir_all(folder)
            .map_err(|source| ModelError::Read { path: folder.to_owned(), source })?;
        write_tokenizer(&self.folder, &self.tokenizer, folder)?;
        let mut config = self.config.clone();
        config["architectures"] = json!([self.class]);
        config["dtype"] = json!("float32");
        write_text(folder, "config.json", &format!("{config:#}\n"))?;
        write_weights(&folder.join("model.safetensors"), self.parameters.iter())
    }
}
