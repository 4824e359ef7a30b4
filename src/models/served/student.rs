//! A distilled student that teaches: the best weights of a run folder.

use std::{path::Path, sync::Arc};

use serde_json::json;
use tch::{Device, Tensor};

use super::{Reader, ServedModel, called, only};
use crate::{
    data::LabelSet,
    models::{Arithmetic, Classifier, ModelError, Student, TokenBatch, fingerprint::Parts},
    text::{TextError, Tokens},
    wire::Fingerprint,
};

/// Changes when the same run folder would be read, tokenised or computed differently.
const PREPROCESSING_VERSION: &str = "lectern student 1";

/// A student with the name of its run.
#[derive(Debug)]
pub(super) struct ServedStudent {
    student: Student,
    name: String,
}

impl ServedStudent {
    /// Reads a run folder. Students compute in float32.
    pub(super) fn load(
        run: &Path,
        device: Device,
        arithmetic: Arithmetic,
    ) -> Result<Self, ModelError> {
        only(run, Arithmetic::Float32, arithmetic)?;
        Ok(Self { student: Student::load(run, device)?, name: called(run) })
    }
}

impl Classifier for ServedStudent {
    fn labels(&self) -> &LabelSet {
        self.student.labels()
    }

    fn encode(&self, text: &str, text_pair: Option<&str>) -> Result<Tokens, TextError> {
        self.student.encode(text, text_pair)
    }

    fn parameter_count(&self) -> usize {
        self.student.parameter_count()
    }

    fn device(&self) -> Device {
        self.student.device()
    }

    fn batch_tokens(&self) -> usize {
        self.student.batch_tokens()
    }

    fn logits(&self, batch: &TokenBatch) -> Result<Tensor, ModelError> {
        self.student.logits(batch)
    }
}

impl ServedModel for ServedStudent {
    fn reader(&self) -> Arc<dyn Reader> {
        Arc::new(self.student.tokenizer().clone())
    }

    fn mask_token(&self) -> Option<&'static str> {
        self.student.tokenizer().mask_token()
    }

    fn name(&self) -> String {
        self.name.clone()
    }

    fn architecture(&self) -> String {
        self.student.config().family.to_string()
    }

    fn max_length(&self) -> usize {
        self.student.config().max_length
    }

    fn arithmetic(&self) -> Arithmetic {
        Arithmetic::Float32
    }

    fn fingerprint(&self) -> Result<Fingerprint, ModelError> {
        let (config, labels) = (self.student.config(), self.student.labels());
        let mut parts = Parts::default();
        parts.add(PREPROCESSING_VERSION.as_bytes());
        let outputs = json!([labels.task(), labels.names()]);
        let settings = json!([config, self.arithmetic().to_string(), outputs]);
        parts.add(settings.to_string().as_bytes());
        parts.add(self.student.tokenizer().json().as_bytes());
        parts.add_parameters(self.student.parameters())?;
        Ok(parts.finish())
    }

    fn flops(&self, batch: &TokenBatch) -> f64 {
        self.student.flops(batch)
    }
}
