//! The training loop. Knows no network: rows come from [`Teachers`], batch by batch.

mod batch;
mod state;

use std::time::Instant;

use anyhow::{Context as _, ensure};
use lectern::{
    commands::{Evaluation, MetricsFile, Progress, judge},
    models::{BEST_WEIGHTS, LAST_WEIGHTS, Student, TokenBatch},
    text::Tokens,
    traced::Traced,
    training::{Checkpoint, HardTargets, Optimizer, Schedule, Step, progress},
};
use serde_json::json;
use tch::Device;
use tracing::info;

use self::batch::LabelledBatch;
pub(crate) use self::state::State;
use crate::{
    config::TrainConfig,
    prepare::Prepared,
    source::no_soft_label,
    teachers::{Ready, Teachers},
};

/// A run under way.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    config: &'a TrainConfig,
    prepared: &'a Prepared,
    student: &'a Student,
    device: Device,
    optimizer: Optimizer,
    schedule: Schedule,
    checkpoint: &'a Checkpoint,
    metrics: MetricsFile,
    soft: Option<Teachers>,
    pub(crate) state: State,
    /// Seconds waited for the teacher before this process.
    waited_before: f64,
    /// The step of the last checkpoint.
    saved: usize,
}

impl<'a> Run<'a> {
    /// From the checkpoint if there is one, else from the start, of which it writes one: a run can be resumed from its
    /// first moment. Rows are asked for from the first batch that is still to be trained on.
    pub(crate) fn begin(
        config: &'a TrainConfig,
        prepared: &'a Prepared,
        teachers: Option<Ready>,
        student: &'a Student,
        checkpoint: &'a Checkpoint,
        device: Device,
    ) -> anyhow::Result<Self> {
        let mut optimizer = Optimizer::new(config.optimizer, student.parameters().iter());
        if let Some(decay) = config.average {
            optimizer = optimizer.with_average(decay);
        }
        let state = if checkpoint.exists() {
            let state: State = checkpoint.resume(&mut optimizer)?;
            info!(epoch = state.epochs + 1, step = state.step, "resuming");
            state
        } else {
            checkpoint.write(&optimizer, &State::default())?;
            State::default()
        };
        let from = (state.epochs, state.batches);
        let soft =
            teachers.map(|ready| ready.start(config, || prepared.order.after(from))).transpose()?;
        let batches = prepared.order.batches(1).len();
        let total = batches.div_ceil(config.accumulate) * config.epochs;
        let warm_up = (total as f64 * config.warmup).round() as usize;
        Ok(Self {
            schedule: Schedule { decay: config.schedule, warm_up, total },
            metrics: MetricsFile::open(&config.output, Some(state.step))?,
            config,
            prepared,
            student,
            device,
            optimizer,
            checkpoint,
            soft,
            waited_before: state.waited,
            saved: state.step,
            state,
        })
    }

    /// What came of asking for soft labels, where there is a teacher.
    pub(crate) const fn soft(&self) -> Option<&Teachers> {
        self.soft.as_ref()
    }

    /// Trains the epochs that are left, and leaves the best one's weights and the last in the run folder.
    pub(crate) fn train(&mut self) -> anyhow::Result<()> {
        let patience = self.config.patience.unwrap_or(usize::MAX);
        while self.state.epochs < self.config.epochs && self.state.since_best() < patience {
            self.rest_of_epoch()?;
            self.end_epoch()?;
        }
        if self.state.epochs < self.config.epochs {
            info!(since = self.state.since_best(), "no better on dev; stopped early");
        }
        Ok(())
    }

    fn rest_of_epoch(&mut self) -> anyhow::Result<()> {
        let config = self.config;
        let epoch = self.state.epochs + 1;
        let batches = self.prepared.order.batches(epoch);
        let before = self.state.epochs * batches.len();
        let mut progress = Progress::new(format!("epoch {epoch}/{}", config.epochs), batches.len());
        progress.advance(self.state.batches, String::new);
        // Batches of a step stay together however often the run is resumed: it is saved between steps alone.
        let steps = batches.chunks(config.accumulate).skip(self.state.batches / config.accumulate);
        for batches in steps {
            if config.checkpoint_every.is_some_and(|n| self.state.step - self.saved >= n) {
                self.save()?;
            }
            let start = Instant::now();
            let labelled = self.label(batches)?;
            self.step(&labelled, before + self.state.batches)?;
            self.state.batches += batches.len();
            self.state.seconds += start.elapsed().as_secs_f64();
            progress.advance(batches.len(), || format!("loss {:.4}", self.state.loss.value()));
        }
        Ok(())
    }

    /// The rows of these batches, as the policy for missing ones has it.
    fn label(&mut self, batches: &[Vec<usize>]) -> anyhow::Result<Vec<LabelledBatch>> {
        let train = &self.prepared.data.train;
        let mut labelled = Vec::with_capacity(batches.len());
        for batch in batches {
            let rows = self.soft.as_mut().map(Teachers::next_batch).transpose()?;
            let refused =
                |example: usize, missing: &_| no_soft_label(example, &train[example].text, missing);
            let policy = self.config.on_missing;
            let has_hard = |example: usize| train[example].target.is_some();
            let state = &mut self.state;
            let batch = LabelledBatch::new(batch.clone(), rows, policy, state, has_hard, refused)?;
            if !batch.examples.is_empty() {
                labelled.push(batch);
            }
        }
        if let Some(soft) = &self.soft {
            self.state.waited = self.waited_before + soft.waited().as_secs_f64();
        }
        Ok(labelled)
    }

    /// One update by the mean over all examples of `batches`, whose first is the run's batch `first`.
    fn step(&mut self, batches: &[LabelledBatch], first: usize) -> anyhow::Result<()> {
        let config = self.config;
        let _threads = self.student.step_threads();
        let examples: usize = batches.iter().map(|batch| batch.examples.len()).sum();
        let parts = batches.iter().map(|batch| {
            let share = batch.examples.len() as f64 / examples as f64;
            let run = &*self;
            move || Ok::<_, anyhow::Error>(run.loss(batch)?.map(|loss| loss.f_mul_scalar(share))?)
        });
        let seed = (config.seed.into(), first);
        let step = Step::sum(&self.optimizer, parts, seed, config.clip_norm)?;
        let at = self.state.step;
        self.state.step += 1;
        if examples == 0 {
            return Ok(());
        }
        ensure!(
            step.is_finite(),
            "epoch {}, step {}: loss {} and gradient norm {} are not both finite; start anew with a lower --lr \
             (the weights of earlier epochs are kept)",
            self.state.epochs + 1,
            at + 1,
            step.loss,
            step.norm
        );
        self.optimizer.step(&step.gradients, config.lr * self.schedule.factor(at))?;
        self.state.loss.add(step.loss * examples as f64, examples);
        self.state.examples += examples;
        Ok(())
    }

    fn loss(&self, batch: &LabelledBatch) -> anyhow::Result<Traced> {
        let tokens: Vec<&Tokens> =
            batch.examples.iter().map(|&i| &self.prepared.train_tokens[i]).collect();
        let data = &self.prepared.data;
        let targets = batch.examples.iter().map(|&i| data.train[i].target.as_ref());
        let hard = HardTargets::new(&data.labels, targets, self.device)?;
        let soft = batch.soft_targets(data.labels.len(), self.device)?;
        let logits = self.student.forward(&TokenBatch::new(&tokens, self.device)?)?;
        let progress = progress(self.state.step, self.schedule.total);
        let loss = &self.prepared.objective.loss;
        Ok(logits.map(|logits| loss.value(logits, &hard, soft.as_ref(), progress))?)
    }

    /// Judges the epoch on dev, keeps its weights if they are the best so far, and writes a line and a checkpoint. With a
    /// running average of the weights, that is what is judged and kept.
    fn end_epoch(&mut self) -> anyhow::Result<()> {
        let (config, train_loss) = (self.config, self.state.loss.value());
        self.optimizer.swap_average()?;
        let dev = judge(self.student, &self.prepared.data.dev)?;
        let better = self.state.end_epoch(config.best_by.of(&dev));
        let saved = self.keep(better);
        self.optimizer.swap_average()?;
        saved.context("the weights cannot be saved")?;
        let scores = dev.report.summary();
        let epoch = self.state.epochs;
        info!(epoch, train_loss, dev_loss = dev.loss, dev = scores, better, "epoch done");
        self.record(train_loss, &dev, better)?;
        self.save()
    }

    fn keep(&self, better: bool) -> anyhow::Result<()> {
        if better {
            self.student.save_weights(&self.config.output, BEST_WEIGHTS)?;
        }
        Ok(self.student.save_weights(&self.config.output, LAST_WEIGHTS)?)
    }

    fn record(&mut self, train_loss: f64, dev: &Evaluation, better: bool) -> anyhow::Result<()> {
        let state = &self.state;
        let mut metrics = json!({
            "epoch": state.epochs,
            "step": state.step,
            "learning_rate": self.config.lr * self.schedule.factor(state.step.saturating_sub(1)),
            "train_loss": train_loss,
            "dev_loss": dev.loss,
            "best": better,
            "seconds": state.seconds,
            "examples": state.examples,
            "wait_share": state.wait_share(),
            "trained_without_soft_label": state.without_soft_label,
            "left_out": state.left_out,
        });
        for (name, score) in dev.report.scores() {
            metrics[format!("dev_{name}")] = score.into();
        }
        self.metrics.add(&metrics)
    }

    fn save(&mut self) -> anyhow::Result<()> {
        self.checkpoint.write(&self.optimizer, &self.state)?;
        self.saved = self.state.step;
        Ok(())
    }
}
