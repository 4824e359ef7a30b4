//! Labelling a stream of text of any length in constant memory, in order, on all cores.
//!
//! A thread reads windows of lines, workers label them, and the caller's thread writes. What is to be written next is a
//! queue of promises in the order of reading, so workers may finish in any order. Every queue is bounded: a slow writer
//! stops the workers and these the reader.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Write},
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use serde_json::{Value, json};
use tch::Device;
use tracing::info;

use super::{CommandError, PredictOptions, cannot_write, evaluate::say_truncated};
use crate::{
    data::{DataError, InputFormat, InputRecords, LabelSet, Record, Target},
    models::{Classifier, ModelError, Prediction, classify, sigmoid, softmax},
};

/// Lines labelled together: enough to sort by length and pad little, few enough to answer soon and to
/// keep many workers busy with a short file.
const LINES_AT_ONCE: usize = 1024;

/// Windows read and not yet written for each worker: the one it has, and the one it takes next.
const WINDOWS_A_WORKER: usize = 2;

/// What the threads of `--threads` do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workers {
    /// Each has a model of its own and computes with one thread: for models that are small beside memory. On a GPU one
    /// model serves.
    EachItsModel,
    /// All compute each operation of one model: for large models.
    OneModel,
}

/// The `predict` command: opens the input, then loads the model, then answers on standard output.
pub fn predict_with<M: Classifier + Send + 'static>(
    options: &PredictOptions,
    workers: Workers,
    load: impl Fn() -> Result<M, ModelError> + Send + Sync + 'static,
) -> Result<(), CommandError> {
    let input: Box<dyn BufRead + Send> = if options.input == Path::new("-") {
        Box::new(BufReader::new(io::stdin()))
    } else {
        let file = File::open(&options.input)
            .map_err(|source| CommandError::Read { path: options.input.clone(), source })?;
        Box::new(BufReader::new(file))
    };
    let format = if options.plain { InputFormat::Plain } else { InputFormat::JsonLines };
    let records = InputRecords::new(input, &options.input, format);
    let threads = options.compute.threads();
    let (workers, threads_each) = match (workers, options.compute.device) {
        (Workers::EachItsModel, Device::Cpu) => (threads, 1),
        _ => (1, threads),
    };
    let model = load()?;
    let work = Work { load, spare: Mutex::new(Some(model)), threads: threads_each as i32 };
    let promises = Arc::new(work).start(workers, records)?;
    let labelled = write_answers(&promises, &mut BufWriter::new(io::stdout().lock()))?;
    info!(labelled, "done");
    Ok(())
}

/// Lines read together, and where their answers are waited for.
struct Task {
    window: Vec<Record>,
    answer: SyncSender<Result<Answers, CommandError>>,
}

/// A window's answers as they are written.
#[derive(Debug, Default)]
struct Answers {
    text: Vec<u8>,
    lines: usize,
    truncated: usize,
}

/// A window's answers once a worker has them, or the bad line that ends the input.
type Promise = Result<Receiver<Result<Answers, CommandError>>, DataError>;

/// What the workers share.
struct Work<M, L> {
    load: L,
    /// A model that is loaded and that no worker has taken yet.
    spare: Mutex<Option<M>>,
    /// Of each worker's tensor operations.
    threads: i32,
}

impl<M, L> Work<M, L>
where
    M: Classifier + Send + 'static,
    L: Fn() -> Result<M, ModelError> + Send + Sync + 'static,
{
    /// Starts reader and workers, which end with the input, or once nobody takes the answers any more. They are not waited
    /// for then: a reader may be waiting for input itself.
    fn start(
        self: Arc<Self>,
        workers: usize,
        records: InputRecords<impl BufRead + Send + 'static>,
    ) -> Result<Receiver<Promise>, CommandError> {
        let (promise, promises) = sync_channel(WINDOWS_A_WORKER * workers);
        let (task, tasks) = sync_channel(workers);
        let tasks = Arc::new(Mutex::new(tasks));
        spawn("read", move || read(records, &task, &promise))?;
        for _ in 0..workers {
            let (work, tasks) = (Arc::clone(&self), Arc::clone(&tasks));
            spawn("label", move || work.label(&tasks))?;
        }
        Ok(promises)
    }

    /// Labels windows until there are no more.
    fn label(&self, tasks: &Mutex<Receiver<Task>>) {
        tch::set_num_threads(self.threads);
        let mut model = None;
        loop {
            // The lock is held while waiting, so those that wait stand in line behind it.
            let Ok(Task { window, answer }) = locked(tasks).recv() else { return };
            let answers = self.model(&mut model).and_then(|model| Answers::of(model, &window));
            // The writer has stopped already if it does not take this.
            let _ = answer.send(answers);
        }
    }

    /// The worker's own model, loaded for its first window, so that a short input needs few.
    fn model<'a>(&self, own: &'a mut Option<M>) -> Result<&'a M, CommandError> {
        if own.is_none() {
            *own = locked(&self.spare).take();
        }
        Ok(match own {
            Some(model) => model,
            None => own.insert((self.load)()?),
        })
    }
}

fn spawn(name: &str, job: impl FnOnce() + Send + 'static) -> Result<(), CommandError> {
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(job);
    spawned.map(drop).map_err(CommandError::Thread)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Hands out windows in order until the input ends, a line is bad, or nobody wants more.
fn read(
    mut records: InputRecords<impl BufRead>,
    tasks: &SyncSender<Task>,
    promises: &SyncSender<Promise>,
) {
    let mut bad = None;
    loop {
        let window: Vec<Record> = records
            .by_ref()
            .take(LINES_AT_ONCE)
            .map_while(|record| record.map_err(|cause| bad = Some(cause)).ok())
            .collect();
        let ended = window.len() < LINES_AT_ONCE;
        if !window.is_empty() {
            let (answer, promise) = sync_channel(1);
            if promises.send(Ok(promise)).is_err() || tasks.send(Task { window, answer }).is_err() {
                return;
            }
        }
        if ended {
            if let Some(cause) = bad {
                // Nobody hears it only if nobody listens any more.
                let _ = promises.send(Err(cause));
            }
            return;
        }
    }
}

/// Writes the answers in the order of the input. On a bad line everything before it has been written.
/// Returns the number of lines.
fn write_answers(
    promises: &Receiver<Promise>,
    out: &mut impl Write,
) -> Result<usize, CommandError> {
    let failed = || cannot_write("the output");
    let (mut written, mut truncated) = (0, 0);
    let mut ended = Ok(());
    for promise in promises {
        match promise {
            Ok(promise) => {
                // None comes from a worker that has panicked, and has said so.
                let answers = promise.recv().unwrap_or(Err(CommandError::Worker))?;
                out.write_all(&answers.text).and_then(|()| out.flush()).map_err(failed())?;
                written += answers.lines;
                truncated += answers.truncated;
            }
            Err(bad) => ended = Err(bad.into()),
        }
    }
    say_truncated(truncated, written, "the input");
    ended.map(|()| written)
}

impl Answers {
    /// One JSON line for each record, in order: `label`, or in a multi-label task `labels`, with `probabilities` by
    /// label name and `logits` in the order of the model's labels; in a regression `value`.
    fn of(model: &impl Classifier, window: &[Record]) -> Result<Self, CommandError> {
        let texts = window.iter().map(|r| (r.text.as_str(), r.text_pair.as_deref()));
        let mut answers = Self::default();
        for prediction in classify(model, texts)? {
            let mut line = answer(&prediction, model.labels());
            if prediction.truncated {
                line["truncated"] = json!(true);
                answers.truncated += 1;
            }
            writeln!(answers.text, "{line}").map_err(cannot_write("memory"))?;
            answers.lines += 1;
        }
        Ok(answers)
    }
}

fn answer(prediction: &Prediction, labels: &LabelSet) -> Value {
    let (names, logits) = (labels.names(), &prediction.logits);
    let by_name = |probabilities: Vec<f64>| -> Value {
        names.iter().cloned().zip(probabilities.into_iter().map(Value::from)).collect()
    };
    match prediction.target(labels.task()) {
        Target::Label(class) => json!({
            "label": names[class],
            "probabilities": by_name(softmax(logits)),
            "logits": logits,
        }),
        Target::Labels(classes) => json!({
            "labels": classes.into_iter().map(|class| &names[class]).collect::<Vec<_>>(),
            "probabilities": by_name(sigmoid(logits)),
            "logits": logits,
        }),
        Target::Value(value) => json!({"value": value}),
    }
}
