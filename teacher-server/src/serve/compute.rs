//! The threads that own the model: one for each GPU, and on a CPU as many as compute. Knows tensors, not gRPC.

use std::{
    fmt, io,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, Builder, JoinHandle},
};

use lectern::{models::ModelError, threads::allow};
use tracing::debug;

use super::{
    engine::Engine,
    jobs::Batch,
    model::{Lane, Model, Prepared, Preparer, Values},
};

type Work = Box<dyn FnOnce(&Model) + Send>;

/// A thread with its model, from before there is an engine: what is measured at start-up is computed
/// where batches will be, for OpenMP has threads, and MKL buffers, for every thread that ever computed.
pub(super) struct Compute {
    work: SyncSender<Work>,
    thread: JoinHandle<()>,
}

impl fmt::Debug for Compute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compute").field("thread", &self.thread).finish_non_exhaustive()
    }
}

impl Compute {
    pub(super) fn start(Lane { model, threads }: Lane) -> io::Result<Self> {
        let (work, given) = sync_channel::<Work>(0);
        let run = move || {
            allow(threads as i32);
            for work in given {
                work(&model);
            }
        };
        let thread = Builder::new().name("compute".to_owned()).spawn(run)?;
        Ok(Self { work, thread })
    }

    /// What the model answers on its thread; `None` if it panicked.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Model) -> T + Send + 'static,
    ) -> Option<T> {
        self.begin(question)?.recv().ok()
    }

    /// What the models of all threads answer, computed at the same time; `None` if one of them panicked.
    pub(super) fn ask_all<T: Send + 'static>(
        all: &[Self],
        question: impl Fn(&Model) -> T + Clone + Send + 'static,
    ) -> Option<Vec<T>> {
        let begun: Option<Vec<_>> = all.iter().map(|each| each.begin(question.clone())).collect();
        begun?.into_iter().map(|answer| answer.recv().ok()).collect()
    }

    fn begin<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Model) -> T + Send + 'static,
    ) -> Option<Receiver<T>> {
        let (say, answer) = sync_channel(1);
        let work: Work = Box::new(move |model| {
            let _asker_has_gone = say.send(question(model));
        });
        self.work.send(work).ok()?;
        Some(answer)
    }

    /// Computes for `engine`. The thread ends when the engine is stopped or the teacher fails.
    pub(super) fn serve(self, engine: Arc<Engine>) -> JoinHandle<()> {
        // It cannot have ended before: whatever is asked of it answers.
        let _always_there = self.work.send(Box::new(move |model| serve(model, &engine)));
        self.thread
    }
}

/// On a GPU two more threads prepare the next batch and answer for the last one while this one computes: in
/// between, the GPU would have nothing to do. On a CPU there is nothing to gain: both cost a thousandth of
/// computing, take the same cores, and a batch that is chosen one forward pass early makes whoever comes
/// in between wait for one more.
fn serve(model: &Model, engine: &Engine) {
    let _guard = FailOnPanic(engine);
    if model.is_on_gpu() {
        overlapped(model, engine);
    } else {
        let preparer = model.preparer();
        let batches = std::iter::from_fn(|| prepare(&preparer, engine));
        compute(model, engine, batches, |batch, values| engine.finish(&batch, values));
    }
}

/// A batch with its tensors, or why it has none.
type Ready = (Batch, Result<Prepared, ModelError>);

fn prepare(preparer: &Preparer, engine: &Engine) -> Option<Ready> {
    let batch = engine.next_batch()?;
    let tokens: Vec<_> = batch.tokens.iter().map(AsRef::as_ref).collect();
    let tensors = preparer.prepare(&tokens);
    Some((batch, tensors))
}

fn overlapped(model: &Model, engine: &Engine) {
    thread::scope(|scope| {
        // No place in the channels: a batch waits in the hands of its sender, and no more than one.
        let (hand_over, ready) = sync_channel(0);
        let preparer = model.preparer();
        scope.spawn(move || {
            let _guard = FailOnPanic(engine);
            while let Some(batch) = prepare(&preparer, engine)
                && hand_over.send(batch).is_ok()
            {}
        });
        let (pass_on, passed) = sync_channel::<(Batch, Vec<Values>)>(0);
        scope.spawn(move || {
            let _guard = FailOnPanic(engine);
            for (batch, values) in passed {
                engine.finish(&batch, values);
            }
        });
        compute(model, engine, ready.into_iter(), move |batch, values| {
            // Whoever answers has ended by a panic alone, and has said so.
            let _is_heard = pass_on.send((batch, values));
        });
    });
}

fn compute(
    model: &Model,
    engine: &Engine,
    batches: impl Iterator<Item = Ready>,
    mut finish: impl FnMut(Batch, Vec<Values>),
) {
    for (batch, prepared) in batches {
        let pass = prepared.and_then(|prepared| {
            let values = engine.counters.computing.time(|| model.predict(&prepared))?;
            Ok((prepared, values))
        });
        match pass {
            Ok((prepared, values)) => {
                let counters = &engine.counters;
                counters.tokens.add(prepared.tokens() as u64);
                counters.padded_tokens.add(prepared.padded_tokens() as u64);
                counters.mega_flops.add((model.flops(&prepared) / 1e6) as u64);
                debug!(examples = batch.contents.len(), tokens = prepared.tokens(), "computed");
                finish(batch, values);
            }
            Err(cause) => return engine.fail(cause.to_string()),
        }
    }
}

/// Turns a panic on a compute thread into the teacher's failure, so that nobody waits for ever.
struct FailOnPanic<'a>(&'a Engine);

impl Drop for FailOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.fail("its thread panicked".to_owned());
        }
    }
}
