//! What every model of text can do, and how many texts are labelled with little padding.

use tch::{Device, Kind, Tensor};

use super::{ModelError, TokenBatch};
use crate::{
    data::{LabelSet, Target, Task},
    text::{TextError, Tokens},
};

/// Tokens of one forward pass on a GPU.
pub(super) const GPU_BATCH_TOKENS: usize = 16_384;

/// A model from text to one raw output for each label, or one number.
pub trait Classifier {
    /// The task and the labels; logit `c` belongs to label `c`.
    fn labels(&self) -> &LabelSet;
    /// An example as the model reads it.
    fn encode(&self, text: &str, text_pair: Option<&str>) -> Result<Tokens, TextError>;
    /// Number of trained values.
    fn parameter_count(&self) -> usize;
    /// Where the parameters lie.
    fn device(&self) -> Device;
    /// Tokens of one forward pass, padding included, at which many texts are labelled fastest. On a CPU 512 of a
    /// Transformer use the cores fully, and what passes between two operations stays in their caches; 2,048 cost
    /// BERT-base a tenth to a third. A GPU wants thousands, or it waits for its orders.
    fn batch_tokens(&self) -> usize {
        if self.device().is_cuda() { GPU_BATCH_TOKENS } else { 512 }
    }
    /// `[B, C]` raw logits, without dropout.
    fn logits(&self, batch: &TokenBatch) -> Result<Tensor, ModelError>;

    /// One forward pass outside autograd: `B` rows of `C` logits on the CPU.
    fn predict(&self, examples: &[&Tokens]) -> Result<Vec<Vec<f32>>, ModelError> {
        self.predict_batch(&TokenBatch::new(examples, self.device())?)
    }

    /// [`predict`](Self::predict) of a batch that was prepared elsewhere.
    fn predict_batch(&self, batch: &TokenBatch) -> Result<Vec<Vec<f32>>, ModelError> {
        let _no_grad = tch::no_grad_guard();
        rows(&self.logits(batch)?)
    }
}

/// `[B, C]` on any device to `B` rows of `C` on the CPU.
pub fn rows(logits: &Tensor) -> Result<Vec<Vec<f32>>, ModelError> {
    let (examples, classes) = logits.size2()?;
    let logits = logits.f_to_device(Device::Cpu)?.f_to_kind(Kind::Float)?.f_contiguous()?;
    let mut values = vec![0f32; (examples * classes) as usize];
    logits.f_copy_data(&mut values, (examples * classes) as usize)?;
    Ok(values.chunks_exact(classes as usize).map(<[f32]>::to_vec).collect())
}

impl<M: Classifier + ?Sized> Classifier for Box<M> {
    fn labels(&self) -> &LabelSet {
        (**self).labels()
    }

    fn encode(&self, text: &str, text_pair: Option<&str>) -> Result<Tokens, TextError> {
        (**self).encode(text, text_pair)
    }

    fn parameter_count(&self) -> usize {
        (**self).parameter_count()
    }

    fn device(&self) -> Device {
        (**self).device()
    }

    fn batch_tokens(&self) -> usize {
        (**self).batch_tokens()
    }

    fn logits(&self, batch: &TokenBatch) -> Result<Tensor, ModelError> {
        (**self).logits(batch)
    }

    fn predict(&self, examples: &[&Tokens]) -> Result<Vec<Vec<f32>>, ModelError> {
        (**self).predict(examples)
    }

    fn predict_batch(&self, batch: &TokenBatch) -> Result<Vec<Vec<f32>>, ModelError> {
        (**self).predict_batch(batch)
    }
}

/// A model's answer to one text.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// `[C]` raw logits.
    pub logits: Vec<f32>,
    /// The text was longer than the model takes.
    pub truncated: bool,
}

impl Prediction {
    /// What the logits say: the most probable label; every label whose own probability is above one half,
    /// which is where its logit is above 0; or the number itself.
    pub fn target(&self, task: Task) -> Target {
        match task {
            Task::SingleLabel => Target::Label(self.label()),
            Task::MultiLabel => {
                let logits = self.logits.iter().enumerate();
                let applies = logits.filter_map(|(class, &logit)| (logit > 0.0).then_some(class));
                Target::Labels(applies.collect())
            }
            Task::Regression => Target::Value(self.logits.first().copied().unwrap_or_default()),
        }
    }

    /// Index of the largest logit, the first of equals.
    pub fn label(&self) -> usize {
        let mut best = 0;
        for (class, logit) in self.logits.iter().enumerate() {
            if *logit > self.logits[best] {
                best = class;
            }
        }
        best
    }
}

/// Labels `texts` in batches of similar length; answers stand in the order of the texts.
pub fn classify<'a>(
    model: &dyn Classifier,
    texts: impl Iterator<Item = (&'a str, Option<&'a str>)>,
) -> Result<Vec<Prediction>, ModelError> {
    let tokens =
        texts.map(|(text, pair)| model.encode(text, pair)).collect::<Result<Vec<_>, _>>()?;
    let mut order: Vec<usize> = (0..tokens.len()).collect();
    order.sort_by_key(|&i| tokens[i].len());

    let batch_tokens = model.batch_tokens();
    let mut answers = vec![None; tokens.len()];
    let mut rest = order.as_slice();
    while !rest.is_empty() {
        // Sorted, so the last of a batch is its longest.
        let fits = |n: &usize| n * tokens[rest[n - 1]].len() <= batch_tokens;
        let size = (1..=rest.len()).take_while(fits).last().unwrap_or(1);
        let (batch, later) = rest.split_at(size);
        let rows = model.predict(&batch.iter().map(|&i| &tokens[i]).collect::<Vec<_>>())?;
        for (&i, logits) in batch.iter().zip(rows) {
            answers[i] = Some(Prediction { logits, truncated: tokens[i].truncated });
        }
        rest = later;
    }
    Ok(answers.into_iter().flatten().collect())
}

/// `exp(z_c) / Σ exp(z)`, computed in float64 from the largest down so that nothing overflows.
pub fn softmax(logits: &[f32]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exponentials: Vec<f64> = logits.iter().map(|z| f64::from(z - largest).exp()).collect();
    let sum: f64 = exponentials.iter().sum();
    exponentials.into_iter().map(|e| e / sum).collect()
}

/// `1 / (1 + exp(-z))` of each logit, in float64.
pub fn sigmoid(logits: &[f32]) -> Vec<f64> {
    logits.iter().map(|&z| 1.0 / (1.0 + f64::from(-z).exp())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logits_become_answers_as_the_task_reads_them() {
        let prediction = Prediction { logits: vec![-0.5, 2.0, 0.25], truncated: false };
        assert_eq!(prediction.target(Task::SingleLabel), Target::Label(1));
        assert_eq!(prediction.target(Task::MultiLabel), Target::Labels(vec![1, 2]));
        assert_eq!(prediction.target(Task::Regression), Target::Value(-0.5));
        let probabilities = sigmoid(&[0.0, 3f32.ln(), -800.0]);
        // 1/2, 3/4, and no overflow.
        for (found, expected) in probabilities.iter().zip([0.5, 0.75, 0.0]) {
            assert!((found - expected).abs() < 1e-7, "{probabilities:?}");
        }
    }
}
