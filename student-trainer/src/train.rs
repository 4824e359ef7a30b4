//! The training loop. Knows no network: rows come from [`SoftLabels`], batch by batch.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use lectern::{
    commands::{Progress, judge, write_report},
    metrics::Mean,
    models::{BEST_WEIGHTS, LAST_WEIGHTS, Student, TokenBatch},
    training::{HardTargets, Optimizer, SoftTargets, clip_by_norm},
};
use serde_json::{Value, json};
use tch::{Device, Tensor};
use tracing::info;

use crate::{
    config::{OnMissing, TrainConfig},
    labels::{Outcome, SoftLabels},
    prepare::{Prepared, prepare},
    run_folder::RunFolder,
    source::no_soft_label,
    student::Coverage,
};

/// What a run came to; `summary.json` of the run folder.
#[derive(Debug, Clone)]
pub struct Summary(pub Value);

/// Trains one student as configured and leaves a complete run folder.
pub fn train(config: &TrainConfig, device: Device) -> anyhow::Result<Summary> {
    let mut prepared = prepare(config)?;
    let soft = prepared.soft.take();
    let mut folder = RunFolder::create(config, &prepared.objective, prepared.card.as_ref())?;
    tch::manual_seed(config.seed.into());
    let student = Student::initialised(
        prepared.model.clone(),
        prepared.data.labels.clone(),
        prepared.tokenizer.clone(),
        prepared.initial.shallow_clone(),
        device,
    )?;
    student.save_description(folder.path())?;
    info!(
        run = config.name,
        student = ?config.student,
        parameters = student.parameters().count(),
        vocabulary = prepared.tokenizer.vocabulary_size(),
        train = prepared.data.train.len(),
        task = %prepared.objective.task,
        labels = ?prepared.data.labels.names(),
        loss = ?prepared.objective.loss,
        teacher = prepared.card.as_ref().map(|card| card.fingerprint.short()),
        "training"
    );
    let mut run = Run::start(config, &prepared, soft, &student, device)?;
    run.train(&mut folder)?;
    finish(config, &prepared, &run, &folder, device)
}

/// Loads what is on disk, judges that, and writes reports and summary.
fn finish(
    config: &TrainConfig,
    prepared: &Prepared,
    run: &Run<'_>,
    folder: &RunFolder,
    device: Device,
) -> anyhow::Result<Summary> {
    let best = Student::load(folder.path(), device)?;
    let mut scores = serde_json::Map::new();
    let sets = [("dev", Some(&prepared.data.dev)), ("test", prepared.data.test.as_ref())];
    for (name, examples) in sets {
        let score = match examples {
            None => Value::Null,
            Some(examples) => {
                let evaluation = judge(&best, examples)?;
                evaluation.say_truncated(name);
                write_report(folder.path(), name, &evaluation.report)
                    .with_context(|| format!("cannot write the {name} report"))?;
                evaluation.report.scores_json()
            }
        };
        scores.insert(name.to_owned(), score);
    }
    let seconds = run.trained.as_secs_f64();
    let stream = run.soft.as_ref().map(SoftLabels::metrics);
    let summary = json!({
        "name": config.name,
        "task": prepared.objective.task,
        "best_epoch": run.best.map(|(_, epoch)| epoch),
        "dev": scores["dev"],
        "test": scores["test"],
        "parameters": best.parameters().count(),
        "word_vectors": prepared.coverage.map(Coverage::to_json),
        "wait_share": run.wait_share(),
        "train_seconds": seconds,
        "examples_per_second": run.examples as f64 / seconds.max(1e-9),
        "trained_without_soft_label": run.without_soft_label,
        "left_out": run.left_out,
        "stream": stream.map(|m| json!({
            "asked": m.asked, "answered": m.answered, "from_memory": m.from_memory,
            "from_file": m.from_file, "joined": m.joined, "truncated": m.truncated, "missing": m.missing,
            "reconnects": m.reconnects,
        })),
    });
    folder.write_json("summary.json", &summary)?;
    info!(
        best_epoch = %summary["best_epoch"],
        dev = %summary["dev"],
        test = %summary["test"],
        wait_share = %summary["wait_share"],
        folder = %folder.path().display(),
        "run complete"
    );
    Ok(Summary(summary))
}

/// A run under way.
struct Run<'a> {
    config: &'a TrainConfig,
    prepared: &'a Prepared,
    student: &'a Student,
    device: Device,
    optimizer: Optimizer,
    soft: Option<SoftLabels>,
    best: Option<(f64, usize)>,
    step: usize,
    examples: usize,
    without_soft_label: usize,
    left_out: usize,
    /// Time in training steps, waiting included, evaluation not.
    trained: Duration,
}

impl<'a> Run<'a> {
    fn start(
        config: &'a TrainConfig,
        prepared: &'a Prepared,
        soft: Option<SoftLabels>,
        student: &'a Student,
        device: Device,
    ) -> anyhow::Result<Self> {
        student.parameters().set_trainable(|_| true)?;
        Ok(Self {
            optimizer: Optimizer::new(config.optimizer, student.parameters().iter()),
            soft,
            config,
            prepared,
            student,
            device,
            best: None,
            step: 0,
            examples: 0,
            without_soft_label: 0,
            left_out: 0,
            trained: Duration::ZERO,
        })
    }

    fn wait_share(&self) -> f64 {
        let waited = self.soft.as_ref().map_or(Duration::ZERO, SoftLabels::waited);
        waited.as_secs_f64() / self.trained.as_secs_f64().max(1e-9)
    }

    fn train(&mut self, folder: &mut RunFolder) -> anyhow::Result<()> {
        for epoch in 1..=self.config.epochs {
            let start = Instant::now();
            let loss = self.epoch(epoch)?;
            let took = start.elapsed();
            self.trained += took;
            let dev = judge(self.student, &self.prepared.data.dev)?;
            let score = dev.report.score();
            let better = self.best.is_none_or(|(before, _)| score > before);
            if better {
                self.best = Some((score, epoch));
                self.student.save_weights(folder.path(), BEST_WEIGHTS)?;
            }
            self.student.save_weights(folder.path(), LAST_WEIGHTS)?;
            let mut metrics = json!({
                "epoch": epoch,
                "step": self.step,
                "train_loss": loss,
                "dev_loss": dev.loss,
                "best": better,
                "seconds": took.as_secs_f64(),
                "examples": self.examples,
                "wait_share": self.wait_share(),
                "trained_without_soft_label": self.without_soft_label,
                "left_out": self.left_out,
            });
            for (name, score) in dev.report.scores() {
                metrics[format!("dev_{name}")] = score.into();
            }
            folder.record(&metrics)?;
            let scores = dev.report.summary();
            info!(epoch, loss, dev_loss = dev.loss, dev = scores, better, "epoch done");
            let since = self.best.map_or(0, |(_, best)| epoch - best);
            if self.config.patience.is_some_and(|patience| since >= patience) {
                info!(since, "no better on dev; stopping early");
                break;
            }
        }
        Ok(())
    }

    /// One pass over the training examples; the mean loss.
    fn epoch(&mut self, epoch: usize) -> anyhow::Result<f64> {
        let batches = self.config.batches(&self.prepared.lengths, epoch);
        let mut progress =
            Progress::new(format!("epoch {epoch}/{}", self.config.epochs), batches.len());
        let mut mean = Mean::default();
        for batch in batches {
            let rows = self.soft.as_mut().map(SoftLabels::next_batch).transpose()?;
            let Some(batch) = self.apply_policy(batch, rows)? else { continue };
            let (loss, examples) = self.step(epoch, &batch)?;
            mean.add(loss * examples as f64, examples);
            progress.step(|| format!("loss {:.4}", mean.value()));
        }
        Ok(mean.value())
    }

    /// Decides what happens to examples without a row; `None` when none is left to train on.
    fn apply_policy(
        &mut self,
        batch: Vec<usize>,
        rows: Option<Vec<Outcome>>,
    ) -> anyhow::Result<Option<LabelledBatch>> {
        let Some(rows) = rows else {
            let rows = vec![None; batch.len()];
            return Ok(Some(LabelledBatch { examples: batch, rows }));
        };
        ensure!(rows.len() == batch.len(), "{} rows for {} examples", rows.len(), batch.len());
        let mut labelled = LabelledBatch { examples: Vec::new(), rows: Vec::new() };
        for (example, outcome) in batch.into_iter().zip(rows) {
            match (outcome, self.config.on_missing) {
                (Ok(row), _) => labelled.push(example, Some(row)),
                (Err(_), OnMissing::Skip) => self.left_out += 1,
                (Err(_), OnMissing::HardOnly) => {
                    self.without_soft_label += 1;
                    labelled.push(example, None);
                }
                (Err(missing), OnMissing::Wait) => {
                    let text = &self.prepared.data.train[example].text;
                    return Err(no_soft_label(example, text, &missing));
                }
            }
        }
        Ok((!labelled.examples.is_empty()).then_some(labelled))
    }

    /// One update; the batch's loss and size.
    fn step(&mut self, epoch: usize, batch: &LabelledBatch) -> anyhow::Result<(f64, usize)> {
        let tokens: Vec<_> =
            batch.examples.iter().map(|&i| &self.prepared.train_tokens[i]).collect();
        let data = &self.prepared.data;
        let targets = batch.examples.iter().filter_map(|&i| data.train[i].target.as_ref());
        let hard = HardTargets::new(&data.labels, targets, self.device)?;
        let soft = batch.soft_targets(data.labels.len(), self.device)?;
        let logits = self.student.forward(&TokenBatch::new(&tokens, self.device)?)?;
        let loss = self.prepared.objective.loss.value(&logits, &hard, soft.as_ref())?;
        let gradients = self.optimizer.gradients(&loss)?;
        let norm = clip_by_norm(&gradients, self.config.clip_norm)?;
        let loss = loss.f_double_value(&[])?;
        self.step += 1;
        ensure!(
            loss.is_finite() && norm.is_finite(),
            "epoch {epoch}, step {}: loss {loss} and gradient norm {norm} are not both finite; lower \
             --lr (the weights of earlier epochs are kept)",
            self.step
        );
        self.optimizer.step(&gradients, self.config.lr)?;
        self.examples += batch.examples.len();
        Ok((loss, batch.examples.len()))
    }
}

/// A batch after the policy: training examples by index, each with its row or without.
struct LabelledBatch {
    examples: Vec<usize>,
    rows: Vec<Option<Arc<[f32]>>>,
}

impl LabelledBatch {
    fn push(&mut self, example: usize, row: Option<Arc<[f32]>>) {
        self.examples.push(example);
        self.rows.push(row);
    }

    /// `[S, C]` of the examples that have a row, and which ones they are; `None` without any.
    fn soft_targets(&self, classes: usize, device: Device) -> anyhow::Result<Option<SoftTargets>> {
        let present: Vec<_> =
            self.rows.iter().enumerate().filter_map(|(i, row)| Some((i, row.as_ref()?))).collect();
        if present.is_empty() {
            return Ok(None);
        }
        let values: Vec<f32> = present.iter().flat_map(|(_, row)| row.iter().copied()).collect();
        let logits = Tensor::f_from_slice(&values)?
            .f_view([present.len() as i64, classes as i64])?
            .f_to_device(device)?;
        let positions = if present.len() == self.rows.len() {
            None
        } else {
            let positions: Vec<i64> = present.iter().map(|&(i, _)| i as i64).collect();
            Some(Tensor::f_from_slice(&positions)?.f_to_device(device)?)
        };
        Ok(Some(SoftTargets { logits, positions }))
    }
}
