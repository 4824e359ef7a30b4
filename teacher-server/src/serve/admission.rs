//! From a student's examples to answers or work: check, look up tier by tier, tokenise what is left.

use std::sync::Arc;

use lectern::{
    text::TextError,
    wire::{
        Answer, ContentHash, Failure, FailureCode, Limits, Row, RowFormat,
        proto::{self, Example, Hello},
    },
};
use tokio::{sync::mpsc, task::spawn_blocking};
use tonic::Status;
use tracing::warn;

use super::{
    engine::Engine,
    jobs::{Unknown, Waiter},
};
use crate::store::Tier;

/// Bytes of an experiment's name.
const MAX_EXPERIMENT_BYTES: usize = 256;

/// Checks a hello; the format of rows it asks for.
pub(super) fn accept(engine: &Engine, hello: &Hello) -> Result<RowFormat, Status> {
    if hello.experiment.len() > MAX_EXPERIMENT_BYTES {
        let bytes = hello.experiment.len();
        return Err(Status::invalid_argument(format!(
            "experiment name has {bytes} bytes, at most {MAX_EXPERIMENT_BYTES}"
        )));
    }
    let card = engine.card();
    let (ours, expected) = (&card.fingerprint, &hello.expected_fingerprint);
    if !expected.is_empty() && expected != ours.as_str() {
        warn!(experiment = hello.experiment, expected, "student expects another teacher");
        return Err(Status::failed_precondition(format!(
            "this server's teacher is {ours}, the student expects {expected}; start the server with \
             the teacher this run began with, or a new run"
        )));
    }
    RowFormat::of(hello, card).map_err(|cause| Status::invalid_argument(cause.to_string()))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Status> {
    let done = spawn_blocking(work).await;
    done.map_err(|cause| Status::internal(format!("looking up and tokenising failed: {cause}")))
}

/// Examples still without an answer; the parts stand in one order. Every example is answered once, now or later, unless
/// the teacher fails.
#[derive(Default)]
pub(super) struct Wanted {
    contents: Vec<ContentHash>,
    examples: Vec<(proto::Example, Waiter)>,
}

impl Wanted {
    /// Answers what memory has or cannot be taken through `answers`; what is left.
    pub(super) fn new(
        engine: &Engine,
        examples: Vec<Example>,
        answers: &mpsc::Sender<Answer>,
    ) -> Self {
        let mut wanted = Self::default();
        for example in examples {
            let waiter = Waiter { id: example.id, answers: answers.clone() };
            if let Err(failure) = check(&example, engine.card().limits) {
                engine.refuse(&waiter, failure);
                continue;
            }
            let content = ContentHash::new(&example.text, example.text_pair.as_deref());
            if !engine.answer_from_memory(content, &waiter) {
                wanted.push(content, example, waiter);
            }
        }
        wanted
    }

    pub(super) fn is_empty(&self) -> bool {
        self.contents.is_empty()
    }

    /// Answers what the lower tiers have and queues the rest for `experiment`. Disk, network and tokenising hold up
    /// no stream of this thread.
    pub(super) async fn admit(
        self,
        engine: Arc<Engine>,
        experiment: Arc<str>,
    ) -> Result<(), Status> {
        let (here, whose) = (Arc::clone(&engine), Arc::clone(&experiment));
        let left = blocking(move || {
            let found = here.store().on_disk(&self.contents);
            let left = self.answer(&here, Tier::Disk, found);
            if here.store().is_shared() {
                return left;
            }
            left.queue(&here, &whose);
            Self::default()
        })
        .await?;
        if left.is_empty() {
            return Ok(());
        }
        let found = engine.store().shared(&left.contents).await;
        blocking(move || left.answer(&engine, Tier::Shared, found).queue(&engine, &experiment))
            .await
    }

    fn push(&mut self, content: ContentHash, example: Example, waiter: Waiter) {
        self.contents.push(content);
        self.examples.push((example, waiter));
    }

    /// Answers what `tier` has found; what is left.
    fn answer(self, engine: &Engine, tier: Tier, found: Vec<Option<Row>>) -> Self {
        let mut left = Self::default();
        for ((content, (example, waiter)), row) in
            self.contents.into_iter().zip(self.examples).zip(found)
        {
            let Some(row) = row else {
                left.push(content, example, waiter);
                continue;
            };
            if engine.answer_stored(tier, row.clone(), &waiter)
                && let Ok(tokens) =
                    engine.reader().read(&example.text, example.text_pair.as_deref())
            {
                engine.compare(row, &tokens);
            }
        }
        left
    }

    /// Tokenises and queues.
    fn queue(self, engine: &Engine, experiment: &Arc<str>) {
        let mut unknown = Vec::with_capacity(self.contents.len());
        engine.counters.tokenising.time(|| {
            for (content, (example, waiter)) in self.contents.into_iter().zip(self.examples) {
                match engine.reader().read(&example.text, example.text_pair.as_deref()) {
                    Ok(tokens) => unknown.push(Unknown { content, tokens, waiter }),
                    Err(cause) => {
                        let code = match cause {
                            TextError::UnknownDocument { .. } => FailureCode::UnknownDocument,
                            _ => FailureCode::NotTokenizable,
                        };
                        engine.refuse(&waiter, Failure { code, message: cause.to_string() });
                    }
                }
            }
        });
        if !unknown.is_empty() {
            engine.submit(experiment, unknown);
        }
    }
}

fn check(example: &Example, limits: Limits) -> Result<(), Failure> {
    if example.text.is_empty() {
        let message = "`text` is empty; leave the example out".to_owned();
        return Err(Failure { code: FailureCode::EmptyText, message });
    }
    let bytes = example.text.len() + example.text_pair.as_ref().map_or(0, String::len);
    if bytes > limits.max_example_bytes {
        let limit = limits.max_example_bytes;
        let message = format!("{bytes} bytes of text, at most {limit}; shorten the example");
        return Err(Failure { code: FailureCode::TooLarge, message });
    }
    Ok(())
}
