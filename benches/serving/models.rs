//! Random BERT classifiers of 5 classes, made once and kept in `target/bench/models`.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use lectern::{
    data::LabelSet,
    models::{HeadKind, Teacher, TeacherSettings, write_weights},
};
use serde_json::json;
use tch::{Device, Kind, Tensor};

use crate::{
    common::folder,
    headlines::{ALPHABET, letter},
};

/// Layers and width of an encoder.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) layers: i64,
    pub(crate) hidden: i64,
    heads: i64,
}

/// BERT-base: what students are distilled from.
pub(crate) const BERT_BASE: Size = Size { layers: 12, hidden: 768, heads: 12 };
/// The size of `MiniLM`: several times faster, for what needs many answers in little time.
pub(crate) const MINI: Size = Size { layers: 6, hidden: 384, heads: 12 };
/// A model that costs next to nothing, where rows are wanted and not their computation.
pub(crate) const TINY: Size = Size { layers: 1, hidden: 32, heads: 2 };

const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
const VOCABULARY: i64 = ALPHABET as i64 + SPECIAL.len() as i64;
const POSITIONS: i64 = 512;
const MAX_LENGTH: usize = 64;

impl Size {
    /// Units of the feed-forward layer.
    pub(crate) const fn inner(self) -> i64 {
        4 * self.hidden
    }

    /// The folder of the random classifier of this size.
    pub(crate) fn folder(self) -> Result<PathBuf> {
        let models = folder().join("models");
        let model = models.join(self.to_string());
        if !model.is_dir() {
            fs::create_dir_all(&models)?;
            let unfinished = tempfile::tempdir_in(&models)?;
            self.make(unfinished.path()).with_context(|| format!("making {}", model.display()))?;
            fs::rename(unfinished.keep(), &model)?;
        }
        Ok(model)
    }

    fn make(self, folder: &Path) -> Result<()> {
        let characters = (0..ALPHABET).filter_map(letter).map(String::from);
        let vocabulary: Vec<_> = SPECIAL.map(str::to_owned).into_iter().chain(characters).collect();
        fs::write(folder.join("vocab.txt"), vocabulary.join("\n"))?;
        let config = json!({
            "model_type": "bert", "hidden_size": self.hidden, "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads, "intermediate_size": self.inner(),
            "vocab_size": VOCABULARY, "max_position_embeddings": POSITIONS, "type_vocab_size": 2,
        });
        fs::write(folder.join("config.json"), config.to_string())?;
        tch::manual_seed(1);
        let tensors = self.encoder();
        let named = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor));
        write_weights(&folder.join("model.safetensors"), named)?;
        let labels = LabelSet::new(["a", "b", "c", "d", "e"].map(str::to_owned).to_vec())?;
        // The head that `transformers` has a class for.
        let settings = TeacherSettings { head: HeadKind::Family, max_length: MAX_LENGTH };
        Teacher::from_encoder(folder, labels, settings, Device::Cpu)?.save(folder)?;
        Ok(())
    }

    fn encoder(self) -> Vec<(String, Tensor)> {
        let (hidden, inner) = (self.hidden, self.inner());
        let random = |shape: &[i64]| Tensor::randn(shape, (Kind::Float, Device::Cpu)) * 0.02;
        let mut tensors: Vec<(String, Tensor)> = Vec::new();
        for (table, rows) in [("word", VOCABULARY), ("position", POSITIONS), ("token_type", 2)] {
            tensors
                .push((format!("embeddings.{table}_embeddings.weight"), random(&[rows, hidden])));
        }
        let mut norms = vec!["embeddings.LayerNorm".to_owned()];
        for i in 0..self.layers {
            let layer = format!("encoder.layer.{i}");
            for (part, output, input) in [
                ("attention.self.query", hidden, hidden),
                ("attention.self.key", hidden, hidden),
                ("attention.self.value", hidden, hidden),
                ("attention.output.dense", hidden, hidden),
                ("intermediate.dense", inner, hidden),
                ("output.dense", hidden, inner),
            ] {
                tensors.push((format!("{layer}.{part}.weight"), random(&[output, input])));
                tensors.push((format!("{layer}.{part}.bias"), random(&[output])));
            }
            norms.push(format!("{layer}.attention.output.LayerNorm"));
            norms.push(format!("{layer}.output.LayerNorm"));
        }
        for norm in norms {
            tensors.push((format!("{norm}.weight"), random(&[hidden]) + 1.0));
            tensors.push((format!("{norm}.bias"), random(&[hidden])));
        }
        tensors
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bert-{}x{}", self.layers, self.hidden)
    }
}
