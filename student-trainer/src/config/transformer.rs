//! A Transformer as a student: layers of an encoder, or fresh ones that a `config.json` describes.

use std::path::{Path, PathBuf};

use lectern::{commands::Usage, models::students::EncoderSizes};

use super::{
    TrainOptions, at_least,
    student::{Shape, probability},
};

/// What `--encoder-config` ends in where it is a file; otherwise it is a folder, whose tokenizer counts too.
const FILE_ENDING: &str = "json";

impl TrainOptions {
    /// The shape of a Transformer.
    pub(super) fn transformer(&mut self) -> Result<Shape, Usage> {
        let mut dropout = 0.1;
        probability(&mut self.student_dropout, &mut dropout)?;
        match (self.init_from.clone(), self.encoder_config.clone()) {
            (Some(folder), None) => self.layers_of(folder, dropout),
            (None, Some(config)) => self.described_by(config, dropout),
            (Some(_), Some(_)) => Err(Usage(
                "--init-from and --encoder-config exclude each other: a transformer begins with an \
                 encoder's layers or with fresh ones"
                    .to_owned(),
            )),
            (None, None) => Err(Usage(
                "--student transformer needs --init-from DIR, the encoder it starts from, or \
                 --encoder-config PATH, what a fresh one looks like"
                    .to_owned(),
            )),
        }
    }

    fn layers_of(&self, folder: PathBuf, dropout: f64) -> Result<Shape, Usage> {
        for (flag, given) in [
            ("hidden", self.hidden.is_some()),
            ("inner", self.inner.is_some()),
            ("heads", self.heads.is_some()),
            ("num-layers", self.num_layers.is_some()),
            ("tokenizer", self.tokenizer.is_some()),
            ("words", self.words.is_some()),
        ] {
            if given {
                return Err(Usage(format!(
                    "--{flag} belongs to --encoder-config: layers of --init-from are as they are, and read by \
                     their encoder's tokenizer"
                )));
            }
        }
        match self.layers.clone().filter(|layers| !layers.is_empty()) {
            Some(layers) => Ok(Shape::Encoder { folder, layers, dropout }),
            None => Err(Usage(
                "--init-from needs --layers 0,2,4, which of its layers to take".to_owned(),
            )),
        }
    }

    fn described_by(&self, config: PathBuf, dropout: f64) -> Result<Shape, Usage> {
        if self.layers.is_some() {
            return Err(Usage(
                "--layers takes layers of --init-from; --num-layers says how many --encoder-config has"
                    .to_owned(),
            ));
        }
        for (flag, given) in [("hidden", self.hidden), ("inner", self.inner), ("heads", self.heads)]
        {
            given.map(|units| at_least(flag, units.max(0) as usize, 1)).transpose()?;
        }
        self.num_layers.map(|layers| at_least("num-layers", layers, 1)).transpose()?;
        let sizes = EncoderSizes {
            layers: self.num_layers,
            hidden: self.hidden,
            heads: self.heads,
            inner: self.inner,
        };
        Ok(Shape::Described { config, sizes, dropout })
    }

    /// The folder of `--encoder-config`, where its tokenizer is the student's.
    pub(super) fn folder_of_config(&self) -> Option<&Path> {
        let path = self.encoder_config.as_deref().filter(|_| self.words.is_none())?;
        path.extension().is_none_or(|ending| ending != FILE_ENDING).then_some(path)
    }
}
