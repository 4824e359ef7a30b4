//! The training step of the original's BiLSTM on headlines, ours against PyTorch's as the original runs it: padded to 50,
//! dense SGD over an embedding of 21,128 rows. Same batches, sizes, loss and threads.

use std::{collections::HashSet, fs, time::Instant};

use anyhow::Result;
use lectern::{
    data::{LabelSet, Target, epoch_batches},
    models::{Builder, Parameters, TokenBatch, bilstm::BiLstm, bilstm::BiLstmConfig},
    text::Tokens,
    training::{HardTargets, Loss, Optimizer, OptimizerKind, SoftTargets},
};
use serde_json::Value;
use tch::{Device, Kind, Tensor};

use crate::{
    common::{self, measure, median},
    frequencies::headline_token,
    lengths::{headline_lengths, scramble},
    peer::PyTorch,
};

const VOCABULARY: i64 = 21_128;
const CLASSES: i64 = 5;
const BATCH: usize = 64;
/// Special tokens as BERT's vocabularies number them, and the ids before any word.
const FIRST: i64 = 101;
const LAST: i64 = 102;
const UNUSED: i64 = 106;
/// Steps in one turn, and turns of each side, taken alternately.
const STEPS: usize = 20;
const TURNS: usize = 7;

pub(crate) fn run(python: &str, threads: usize, quick: bool) -> Result<Vec<Value>> {
    let turns = if quick { 1 } else { TURNS };
    let mut ours = Ours::new()?;
    let batches = common::folder().join("step_batches.json");
    fs::write(&batches, serde_json::to_vec(&ours.ids())?)?;
    let mut arguments = vec![batches.display().to_string()];
    arguments.extend([threads, STEPS].map(|n| n.to_string()));
    let mut theirs = PyTorch::start(python, "bilstm_step.py", &arguments)?;
    // Warm-up.
    ours.turn()?;
    theirs.turn()?;
    let (mut rates, mut peer_rates) = (Vec::new(), Vec::new());
    for _ in 0..turns {
        rates.push(ours.turn()?);
        peer_rates.push(STEPS as f64 / theirs.turn()?);
    }
    let ratios: Vec<f64> = rates.iter().zip(&peer_rates).map(|(a, b)| a / b).collect();
    println!("{:.0} % of a batch's tokens are distinct", 100.0 * ours.distinct());
    println!("steps/s, ours {rates:.2?}, PyTorch padded to 50 {peer_rates:.2?}");
    Ok(vec![
        measure("bilstm_step_vs_pytorch", median(&ratios), "ratio", Some(3.0)),
        measure("bilstm_steps_per_second", median(&rates), "steps/s", None),
        measure("pytorch_steps_per_second", median(&peer_rates), "steps/s", None),
    ])
}

/// Our student on length-bucketed batches, padded to the longest of each.
struct Ours {
    model: BiLstm,
    _parameters: Parameters,
    optimizer: Optimizer,
    examples: Vec<Tokens>,
    batches: Vec<Vec<usize>>,
    next: usize,
}

impl Ours {
    fn new() -> Result<Self> {
        tch::manual_seed(1);
        let builder = Builder::fresh(Device::Cpu);
        let config = BiLstmConfig::original(VOCABULARY);
        let model = BiLstm::new(&builder, config, CLASSES as usize, true)?;
        let parameters = builder.finish()?;
        parameters.set_trainable(|_| true)?;
        let sgd = OptimizerKind::Sgd { momentum: 0.0 };
        let optimizer = Optimizer::new(sgd, parameters.iter());
        // The original's tokenizer puts a special token before and one after.
        let lengths: Vec<usize> = headline_lengths(BATCH * 200).iter().map(|n| n + 2).collect();
        let id = |i: usize, t: usize| match t {
            0 => FIRST,
            _ if t + 1 == lengths[i] => LAST,
            _ => UNUSED + headline_token(scramble((i * 64 + t) as u64)) as i64,
        };
        let examples = lengths
            .iter()
            .enumerate()
            .map(|(i, &length)| Tokens {
                ids: (0..length).map(|t| id(i, t)).collect(),
                type_ids: vec![0; length],
                truncated: false,
            })
            .collect();
        let batches = epoch_batches(&lengths, BATCH, 1, 1);
        Ok(Self { model, _parameters: parameters, optimizer, examples, batches, next: 0 })
    }

    /// The tokens of all batches.
    fn ids(&self) -> Vec<Vec<&[i64]>> {
        let ids = |batch: &Vec<usize>| batch.iter().map(|&i| &*self.examples[i].ids).collect();
        self.batches.iter().map(ids).collect()
    }

    /// Mean share of a batch's tokens that are distinct.
    fn distinct(&self) -> f64 {
        let share = |batch: &Vec<&[i64]>| {
            let all = || batch.iter().copied().flatten();
            all().collect::<HashSet<_>>().len() as f64 / all().count() as f64
        };
        self.ids().iter().map(share).sum::<f64>() / self.batches.len() as f64
    }

    /// Steps a second over one turn.
    fn turn(&mut self) -> Result<f64> {
        let loss = Loss::ce_mse(1.0, 2.0);
        let labels = LabelSet::new((0..CLASSES).map(|class| class.to_string()).collect())?;
        let _threads = self.model.step_threads();
        let start = Instant::now();
        for _ in 0..STEPS {
            let batch = &self.batches[self.next % self.batches.len()];
            self.next += 1;
            let tokens: Vec<_> = batch.iter().map(|&i| &self.examples[i]).collect();
            let target = |&i: &usize| Target::Label(i % CLASSES as usize);
            let targets: Vec<_> = batch.iter().map(target).collect();
            let hard = HardTargets::new(&labels, targets.iter().map(Some), Device::Cpu)?;
            let logits = Tensor::zeros([batch.len() as i64, CLASSES], (Kind::Float, Device::Cpu));
            let soft = SoftTargets { logits, positions: None };
            let output = self.model.traced(&TokenBatch::new(&tokens, Device::Cpu)?)?;
            let loss = output.map(|output| loss.value(output, &hard, Some(&soft), 0.0))?;
            let gradients = self.optimizer.gradients(loss)?;
            self.optimizer.step(&gradients, 0.05)?;
        }
        Ok(STEPS as f64 / start.elapsed().as_secs_f64())
    }
}
