//! What is served: one model, or several whose weighted mean is the answer. Knows tensors through its
//! members; neither students nor queues.

use std::{path::Path, sync::Arc};

use lectern::{
    data::LabelError,
    models::{
        Arithmetic, Classifier, ModelError, ModelFiles, Reader as ReadsText, ServedModel,
        TokenBatch,
    },
    text::{TextError, Tokens},
    wire::{Encoding, Fingerprint, Limits, TeacherCard},
};
use tch::Device;

use super::{ServeConfig, ServeError, measure};

/// A model's files and its share in the mean.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelSource {
    /// What is loaded.
    pub files: ModelFiles,
    /// Positive; only the ratio between members matters.
    pub weight: f64,
}

impl From<&Path> for ModelSource {
    fn from(folder: &Path) -> Self {
        Self { files: folder.into(), weight: 1.0 }
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
    model: Box<dyn ServedModel>,
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

/// Forward passes one after the other, and the threads of each.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) model: Model,
    pub(super) threads: usize,
}

impl Model {
    /// Loads every member onto `device`.
    pub(super) fn load(config: &ServeConfig, device: Device) -> Result<Self, ServeError> {
        let total: f64 = config.models.iter().map(|source| source.weight).sum();
        let mut members: Vec<Member> = Vec::with_capacity(config.models.len());
        for source in &config.models {
            let model = source.files.load(device, config.arithmetic)?;
            let order = match members.first() {
                None => (0..model.labels().len()).collect(),
                Some(first) => order(&*first.model, &*model, source.files.path())?,
            };
            members.push(Member { model, weight: source.weight / total, order });
        }
        if members.is_empty() {
            return Err(ServeError::NoModel);
        }
        Ok(Self { members, pinned: config.pinned })
    }

    /// What computes on a CPU's `threads`: the model once for each of them, in the same memory, and every forward
    /// pass on a single thread. Passes beside each other wait for nobody; a pass on several threads waits after each of
    /// its operations for the slowest of them (`docs/FORWARD.md`). On a GPU, or if a member cannot be shared, the
    /// model once, with all threads.
    pub(super) fn lanes(self, threads: usize) -> Vec<Lane> {
        let others =
            if self.is_on_gpu() { None } else { (1..threads).map(|_| self.another()).collect() };
        match others {
            None => vec![Lane { model: self, threads }],
            Some(others) => {
                let models: Vec<Self> = others;
                models.into_iter().chain([self]).map(|model| Lane { model, threads: 1 }).collect()
            }
        }
    }

    fn another(&self) -> Option<Self> {
        let member = |member: &Member| {
            let order = member.order.clone();
            Some(Member { model: member.model.another()?, weight: member.weight, order })
        };
        let members = self.members.iter().map(member).collect::<Option<_>>()?;
        Some(Self { members, pinned: self.pinned })
    }

    /// What students are told.
    pub(super) fn card(&self, limits: Limits) -> Result<TeacherCard, ServeError> {
        let models = || self.members.iter().map(|member| &*member.model);
        let joined = |part: fn(&dyn ServedModel) -> String| {
            models().map(part).collect::<Vec<_>>().join(" + ")
        };
        let longest = models().map(ServedModel::max_length).max();
        let labels = models().next().map(Classifier::labels);
        let (task, labels) =
            labels.map(|labels| (labels.task(), labels.names().to_vec())).unwrap_or_default();
        let mut masks = models().map(ServedModel::mask_token);
        let mask = masks.next().flatten().filter(|&mask| masks.all(|other| other == Some(mask)));
        Ok(TeacherCard {
            fingerprint: self.fingerprint()?,
            name: joined(|model| model.name()),
            task,
            labels,
            architecture: joined(|model| model.architecture()),
            parameters: models().map(|model| model.parameter_count() as u64).sum(),
            max_length: longest.unwrap_or_default(),
            arithmetic: self.arithmetic(),
            limits,
            encodings: Encoding::of_task(task),
            members: self.members.len(),
            mask_token: mask.map(str::to_owned),
        })
    }

    /// The type that all members compute in, or each member's where they differ.
    fn arithmetic(&self) -> String {
        let mut kinds: Vec<_> =
            self.members.iter().map(|member| member.model.arithmetic().to_string()).collect();
        if kinds.iter().all(|kind| *kind == kinds[0]) {
            kinds.truncate(1);
        }
        format!("{}{}", kinds.join(" + "), if self.pinned { ", pinned" } else { "" })
    }

    /// A single teacher's own fingerprint; of several, or pinned, the hash of all that makes the answer.
    fn fingerprint(&self) -> Result<Fingerprint, ModelError> {
        let prints = self
            .members
            .iter()
            .map(|member| member.model.fingerprint())
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

    /// What reads text for each member.
    pub(super) fn reader(&self) -> Reader {
        Reader(self.members.iter().map(|member| member.model.reader()).collect())
    }

    /// One forward pass of every member over `batch`; an example is as many [`Tokens`] as there are
    /// members.
    pub(super) fn predict(&self, batch: &Prepared) -> Result<Vec<Values>, ModelError> {
        let rows = self
            .members
            .iter()
            .zip(&batch.members)
            .map(|(member, batch)| member.model.predict_batch(batch))
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
        self.members.iter().any(|member| member.model.device().is_cuda())
    }

    /// Operations of the matrix products of a forward pass over `batch`.
    pub(super) fn flops(&self, batch: &Prepared) -> f64 {
        let members = self.members.iter().zip(&batch.members);
        members.map(|(member, batch)| member.model.flops(batch)).sum()
    }

    /// An example of `length` tokens, or as many as the model takes.
    pub(super) fn made_up(&self, length: usize) -> Result<Box<[Tokens]>, TextError> {
        self.members.iter().map(|member| member.model.made_up(length)).collect()
    }

    /// See [`measure::peak_flops`]; of the type of the activations.
    pub(super) fn peak_flops(&self) -> Result<f64, ModelError> {
        let first = self.members.first().map(|member| &member.model);
        let (device, arithmetic) = first.map_or((Device::Cpu, Arithmetic::Float32), |first| {
            (first.device(), first.arithmetic())
        });
        measure::peak_flops(device, arithmetic.kind())
    }

    /// Makes batches for this model, on any thread.
    pub(super) fn preparer(&self) -> Preparer {
        Preparer(self.members.iter().map(|member| member.model.device()).collect())
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

/// Where `model`, which was loaded from `path`, has the labels of `first`.
fn order(
    first: &dyn ServedModel,
    model: &dyn ServedModel,
    path: &Path,
) -> Result<Vec<usize>, ServeError> {
    let (wanted, found) = (first.labels(), model.labels());
    wanted.mapping_to(found).map_err(|cause| match cause {
        LabelError::Tasks { here, there } => {
            ServeError::Tasks { path: path.to_owned(), found: there, wanted: here }
        }
        _ => ServeError::Labels {
            path: path.to_owned(),
            found: found.names().to_vec(),
            wanted: wanted.names().to_vec(),
        },
    })
}

/// Text to tokens, for every member.
#[derive(Debug, Clone)]
pub(super) struct Reader(Vec<Arc<dyn ReadsText>>);

impl Reader {
    pub(super) fn read(&self, text: &str, pair: Option<&str>) -> Result<Box<[Tokens]>, TextError> {
        self.0.iter().map(|member| member.read(text, pair)).collect()
    }
}

#[cfg(test)]
mod tests {
    use lectern::models::TorchScriptFiles;

    use super::*;

    fn lanes(files: ModelFiles) -> Vec<usize> {
        let models = vec![ModelSource { files, weight: 1.0 }];
        let config = ServeConfig { models, ..ServeConfig::new(Path::new("")) };
        let lanes = Model::load(&config, Device::Cpu).unwrap().lanes(3);
        lanes.iter().map(|lane| lane.threads).collect()
    }

    #[test]
    fn each_thread_has_a_pass_of_its_own_where_a_model_can_be_shared() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures");
        let folder = fixtures.join("bert/with_pooler");
        assert_eq!(lanes(folder.as_path().into()), [1, 1, 1]);
        let module = TorchScriptFiles {
            module: fixtures.join("torchscript/bert.pt"),
            tokenizer: folder,
            labels: fixtures.join("torchscript/labels.txt"),
            max_length: None,
        };
        assert_eq!(lanes(ModelFiles::TorchScript(module)), [3]);
    }
}
