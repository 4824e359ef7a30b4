//! The training loop: steps of one or more batches, an evaluation before the first and after each epoch, checkpoints.
//! Knows no files but through those.

use anyhow::{Context as _, ensure};
use lectern::{
    commands::{MetricsFile, Progress},
    data::epoch_batches,
    metrics::Mean,
    models::LanguageModel,
    pretraining::Draw,
    text::Worded,
    threads::Pair,
    training::{Checkpoint, Decay, Halves, Optimizer, OptimizerKind, Schedule, Step},
};
use serde_json::json;
use tracing::{info, warn};

use super::{
    config::PretrainConfig,
    corpus::Corpus,
    objective::{Hidden, Task},
    state::{Evaluation, State},
};

/// A pre-training under way.
#[derive(Debug)]
pub(super) struct Training<'a> {
    config: &'a PretrainConfig,
    corpus: &'a Corpus,
    lengths: Vec<usize>,
    model: &'a LanguageModel,
    task: Task<'a>,
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
    /// From the checkpoint if there is one, else from the start, of which it writes one: a pre-training can be resumed from
    /// its first moment.
    pub(super) fn begin(
        config: &'a PretrainConfig,
        corpus: &'a Corpus,
        model: &'a LanguageModel,
        checkpoint: &'a Checkpoint,
    ) -> anyhow::Result<Self> {
        let lengths: Vec<usize> = corpus.train.iter().map(Worded::len).collect();
        let steps = lengths.len().div_ceil(config.batch_size).div_ceil(config.accumulate);
        let total = steps * config.epochs;
        let warm_up = (total as f64 * config.warmup).round() as usize;
        let kind = OptimizerKind::AdamW { weight_decay: config.weight_decay };
        let mut optimizer = Optimizer::new(kind, model.parameters().iter());
        let state = if checkpoint.exists() {
            let state: State = checkpoint.resume(&mut optimizer)?;
            info!(step = state.step, of = total, "resuming");
            state
        } else {
            checkpoint.write(&optimizer, &State::default())?;
            State::default()
        };
        Ok(Self {
            metrics: MetricsFile::open(&config.output, state.before.map(|_| state.step))?,
            schedule: Schedule { decay: Decay::Linear, warm_up, total },
            config,
            corpus,
            lengths,
            model,
            task: Task::new(config, model),
            optimizer,
            pair: Pair::on(config.device, config.threads),
            checkpoint,
            saved: state.step,
            state,
            steps,
        })
    }

    /// Takes the steps that are left, and leaves the best epoch's weights in the output folder.
    pub(super) fn run(mut self) -> anyhow::Result<()> {
        if self.state.before.is_none() {
            self.evaluate_before()?;
        }
        while self.state.step < self.schedule.total {
            self.rest_of_epoch()?;
        }
        if let (Some(before), Some(best)) = (self.state.before, self.state.best) {
            let (was, is) = (before.perplexity(), best.perplexity());
            let folder = self.config.output.display();
            info!(epoch = best.step / self.steps, perplexity = is, before = was, %folder, "best weights kept");
            if is >= was {
                warn!("no epoch made the encoder better at held-out text than it was");
            }
        }
        Ok(())
    }

    fn rest_of_epoch(&mut self) -> anyhow::Result<()> {
        let config = self.config;
        let (epoch, done) = (self.state.step / self.steps + 1, self.state.step % self.steps);
        let batches =
            epoch_batches(&self.lengths, config.batch_size, config.seed as u64, epoch as u64);
        let first = (epoch - 1) * batches.len();
        let mut progress = Progress::new(format!("epoch {epoch}/{}", config.epochs), self.steps);
        progress.advance(done, String::new);
        let mut lr = 0.0;
        for (i, batches) in batches.chunks(config.accumulate).enumerate().skip(done) {
            let (step, count) = self.gradients(batches, epoch, first + i * config.accumulate)?;
            self.check(&step, epoch)?;
            // These weights have just shown themselves to be sound.
            if config.checkpoint_every.is_some_and(|n| self.state.step - self.saved >= n) {
                self.save()?;
            }
            lr = config.lr * self.schedule.factor(self.state.step);
            self.optimizer.step(&step.gradients, lr)?;
            self.state.step += 1;
            self.state.loss.add(step.loss * count as f64, count);
            progress.step(|| format!("loss {:.4}", self.state.loss.value()));
        }
        self.evaluate(epoch, lr)
    }

    /// Loss and gradients of the mean over all predicted tokens of `batches`, whose first is the training's batch `first`,
    /// and how many tokens these are.
    fn gradients(
        &self,
        batches: &[Vec<usize>],
        epoch: usize,
        first: usize,
    ) -> anyhow::Result<(Step, usize)> {
        let config = self.config;
        let hide = |batch: Vec<usize>| self.hide(&self.corpus.train, &batch, epoch);
        let hidden = batches.iter().map(|batch| Halves::of(&self.pair, batch, hide));
        let hidden = hidden.collect::<anyhow::Result<Vec<_>>>()?;
        let count = hidden.iter().flat_map(Halves::iter).map(Hidden::count).sum::<usize>();
        let job =
            |hidden: Hidden| move || Ok(hidden.loss(config.dropout)?.f_div_scalar(count as f64)?);
        let parts = hidden.into_iter().map(|halves| Ok::<_, anyhow::Error>(halves.map(job)));
        let seed = (config.seed, first);
        let (optimizer, pair) = (&self.optimizer, &self.pair);
        let step = Step::sum_of_halves(optimizer, pair, parts, seed, config.clip_norm)?;
        Ok((step, count))
    }

    fn hide(&self, examples: &[Worded], batch: &[usize], epoch: usize) -> anyhow::Result<Hidden> {
        let seed = self.config.seed;
        let place = |&example: &usize| (&examples[example], Draw { seed, epoch, example });
        let batch: Vec<_> = batch.iter().map(place).collect();
        Ok(self.task.hide(&batch, self.model.device())?)
    }

    /// Stops before an update that would spoil the weights.
    fn check(&self, step: &Step, epoch: usize) -> anyhow::Result<()> {
        ensure!(
            step.is_finite(),
            "epoch {epoch}, step {}: loss {} and gradient norm {} are not both finite; start anew with a lower --lr (the \
             weights of step {} are in {})",
            self.state.step + 1,
            step.loss,
            step.norm,
            self.saved,
            self.checkpoint.path().display(),
        );
        Ok(())
    }

    /// Mean loss of the held-out text's predicted tokens. They are the same every time.
    fn held_out_loss(&self) -> anyhow::Result<f64> {
        let _no_grad = tch::no_grad_guard();
        let examples = &self.corpus.held_out;
        let mut order: Vec<usize> = (0..examples.len()).collect();
        order.sort_by_key(|&i| examples[i].len());
        let mut mean = Mean::default();
        for batch in order.chunks(self.config.batch_size) {
            let hidden = self.hide(examples, batch, 0)?;
            mean.add(hidden.loss(0.0)?.f_double_value(&[])?, hidden.count());
        }
        let (loss, step) = (mean.value(), self.state.step);
        ensure!(
            loss.is_finite(),
            "step {step}: the loss on held-out text is {loss}; start anew with a lower --lr"
        );
        Ok(loss)
    }

    /// What the encoder is worth as it came.
    fn evaluate_before(&mut self) -> anyhow::Result<()> {
        let before = Evaluation { loss: self.held_out_loss()?, step: 0 };
        let (loss, perplexity) = (before.loss, before.perplexity());
        info!(loss, perplexity, "before pre-training, on held-out text");
        self.state.before = Some(before);
        self.metrics.add(&json!({
            "epoch": 0,
            "step": 0,
            "held_out_loss": loss,
            "perplexity": perplexity,
        }))?;
        self.save()
    }

    /// Judges the weights on held-out text, keeps them if they are the best so far, and writes a line and a checkpoint.
    fn evaluate(&mut self, epoch: usize, lr: f64) -> anyhow::Result<()> {
        let (loss, step) = (self.held_out_loss()?, self.state.step);
        let perplexity = Evaluation { loss, step }.perplexity();
        let train_loss = self.state.loss.value();
        let best = self.state.judge(loss);
        info!(epoch, step, train_loss, loss, perplexity, best, "on held-out text");
        if best {
            self.model.save(&self.config.output).context("the best weights cannot be saved")?;
        }
        self.metrics.add(&json!({
            "epoch": epoch,
            "step": step,
            "learning_rate": lr,
            "train_loss": train_loss,
            "held_out_loss": loss,
            "perplexity": perplexity,
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
