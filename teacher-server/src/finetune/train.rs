//! The training loop: steps of one or more batches, evaluations, checkpoints. Knows no files but through those.

use anyhow::{Context as _, ensure};
use lectern::{
    commands::{MetricsFile, Progress, judge},
    data::{Example, Splits, epoch_batches},
    models::Teacher,
    text::Tokens,
    threads::Pair,
    training::{Checkpoint, Halves, Optimizer, OptimizerKind, Schedule, Step},
};
use serde_json::json;
use tracing::info;

use super::{
    config::FinetuneConfig, freezing::rate, objective::Objective, prefix::PartlyFrozen,
    state::State,
};

/// A fine-tuning under way.
#[derive(Debug)]
pub(super) struct Training<'a> {
    config: &'a FinetuneConfig,
    data: &'a Splits,
    tokens: &'a [Tokens],
    lengths: Vec<usize>,
    teacher: &'a Teacher,
    model: PartlyFrozen<'a>,
    objective: Objective<'a>,
    optimizer: Optimizer,
    /// Computes the halves of a batch.
    pair: Pair,
    schedule: Schedule,
    checkpoint: &'a Checkpoint,
    metrics: MetricsFile,
    /// The step of the last checkpoint.
    saved: usize,
    state: State,
    /// Steps in an epoch.
    steps: usize,
}

impl<'a> Training<'a> {
    /// From the checkpoint if there is one, else from the start, of which it writes one: a fine-tuning can be resumed
    /// from its first moment. The first `frozen` layers do not move.
    pub(super) fn begin(
        config: &'a FinetuneConfig,
        data: &'a Splits,
        tokens: &'a [Tokens],
        teacher: &'a Teacher,
        frozen: usize,
        objective: Objective<'a>,
        checkpoint: &'a Checkpoint,
    ) -> anyhow::Result<Self> {
        let lengths: Vec<usize> = tokens.iter().map(Tokens::len).collect();
        let steps = lengths.len().div_ceil(config.batch_size).div_ceil(config.accumulate);
        let total = steps * config.epochs;
        let warm_up = (total as f64 * config.warmup).round() as usize;
        let kind = OptimizerKind::AdamW { weight_decay: config.weight_decay };
        let mut optimizer = Optimizer::new(kind, teacher.parameters().iter())
            .with_rates(|name| rate(teacher, config.layer_decay, name));
        let state = if checkpoint.exists() {
            let state: State = checkpoint.resume(&mut optimizer)?;
            info!(step = state.step, of = total, "resuming");
            state
        } else {
            checkpoint.write(&optimizer, &State::default())?;
            State::default()
        };
        // As `judge` will make them; it says itself which are too long.
        let encode = |e: &Example| teacher.tokenizer().encode(&e.text, e.text_pair.as_deref());
        let dev = data.dev.iter().map(encode).collect::<Result<Vec<_>, _>>()?;
        let examples: Vec<&Tokens> = tokens.iter().chain(&dev).collect();
        let model = PartlyFrozen::new(teacher, frozen, &examples, config.prefix_cache)?;
        Ok(Self {
            metrics: MetricsFile::open(&config.output, Some(state.step))?,
            schedule: Schedule { decay: config.schedule, warm_up, total },
            config,
            data,
            tokens,
            lengths,
            teacher,
            model,
            objective,
            optimizer,
            pair: Pair::on(config.device, config.threads),
            checkpoint,
            saved: state.step,
            state,
            steps,
        })
    }

    /// Takes the steps that are left, and leaves the best evaluation's weights in the output folder.
    pub(super) fn run(mut self) -> anyhow::Result<()> {
        while !self.is_over() {
            self.rest_of_epoch()?;
        }
        if let Some(best) = self.state.best {
            let folder = self.config.output.display();
            info!(step = best.step, epoch = best.step.div_ceil(self.steps), %folder, "best weights kept");
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.state.step >= self.schedule.total || self.state.since_best >= self.config.patience
    }

    fn rest_of_epoch(&mut self) -> anyhow::Result<()> {
        let config = self.config;
        let (epoch, done) = (self.state.step / self.steps, self.state.step % self.steps);
        let batches =
            epoch_batches(&self.lengths, config.batch_size, config.seed as u64, epoch as u64 + 1);
        let first = epoch * batches.len();
        let mut progress =
            Progress::new(format!("epoch {}/{}", epoch + 1, config.epochs), self.steps);
        progress.advance(done, String::new);
        for (i, batches) in batches.chunks(config.accumulate).enumerate().skip(done) {
            let step = self.gradients(batches, first + i * config.accumulate)?;
            self.check(&step)?;
            // These weights have just shown themselves to be sound.
            if config.checkpoint_every.is_some_and(|n| self.state.step - self.saved >= n) {
                self.save()?;
            }
            let lr = config.lr * self.schedule.factor(self.state.step);
            self.optimizer.step(&step.gradients, lr)?;
            self.state.step += 1;
            let examples = batches.iter().map(Vec::len).sum();
            self.state.loss.add(step.loss * examples as f64, examples);
            progress.step(|| format!("loss {:.4}", self.state.loss.value()));
            if self.is_evaluation_due() {
                self.evaluate(epoch + 1, lr)?;
                if self.is_over() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Loss and gradients of the mean over all examples of `batches`, whose first is the training's batch `first`.
    fn gradients(&self, batches: &[Vec<usize>], first: usize) -> anyhow::Result<Step> {
        let config = self.config;
        let train = &self.data.train;
        let weight = self.objective.weight(batches.iter().flatten().map(|&i| &train[i]));
        let job = |batch: Vec<usize>| {
            let tokens: Vec<&Tokens> = batch.iter().map(|&i| &self.tokens[i]).collect();
            let examples: Vec<&Example> = batch.iter().map(|&i| &train[i]).collect();
            let (pass, objective) = (self.model.pass(&tokens)?, self.objective.clone());
            Ok::<_, anyhow::Error>(move || {
                let logits = pass.logits(config.dropout)?;
                Ok(objective.sum(&logits, &examples)?.f_div_scalar(weight)?)
            })
        };
        let parts = batches.iter().map(|batch| Halves::of(&self.pair, batch, job));
        let seed = (config.seed, first);
        Step::sum_of_halves(&self.optimizer, &self.pair, parts, seed, config.clip_norm)
    }

    /// Stops before an update that would spoil the weights.
    fn check(&self, step: &Step) -> anyhow::Result<()> {
        let kept = match self.state.best {
            Some(best) => {
                format!("the weights of step {} are in {}", best.step, self.config.output.display())
            }
            None => "no weights were good enough to keep yet".to_owned(),
        };
        ensure!(
            step.is_finite(),
            "epoch {}, step {}: loss {} and gradient norm {} are not both finite; start anew with a lower --lr ({kept})",
            self.state.step / self.steps + 1,
            self.state.step + 1,
            step.loss,
            step.norm,
        );
        Ok(())
    }

    fn is_evaluation_due(&self) -> bool {
        let every = self.config.evaluate_every.unwrap_or(self.steps);
        self.state.step.is_multiple_of(every) || self.state.step == self.schedule.total
    }

    /// Judges the weights on dev, keeps them if they are the best so far, and writes a line and a checkpoint.
    fn evaluate(&mut self, epoch: usize, lr: f64) -> anyhow::Result<()> {
        let dev = judge(&self.model, &self.data.dev)?;
        let step = self.state.step;
        ensure!(
            dev.loss.is_finite(),
            "epoch {epoch}, step {step}: the loss on dev is {}; start anew with a lower --lr",
            dev.loss
        );
        let train_loss = self.state.loss.value();
        let best = self.state.judge(self.config.best_by.of(&dev));
        info!(
            epoch,
            step,
            train_loss,
            dev_loss = dev.loss,
            dev = dev.report.summary(),
            best,
            "evaluated"
        );
        if best {
            self.teacher.save(&self.config.output).context("the best weights cannot be saved")?;
        }
        self.metrics.add(&json!({
            "epoch": epoch,
            "step": step,
            "learning_rate": lr,
            "train_loss": train_loss,
            "dev_loss": dev.loss,
            "dev": dev.report.scores_json(),
            "best": best,
        }))?;
        self.save()
    }

    fn save(&mut self) -> anyhow::Result<()> {
        self.checkpoint.write(&self.optimizer, &self.state)?;
        self.saved = self.state.step;
        Ok(())
    }
}
