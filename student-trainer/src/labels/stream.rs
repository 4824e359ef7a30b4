//! The run-ahead: one task that pulls batches, asks, collects answers and comes back after breaks.
//!
//! It only waits and obeys: what to send is decided in `in_flight`, when to retry in `retry`, what
//! belongs where in `batches`.

use std::{future::Future, sync::Arc, time::Duration};

use lectern::wire::{
    Answer, Failure, FailureCode, Fingerprint,
    proto::{self, Rows, StudentMessage, student_message, teacher_message::Message},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Instant, sleep_until},
};
use tracing::{debug, info, warn};

use super::{
    LabelError, Missing, Outcome, Request, StreamSettings,
    batches::{Batches, Place},
    connection::{self, MAX_SENT, Session, Trouble},
    in_flight::{InFlight, Places},
    link::{Event, Link},
    memory::Memory,
    metrics::{Counters, count},
    retry,
};

/// Examples in one message: the size from which larger batches no longer gain at the teacher.
const EXAMPLES_PER_MESSAGE: usize = 64;
/// Upper bounds of what the encoding adds to the text: tags, lengths and id of an example; the
/// message around all.
const EXAMPLE_OVERHEAD: usize = 48;
const MESSAGE_OVERHEAD: usize = 16;
/// Ten years, for settings that mean "wait for ever".
const NEVER: Duration = Duration::from_hours(10 * 365 * 24);

/// A complete batch on its way to the training loop.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) outcomes: Vec<Outcome>,
    /// Room for one more batch of look-ahead, free when this is dropped.
    _room: OwnedSemaphorePermit,
}

/// The task that streams, and where its batches come out.
pub(super) fn prepare<I>(
    settings: StreamSettings,
    expected: Fingerprint,
    requests: I,
    counters: Arc<Counters>,
) -> (impl Future<Output = Result<(), LabelError>> + Send + 'static, mpsc::Receiver<Finished>)
where
    I: Iterator<Item = Vec<Arc<Request>>> + Send + 'static,
{
    let look_ahead = settings.look_ahead.get();
    let (finished, receiver) = mpsc::channel(look_ahead);
    let now = Instant::now();
    let ahead = Ahead {
        memory: Memory::new(settings.memory_bytes),
        room: Arc::new(Semaphore::new(look_ahead)),
        batches: Batches::new(),
        in_flight: InFlight::default(),
        terms: None,
        link: Link::Down { not_before: now },
        progress: now,
        heard: now,
        attempt: 0,
        seed: retry::seed(),
        counters,
        settings: Arc::new(settings),
        expected: Arc::new(expected),
    };
    (ahead.run(requests, finished), receiver)
}

/// What the teacher's welcome laid down.
#[derive(Debug, Clone, Copy)]
struct Terms {
    classes: usize,
    max_length: usize,
    max_example_bytes: usize,
    max_message_bytes: usize,
}

struct Ahead {
    settings: Arc<StreamSettings>,
    expected: Arc<Fingerprint>,
    counters: Arc<Counters>,
    memory: Memory,
    room: Arc<Semaphore>,
    batches: Batches<OwnedSemaphorePermit>,
    in_flight: InFlight,
    /// None until the first welcome; nothing is pulled before.
    terms: Option<Terms>,
    link: Link,
    /// The last answer, or when there was first something to wait for.
    progress: Instant,
    /// The same on the present stream.
    heard: Instant,
    /// Tries since the last answer.
    attempt: u32,
    seed: u64,
}

impl Ahead {
    async fn run<I>(
        mut self,
        mut requests: I,
        finished: mpsc::Sender<Finished>,
    ) -> Result<(), LabelError>
    where
        I: Iterator<Item = Vec<Arc<Request>>> + Send + 'static,
    {
        let mut exhausted = false;
        loop {
            while let Some((outcomes, room)) = self.batches.pop() {
                // Never full: it holds as many batches as there are permits.
                if finished.try_send(Finished { outcomes, _room: room }).is_err() {
                    return Ok(());
                }
            }
            if exhausted && self.batches.is_empty() {
                drop(finished);
                self.link.leave().await;
                return Ok(());
            }
            if let Link::Down { not_before } = self.link
                && self.waits_for_teacher()
            {
                self.link = Link::open(&self.settings, &self.expected, not_before);
            }
            let may_pull = !exhausted && self.terms.is_some();
            let may_send = self.in_flight.ready() > 0;
            let overdue = self.overdue_at();
            tokio::select! {
                biased;
                event = self.link.next(may_send) => self.obey(event)?,
                Ok(room) = Arc::clone(&self.room).acquire_owned(), if may_pull => {
                    match requests.next() {
                        Some(batch) => self.ask(batch, room),
                        None => exhausted = true,
                    }
                }
                () = sleep_until(overdue), if self.in_flight.sent() > 0 => self.overdue()?,
            }
        }
    }

    fn waits_for_teacher(&self) -> bool {
        self.terms.is_none() || !self.in_flight.is_empty()
    }

    fn ask(&mut self, requests: Vec<Arc<Request>>, room: OwnedSemaphorePermit) {
        if self.in_flight.is_empty() {
            self.progress = Instant::now();
        }
        let batch = self.batches.begin(requests.len(), room);
        for (position, request) in requests.into_iter().enumerate() {
            let place = Place { batch, position };
            if let Some(row) = self.memory.get(request.content()) {
                count(&self.counters.from_memory);
                self.batches.fill(place, Ok(row));
            } else if let Some(failure) = self.too_large(&request) {
                self.fill(place, Err(failure));
            } else if self.in_flight.ask(request, place) {
                count(&self.counters.asked);
            } else {
                count(&self.counters.joined);
            }
        }
    }

    fn too_large(&self, request: &Request) -> Option<Failure> {
        let most = self.terms?.max_example_bytes;
        let bytes = request.bytes();
        (bytes > most).then(|| Failure {
            code: FailureCode::TooLarge,
            message: format!(
                "its text has {bytes} bytes, the teacher takes {most}; it was not sent, shorten it"
            ),
        })
    }

    fn fill(&mut self, place: Place, outcome: Result<Arc<[f32]>, Failure>) {
        let outcome = outcome.map_err(|failure| {
            if count(&self.counters.missing) == 0 {
                warn!(cause = %failure.message, "an example has no row; counted from here on");
            }
            Missing::Refused(failure)
        });
        self.batches.fill(place, outcome);
    }

    fn obey(&mut self, event: Event) -> Result<(), LabelError> {
        match event {
            Event::Room => self.send(),
            Event::Opened(Ok(session)) => self.opened(session),
            Event::Opened(Err(Trouble::Absent(cause) | Trouble::Silent(cause))) => {
                self.lost(cause)?;
            }
            Event::Opened(Err(Trouble::Fatal(error))) => return Err(error),
            Event::Opened(Err(Trouble::Status(status))) | Event::Message(Err(status)) => {
                if !retry::may_pass(status.code()) {
                    return Err(connection::refusal(&self.settings.url, &status));
                }
                self.lost(connection::said(&status))?;
            }
            Event::Message(Ok(None)) => self.lost("it ended the stream".to_owned())?,
            Event::Message(Ok(Some(message))) => match message.message {
                Some(Message::Rows(rows)) => self.collect(&rows)?,
                Some(Message::Welcome(_)) => {
                    let url = self.settings.url.clone();
                    return Err(LabelError::Contract { url, what: "it welcomes a second time" });
                }
                // A kind of message that a newer teacher may send and this student may ignore.
                None => debug!("unknown message from the teacher"),
            },
        }
        Ok(())
    }

    fn opened(&mut self, session: Box<Session>) {
        let card = &session.card;
        let limits = card.limits;
        let max_message_bytes = limits.max_message_bytes.min(MAX_SENT);
        self.terms = Some(Terms {
            classes: card.labels.len(),
            max_length: card.max_length,
            max_example_bytes: limits
                .max_example_bytes
                .min(max_message_bytes.saturating_sub(EXAMPLE_OVERHEAD + MESSAGE_OVERHEAD)),
            max_message_bytes,
        });
        let url = &self.settings.url;
        if count(&self.counters.opened) == 0 {
            info!(%url, teacher = card.name, credits = session.credits, "stream open");
        } else {
            info!(%url, unanswered = self.in_flight.len(), "stream open again");
        }
        self.in_flight.restart(session.credits);
        self.heard = Instant::now();
        self.link = Link::Up(session);
    }

    /// Ends the present stream. The next is opened after a pause, when there is something to ask and
    /// for as long as there is patience; a try under way is not cut short by it.
    fn lost(&mut self, cause: String) -> Result<(), LabelError> {
        self.in_flight.restart(0);
        let (waited, patience) = (self.progress.elapsed(), self.settings.patience);
        if self.waits_for_teacher() && waited >= patience {
            return Err(LabelError::GaveUp { url: self.settings.url.clone(), waited, cause });
        }
        let pause = retry::delay(self.attempt, self.seed).min(patience.saturating_sub(waited));
        self.attempt += 1;
        let (url, attempt) = (&self.settings.url, self.attempt);
        if !self.waits_for_teacher() {
            debug!(%url, cause, "stream closed while nothing was asked");
        } else if retry::worth_a_line(attempt) {
            warn!(%url, cause, attempt, ?pause, "no stream to the teacher, trying again");
        }
        self.link = Link::Down { not_before: Instant::now() + pause };
        Ok(())
    }

    fn send(&mut self) {
        let (Link::Up(session), Some(terms)) = (&self.link, self.terms) else { return };
        if self.in_flight.sent() == 0 {
            self.heard = Instant::now();
        }
        let taken = self.in_flight.take(
            EXAMPLES_PER_MESSAGE,
            terms.max_message_bytes.saturating_sub(MESSAGE_OVERHEAD),
            |request| request.bytes() + EXAMPLE_OVERHEAD,
        );
        let examples = taken
            .into_iter()
            .map(|(id, request)| proto::Example {
                id,
                text: request.text().to_owned(),
                text_pair: request.text_pair().map(str::to_owned),
            })
            .collect();
        let examples = proto::ExampleBatch { examples };
        let message =
            StudentMessage { message: Some(student_message::Message::Examples(examples)) };
        // There was room a moment ago and this is the only sender, so this fails only for a stream
        // that has ended; its end is the next event.
        let _ = session.outgoing.try_send(message);
    }

    fn collect(&mut self, rows: &Rows) -> Result<(), LabelError> {
        let Some(terms) = self.terms else { return Ok(()) };
        let url = || self.settings.url.clone();
        let answers = lectern::wire::decode_rows(rows, terms.classes)
            .map_err(|cause| LabelError::Wire { url: url(), cause })?;
        if answers.is_empty() {
            return Ok(());
        }
        // All are checked before one is used.
        let settled: Vec<(Answer, Places)> = answers
            .into_iter()
            .map(|answer| self.in_flight.settle(&answer).map(|places| (answer, places)))
            .collect::<Result<_, _>>()
            .map_err(|cause| LabelError::Mismatch { url: url(), cause })?;
        for (answer, places) in settled {
            count(&self.counters.answered);
            let outcome = answer.outcome.map(|row| {
                if row.truncated && count(&self.counters.truncated) == 0 {
                    let max_length = terms.max_length;
                    warn!(max_length, "the teacher truncated a text; counted from here on");
                }
                self.memory.insert(row.content, &row.logits);
                row.logits
            });
            for place in places.iter() {
                self.fill(place, outcome.clone());
            }
        }
        (self.progress, self.heard) = (Instant::now(), Instant::now());
        self.attempt = 0;
        Ok(())
    }

    /// A stream on which nothing was answered for too long counts as broken.
    fn overdue_at(&self) -> Instant {
        after(self.heard, self.settings.answer_timeout)
    }

    fn overdue(&mut self) -> Result<(), LabelError> {
        let (sent, silence) = (self.in_flight.sent(), self.heard.elapsed());
        self.lost(format!("{sent} examples sent and none answered within {silence:.1?}"))
    }
}

/// `from + wait`, or a time that no run lives to see.
fn after(from: Instant, wait: Duration) -> Instant {
    from.checked_add(wait).unwrap_or(from + NEVER)
}
