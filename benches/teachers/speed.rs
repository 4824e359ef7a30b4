//! Training steps on TNEWS headlines, ours and PyTorch's in turn; the ratio is of tokens a second, for the two sides'
//! batches are of similar lengths each in its own order.

use std::{path::Path, time::Instant};

use anyhow::Result;
use lectern::{
    data::{LabelSet, epoch_batches},
    models::{HeadKind, Pooling, Teacher, TeacherSettings, TokenBatch},
    text::Tokens,
    threads::Pair,
    training::{CrossEntropy, Halves, Optimizer, OptimizerKind, Step},
};
use serde_json::Value;
use tch::{Device, Tensor};

use crate::{
    common::{measure, median},
    pytorch::{Turn, Turns},
    tnews::{Row, Tnews},
};

/// As in the recipe.
const BATCH: usize = 32;
const DROPOUT: f64 = 0.1;
const LR: f64 = 1e-4;

pub(crate) fn run(
    encoder: &Path,
    data: &Tnews,
    python: &str,
    threads: usize,
    quick: bool,
) -> Result<Vec<Value>> {
    let (turns, steps) = if quick { (1, 3) } else { (7, 15) };
    let mut ours = Ours::new(encoder, data.rows()?, threads, steps)?;
    let mut theirs = Turns::start(python, encoder, data, threads, steps)?;
    // Warm-up.
    ours.turn()?;
    theirs.turn()?;
    let (mut rates, mut peer_rates) = (Vec::new(), Vec::new());
    for _ in 0..turns {
        let rate = |Turn(seconds, tokens)| tokens as f64 / seconds;
        rates.push(rate(ours.turn()?));
        peer_rates.push(rate(theirs.turn()?));
    }
    println!("tokens/s, ours {rates:.0?}, PyTorch {peer_rates:.0?}");
    let ratios: Vec<f64> = rates.iter().zip(&peer_rates).map(|(a, b)| a / b).collect();
    Ok(vec![
        measure("finetune_speed_vs_pytorch", median(&ratios), "ratio", Some(1.3)),
        measure("finetune_tokens_per_second", median(&rates), "tokens/s", None),
        measure("pytorch_tokens_per_second", median(&peer_rates), "tokens/s", None),
    ])
}

/// The steps of `teacher-server finetune` on an encoder whose word embeddings are frozen.
struct Ours {
    teacher: Teacher,
    optimizer: Optimizer,
    pair: Pair,
    rows: Vec<Row>,
    tokens: Vec<Tokens>,
    batches: Vec<Vec<usize>>,
    steps: usize,
    next: usize,
}

impl Ours {
    fn new(encoder: &Path, rows: Vec<Row>, threads: usize, steps: usize) -> Result<Self> {
        tch::manual_seed(1);
        let classes = rows.iter().map(|row| row.label).max().unwrap_or(0) + 1;
        let labels = LabelSet::new((0..classes).map(|class| class.to_string()).collect())?;
        let head = HeadKind::Linear { pooling: Pooling::Mean };
        let settings = TeacherSettings { head, max_length: 128 };
        let teacher = Teacher::from_encoder(encoder, labels, settings, Device::Cpu)?;
        let table = teacher.word_table();
        teacher.parameters().set_trainable(|name| name != table)?;
        let kind = OptimizerKind::AdamW { weight_decay: 0.01 };
        let optimizer = Optimizer::new(kind, teacher.parameters().iter());
        let tokens = rows
            .iter()
            .map(|row| teacher.tokenizer().encode(&row.text, None))
            .collect::<Result<Vec<_>, _>>()?;
        let lengths: Vec<usize> = tokens.iter().map(Tokens::len).collect();
        let batches = epoch_batches(&lengths, BATCH, 1, 1);
        let pair = Pair::hire(threads as i32);
        Ok(Self { teacher, optimizer, pair, rows, tokens, batches, steps, next: 0 })
    }

    fn turn(&mut self) -> Result<Turn> {
        let (start, mut count) = (Instant::now(), 0);
        for _ in 0..self.steps {
            let batch = &self.batches[self.next % self.batches.len()];
            self.next += 1;
            let examples = batch.len() as f64;
            let job = |rows: Vec<usize>| {
                let tokens: Vec<_> = rows.iter().map(|&i| &self.tokens[i]).collect();
                let labels: Vec<i64> = rows.iter().map(|&i| self.rows[i].label as i64).collect();
                let (teacher, tokens) =
                    (self.teacher.clone(), TokenBatch::new(&tokens, Device::Cpu)?);
                Ok::<_, anyhow::Error>(move || {
                    let labels = Tensor::f_from_slice(&labels)?;
                    let sum = CrossEntropy::new(None, 0.0, Device::Cpu)?
                        .sum(&teacher.forward(&tokens, DROPOUT)?, &labels)?;
                    Ok::<_, anyhow::Error>(sum.f_div_scalar(examples)?)
                })
            };
            let parts = [Halves::of(&self.pair, batch, job)];
            let seed = (1, self.next);
            let step = Step::sum_of_halves(&self.optimizer, &self.pair, parts, seed, 1.0)?;
            self.optimizer.step(&step.gradients, LR)?;
            count += batch.iter().map(|&i| self.tokens[i].len()).sum::<usize>();
        }
        Ok(Turn(start.elapsed().as_secs_f64(), count))
    }
}
