//! What is served: one teacher, or several whose weighted mean is the answer. Knows tensors through its
//! teachers; neither students nor queues.

use std::path::{Path, PathBuf};

use lectern::{
    data::LabelError,
    models::{Arithmetic, Classifier as _, ModelError, Teacher, TokenBatch},
    text::{TextError, Tokenizer, Tokens},
    wire::{Encoding, Fingerprint, Limits, TeacherCard},
};
use tch::Device;

use super::{ServeConfig, ServeError, measure};

/// A teacher folder and its share in the mean.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelSource {
    /// Folder of the teacher.
    pub folder: PathBuf,
    /// Positive; only the ratio between members matters.
    pub weight: f64,
}

impl From<&Path> for ModelSource {
    fn from(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), weight: 1.0 }
    }
}

/// The model's answer to one example.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Values {
    /// `[C]` raw logits, the weighted mean over members.
    pub(super) logits: Vec<f32>,
    /// `[C]` weighted variance between members; `None` of a single one.
    pub(super) variance: Option<Vec<f32>>,
}

/// One member with what it takes to read its logits in the order of the first member's labels.
#[derive(Debug)]
struct Member {
    teacher: Teacher,
    /// Its share, all shares adding up to 1.
    weight: f64,
    /// `order[c]` is where this member has the first member's label `c`.
    order: Vec<usize>,
}

/// One copy of everything that is served, on one device.
#[derive(Debug)]
pub(super) struct Model {
    members: Vec<Member>,
    pinned: bool,
}

impl Model {
    /// Loads every member onto `device`.
    pub(super) fn load(config: &ServeConfig, device: Device) -> Result<Self, ServeError> {
        let total: f64 = config.models.iter().map(|source| source.weight).sum();
        let mut members: Vec<Member> = Vec::with_capacity(config.models.len());
        for source in &config.models {
            let teacher = Teacher::load_for_serving(&source.folder, device, config.arithmetic)?;
            let order = match members.first() {
                None => (0..teacher.labels().len()).collect(),
                Some(first) => order(&first.teacher, &teacher, &source.folder)?,
            };
            members.push(Member { teacher, weight: source.weight / total, order });
        }
        if members.is_empty() {
            return Err(ServeError::NoModel);
        }
        Ok(Self { members, pinned: config.pinned })
    }

    /// What students are told.
    pub(super) fn card(&self, limits: Limits) -> Result<TeacherCard, ServeError> {
        let teachers = || self.members.iter().map(|member| &member.teacher);
        let joined =
            |part: fn(&Teacher) -> String| teachers().map(part).collect::<Vec<_>>().join(" + ");
        let longest = teachers().map(|teacher| teacher.settings().max_length).max();
        let (task, labels) = self
            .members
            .first()
            .map(|first| {
                let labels = first.teacher.labels();
                (labels.task(), labels.names().to_vec())
            })
            .unwrap_or_default();
        Ok(TeacherCard {
            fingerprint: self.fingerprint()?,
            name: joined(Teacher::name),
            task,
            labels,
            architecture: joined(Teacher::architecture),
            parameters: teachers().map(|t| t.parameters().count() as u64).sum(),
            max_length: longest.unwrap_or_default(),
            arithmetic: self.arithmetic(),
            limits,
            encodings: Encoding::of_task(task),
            members: self.members.len(),
        })
    }

    /// All members compute in one type.
    fn arithmetic(&self) -> String {
        let kind = self.members.first().map_or(Arithmetic::Auto, |m| m.teacher.arithmetic());
        format!("{kind}{}", if self.pinned { ", pinned" } else { "" })
    }

    /// A single teacher's own fingerprint; of several, or pinned, the hash of all that makes the answer.
    fn fingerprint(&self) -> Result<Fingerprint, ModelError> {
        let prints = self
            .members
            .iter()
            .map(|member| member.teacher.fingerprint())
            .collect::<Result<Vec<_>, _>>()?;
        if let ([print], false) = (prints.as_slice(), self.pinned) {
            return Ok(print.clone());
        }
        let mut hasher = blake3::Hasher::new_derive_key("lectern.v1 served model");
        hasher.update(&[u8::from(self.pinned)]);
        for (member, print) in self.members.iter().zip(&prints) {
            hasher.update(print.as_str().as_bytes());
            hasher.update(&member.weight.to_le_bytes());
        }
        Ok(Fingerprint::from_hash(&hasher.finalize()))
    }

    /// The members' tokenizers.
    pub(super) fn reader(&self) -> Reader {
        Reader(self.members.iter().map(|member| member.teacher.tokenizer().clone()).collect())
    }

    /// One forward pass of every member over `batch`; an example is as many [`Tokens`] as there are
    /// members.
    pub(super) fn predict(&self, batch: &Prepared) -> Result<Vec<Values>, ModelError> {
        let rows = self
            .members
            .iter()
            .zip(&batch.members)
            .map(|(member, batch)| member.teacher.predict_batch(batch))
            .collect::<Result<Vec<_>, _>>()?;
        if let ([_], [_]) = (self.members.as_slice(), rows.as_slice()) {
            let values = |logits| Values { logits, variance: None };
            return Ok(rows.into_iter().flatten().map(values).collect());
        }
        Ok((0..batch.examples).map(|example| self.mean(&rows, example)).collect())
    }

    /// The weighted mean of one example's rows, and the weighted variance around it, in float64.
    fn mean(&self, rows: &[Vec<Vec<f32>>], example: usize) -> Values {
        let members = || self.members.iter().zip(rows.iter().map(|rows| &rows[example]));
        let logit = |member: &Member, row: &[f32], c: usize| f64::from(row[member.order[c]]);
        let classes = self.members.first().map_or(0, |first| first.order.len());
        let (logits, variance) = (0..classes)
            .map(|c| {
                let mean: f64 = members().map(|(m, row)| m.weight * logit(m, row, c)).sum();
                let variance: f64 =
                    members().map(|(m, row)| m.weight * (logit(m, row, c) - mean).powi(2)).sum();
                (mean as f32, variance as f32)
            })
            .unzip();
        Values { logits, variance: Some(variance) }
    }

    pub(super) fn is_on_gpu(&self) -> bool {
        self.members.iter().any(|member| member.teacher.device().is_cuda())
    }

    /// Operations of the matrix products of a forward pass over `batch`.
    pub(super) fn flops(&self, batch: &Prepared) -> f64 {
        let members = self.members.iter().zip(&batch.members);
        members.map(|(member, batch)| member.teacher.flops(batch)).sum()
    }

    /// An example of `length` tokens, or as many as the model takes.
    pub(super) fn made_up(&self, length: usize) -> Result<Box<[Tokens]>, ModelError> {
        let text = "warm ".repeat(length);
        let cut = |member: &Member| {
            let mut tokens = member.teacher.tokenizer().encode(&text, None)?;
            tokens.ids.truncate(length);
            tokens.type_ids.truncate(length);
            Ok(tokens)
        };
        self.members.iter().map(cut).collect()
    }

    /// One forward pass of two lengths, so that padding and masking are warm too.
    pub(super) fn warm_up(&self) -> Result<(), ModelError> {
        let (short, long) = (self.made_up(4)?, self.made_up(8)?);
        self.predict(&self.preparer().prepare(&[&short, &long])?).map(drop)
    }

    /// See [`measure::peak_flops`]; of the type of the activations.
    pub(super) fn peak_flops(&self) -> Result<f64, ModelError> {
        let first = self.members.first().map(|member| &member.teacher);
        let (device, arithmetic) = first.map_or((Device::Cpu, Arithmetic::Float32), |first| {
            (first.device(), first.arithmetic())
        });
        measure::peak_flops(device, arithmetic.kind())
    }

    /// Makes batches for this model, on any thread.
    pub(super) fn preparer(&self) -> Preparer {
        Preparer(self.members.iter().map(|member| member.teacher.device()).collect())
    }
}

/// Tokens to tensors; holds the device of each member.
#[derive(Debug)]
pub(super) struct Preparer(Vec<Device>);

impl Preparer {
    /// Tensors for one forward pass.
    pub(super) fn prepare(&self, examples: &[&[Tokens]]) -> Result<Prepared, ModelError> {
        let member = |(m, device): (usize, &Device)| {
            let tokens: Vec<_> = examples.iter().map(|example| &example[m]).collect();
            TokenBatch::new(&tokens, *device)
        };
        let members = self.0.iter().enumerate().map(member).collect::<Result<_, _>>()?;
        Ok(Prepared { members, examples: examples.len() })
    }
}

/// A batch as tensors, one for each member.
#[derive(Debug)]
pub(super) struct Prepared {
    members: Vec<TokenBatch>,
    examples: usize,
}

impl Prepared {
    /// Tokens of the batch, without padding, over all members.
    pub(super) fn tokens(&self) -> usize {
        self.members.iter().flat_map(|batch| &batch.lengths).sum()
    }

    /// Tokens of the batch, padding included, over all members.
    pub(super) fn padded_tokens(&self) -> usize {
        let width = |batch: &TokenBatch| batch.lengths.iter().max().copied().unwrap_or(0);
        self.members.iter().map(|batch| width(batch) * batch.lengths.len()).sum()
    }
}

/// Where `teacher`, the model in `folder`, has the labels of `first`.
fn order(first: &Teacher, teacher: &Teacher, folder: &Path) -> Result<Vec<usize>, ServeError> {
    let (wanted, found) = (first.labels(), teacher.labels());
    wanted.mapping_to(found).map_err(|cause| match cause {
        LabelError::Tasks { here, there } => {
            ServeError::Tasks { folder: folder.to_owned(), found: there, wanted: here }
        }
        _ => ServeError::Labels {
            folder: folder.to_owned(),
            found: found.names().to_vec(),
            wanted: wanted.names().to_vec(),
        },
    })
}

/// Text to tokens, for every member.
#[derive(Debug, Clone)]
pub(super) struct Reader(Vec<Tokenizer>);

impl Reader {
    pub(super) fn read(&self, text: &str, pair: Option<&str>) -> Result<Box<[Tokens]>, TextError> {
        self.0.iter().map(|tokenizer| tokenizer.encode(text, pair)).collect()
    }
}
