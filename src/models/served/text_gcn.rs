//! A textGCN (Yao et al. 2019) as it is served: the logits of every document that it was built on, looked
//! up by content. The graph has no place for other texts, so they are refused.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tch::{Device, Tensor};

use super::{Reader, ServedModel, called, only};
use crate::{
    data::LabelSet,
    files::write_atomically,
    models::{
        Arithmetic, Classifier, ModelError, TokenBatch,
        fingerprint::Parts,
        folder::{malformed, read_json, write_text},
    },
    text::{TextError, Tokens},
    wire::{ByContent, ContentHash, Fingerprint},
};

/// Changes when the same folder would be read differently.
const PREPROCESSING_VERSION: &str = "lectern textgcn 1";

/// What tells a textGCN folder; written last.
pub(super) const CONFIG: &str = "text_gcn.json";
/// Content hashes `[N, 16]` and logits `[N, C]`.
pub(super) const ANSWERS: &str = "documents.safetensors";
const LABELS: &str = "labels.json";
const VOCABULARY: &str = "vocabulary.json";

/// Characters of a refused text that its error repeats.
const EXCERPT: usize = 40;

/// What a textGCN was built from, for people and for the card.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TextGcnConfig {
    /// Distinct documents.
    pub documents: usize,
    /// Distinct words among the nodes.
    pub words: usize,
    /// Undirected edges between nodes, self loops aside.
    pub edges: usize,
    /// Units of the hidden layer.
    pub hidden: usize,
    /// Number of trained values.
    pub parameters: usize,
    /// Words of the longest document.
    pub longest: usize,
    /// How the graph was built and trained.
    pub training: Value,
}

/// The logits of `N` documents.
#[derive(Debug, Clone, PartialEq)]
pub struct TextGcnAnswers {
    /// `[N]`, all distinct.
    pub contents: Vec<ContentHash>,
    /// `[N, C]` raw logits, row-major.
    pub logits: Vec<f32>,
}

/// See the module.
#[derive(Debug)]
pub struct TextGcn {
    folder: PathBuf,
    config: TextGcnConfig,
    labels: LabelSet,
    documents: Arc<Documents>,
    /// `[N, C]`.
    logits: Tensor,
    fingerprint: Fingerprint,
}

/// Which row belongs to a text.
#[derive(Debug)]
struct Documents(ByContent<i64>);

impl Reader for Documents {
    /// A document is a single token, whose id is its row.
    fn read(&self, text: &str, text_pair: Option<&str>) -> Result<Tokens, TextError> {
        let row = self.0.get(&ContentHash::new(text, text_pair)).ok_or_else(|| {
            let mut excerpt: String = text.chars().take(EXCERPT).collect();
            if excerpt.len() < text.len() {
                excerpt.push('…');
            }
            TextError::UnknownDocument { documents: self.0.len(), text: excerpt }
        })?;
        Ok(Tokens { ids: vec![*row], type_ids: vec![0], truncated: false })
    }
}

impl TextGcn {
    /// Writes the folder that [`load`](Self::load) reads, each file whole and what tells it last.
    pub fn save(
        folder: &Path,
        config: &TextGcnConfig,
        labels: &LabelSet,
        vocabulary: &[String],
        answers: &TextGcnAnswers,
    ) -> Result<(), ModelError> {
        write_text(folder, LABELS, &format!("{:#}\n", json!(labels.names())))?;
        write_text(folder, VOCABULARY, &format!("{:#}\n", json!(vocabulary)))?;
        let path = folder.join(ANSWERS);
        let refused = |cause: safetensors::SafeTensorError| malformed(&path, cause.to_string());
        let hashes: Vec<u8> = answers.contents.iter().flat_map(|hash| *hash.as_bytes()).collect();
        let logits: Vec<u8> = answers.logits.iter().flat_map(|logit| logit.to_le_bytes()).collect();
        let n = answers.contents.len();
        let views = [
            ("content_hashes", TensorView::new(Dtype::U8, vec![n, ContentHash::BYTES], &hashes)),
            ("logits", TensorView::new(Dtype::F32, vec![n, labels.len()], &logits)),
        ];
        let views = views.into_iter().map(|(name, view)| Ok((name, view.map_err(refused)?)));
        let views = views.collect::<Result<Vec<_>, ModelError>>()?;
        let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        let file = safetensors::serialize(views, Some(metadata)).map_err(refused)?;
        write_atomically(&path, &file)
            .map_err(|source| ModelError::Read { path: path.clone(), source })?;
        write_text(folder, CONFIG, &format!("{:#}\n", json!(config)))
    }

    /// Reads what [`save`](Self::save) wrote. There is nothing to compute, so nothing but float32.
    pub fn load(folder: &Path, device: Device, arithmetic: Arithmetic) -> Result<Self, ModelError> {
        only(folder, Arithmetic::Float32, arithmetic)?;
        let config: TextGcnConfig = read_json(&folder.join(CONFIG))?;
        let path = folder.join(LABELS);
        let labels = LabelSet::new(read_json(&path)?)
            .map_err(|cause| malformed(&path, cause.to_string()))?;
        let path = folder.join(ANSWERS);
        let bytes =
            fs::read(&path).map_err(|source| ModelError::Read { path: path.clone(), source })?;
        let answers =
            read_answers(&bytes, labels.len()).map_err(|cause| malformed(&path, cause))?;
        let rows: ByContent<i64> = answers.contents.iter().copied().zip(0..).collect();
        let found = rows.len();
        if found != config.documents || found != answers.contents.len() {
            let cause = format!(
                "{} rows for {found} distinct documents, {CONFIG} says {}: the files are not of one teacher",
                answers.contents.len(),
                config.documents
            );
            return Err(malformed(&path, cause));
        }
        let shape = [found as i64, labels.len() as i64];
        let logits = Tensor::f_from_slice(&answers.logits)?.f_view(shape)?.f_to_device(device)?;

        let mut parts = Parts::default();
        parts.add(PREPROCESSING_VERSION.as_bytes());
        parts.add(json!(labels.names()).to_string().as_bytes());
        for (content, row) in answers.contents.iter().zip(answers.logits.chunks(labels.len())) {
            parts.add(content.as_bytes());
            parts.add(&row.iter().flat_map(|logit| logit.to_le_bytes()).collect::<Vec<_>>());
        }
        Ok(Self {
            folder: folder.to_owned(),
            config,
            labels,
            documents: Arc::new(Documents(rows)),
            logits,
            fingerprint: parts.finish(),
        })
    }
}

/// The two tensors of [`ANSWERS`], or what is wrong with them.
fn read_answers(file: &[u8], classes: usize) -> Result<TextGcnAnswers, String> {
    let tensors = SafeTensors::deserialize(file)
        .map_err(|cause| format!("not a whole weights file ({cause}); build the teacher again"))?;
    let read = |name: &str, kind: Dtype, width: usize| {
        let view = tensors.tensor(name).map_err(|cause| cause.to_string())?;
        match *view.shape() {
            [n, found] if n > 0 && found == width && view.dtype() == kind => Ok(view),
            _ => Err(format!(
                "{name}: expected {kind:?} of shape [N, {width}], found {:?} of {:?}",
                view.dtype(),
                view.shape()
            )),
        }
    };
    let hashes = read("content_hashes", Dtype::U8, ContentHash::BYTES)?;
    let logits = read("logits", Dtype::F32, classes)?;
    if hashes.shape()[0] != logits.shape()[0] {
        return Err(format!(
            "{} content hashes for {} rows of logits",
            hashes.shape()[0],
            logits.shape()[0]
        ));
    }
    let (hashes, _) = hashes.data().as_chunks();
    let (values, _) = logits.data().as_chunks();
    Ok(TextGcnAnswers {
        contents: hashes.iter().map(|bytes| ContentHash::from_bytes(*bytes)).collect(),
        logits: values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
    })
}

impl Classifier for TextGcn {
    fn labels(&self) -> &LabelSet {
        &self.labels
    }

    fn encode(&self, text: &str, text_pair: Option<&str>) -> Result<Tokens, TextError> {
        self.documents.read(text, text_pair)
    }

    fn parameter_count(&self) -> usize {
        self.config.parameters
    }

    fn device(&self) -> Device {
        self.logits.device()
    }

    fn logits(&self, batch: &TokenBatch) -> Result<Tensor, ModelError> {
        Ok(self.logits.f_index_select(0, &batch.ids.f_flatten(0, -1)?)?)
    }
}

impl ServedModel for TextGcn {
    fn reader(&self) -> Arc<dyn Reader> {
        Arc::<Documents>::clone(&self.documents)
    }

    fn name(&self) -> String {
        called(&self.folder)
    }

    fn architecture(&self) -> String {
        let TextGcnConfig { documents, words, hidden, .. } = &self.config;
        format!("textGCN, {documents} documents and {words} words, {hidden} hidden units")
    }

    fn max_length(&self) -> usize {
        self.config.longest.max(1)
    }

    fn arithmetic(&self) -> Arithmetic {
        Arithmetic::Float32
    }

    fn fingerprint(&self) -> Result<Fingerprint, ModelError> {
        Ok(self.fingerprint.clone())
    }

    fn flops(&self, _batch: &TokenBatch) -> f64 {
        0.0
    }

    /// The first document: any other text would be refused.
    fn made_up(&self, _length: usize) -> Result<Tokens, TextError> {
        Ok(Tokens { ids: vec![0], type_ids: vec![0], truncated: false })
    }
}
