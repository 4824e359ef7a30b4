//! The gRPC face: checks what students send, and writes answers to them as they come.

use std::{
    collections::HashSet,
    pin::Pin,
    sync::{Arc, OnceLock},
};

use lectern::wire::{
    Answer, ContentHash, Failure, FailureCode, Limits, RowFormat, TeacherCard, encode_rows,
    proto::{
        self, DescribeRequest, Example, ExampleBatch, Hello, LabelReply, LabelRequest,
        StudentMessage, TeacherMessage, student_message, teacher_message,
        teacher_server::{Teacher as TeacherRpc, TeacherServer},
    },
};
use tokio::sync::mpsc;
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status, Streaming};
use tracing::{info, warn};

use super::engine::{Engine, Waiter};

/// Answers in one message, at most: enough that framing costs nothing beside the rows, few enough that
/// a student sees its first row early.
const MAX_ROWS_PER_MESSAGE: usize = 256;

/// Bytes of an answer beside its logits, at most: id, content hash, or a failure's message.
const ANSWER_OVERHEAD: usize = 512;

/// Messages written ahead of a student that reads slowly; its rows wait in their own places instead.
const MESSAGES_AHEAD: usize = 2;

/// Bytes of an experiment's name.
const MAX_EXPERIMENT_BYTES: usize = 256;

/// The service, before and after the teacher is loaded.
#[derive(Debug, Clone)]
pub(super) struct TeacherService {
    engine: Arc<OnceLock<Arc<Engine>>>,
    limits: Limits,
    draining: CancellationToken,
}

impl TeacherService {
    pub(super) fn new(
        engine: Arc<OnceLock<Arc<Engine>>>,
        limits: Limits,
        draining: CancellationToken,
    ) -> Self {
        Self { engine, limits, draining }
    }

    pub(super) fn into_server(self) -> TeacherServer<Self> {
        let bytes = self.limits.max_message_bytes;
        TeacherServer::new(self).max_decoding_message_size(bytes).max_encoding_message_size(bytes)
    }

    fn engine(&self) -> Result<Arc<Engine>, Status> {
        if self.draining.is_cancelled() {
            return Err(shutting_down());
        }
        self.engine
            .get()
            .cloned()
            .ok_or_else(|| Status::unavailable("the teacher is still loading"))
    }
}

fn shutting_down() -> Status {
    Status::unavailable("the server is shutting down; connect again, elsewhere or later")
}

#[tonic::async_trait]
impl TeacherRpc for TeacherService {
    async fn describe(
        &self,
        _request: Request<DescribeRequest>,
    ) -> Result<Response<proto::TeacherCard>, Status> {
        Ok(Response::new(self.engine()?.card().into()))
    }

    async fn label(&self, _request: Request<LabelRequest>) -> Result<Response<LabelReply>, Status> {
        Err(Status::unimplemented("in the next commit"))
    }

    type StreamLogitsStream = Pin<Box<dyn Stream<Item = Result<TeacherMessage, Status>> + Send>>;

    async fn stream_logits(
        &self,
        request: Request<Streaming<StudentMessage>>,
    ) -> Result<Response<Self::StreamLogitsStream>, Status> {
        let engine = self.engine()?;
        let (messages, written) = mpsc::channel(MESSAGES_AHEAD);
        let draining = self.draining.clone();
        let inbound = request.into_inner();
        tokio::spawn(async move {
            let ended = serve_student(engine, inbound, &messages, draining).await;
            if let Err(status) = ended {
                let _gone = messages.send(Err(status)).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(written))))
    }
}

/// One student from its hello to its end. Reading stops while answers cannot be written: a student
/// that does not read holds its own credits and nothing else.
async fn serve_student(
    engine: Arc<Engine>,
    mut inbound: Streaming<StudentMessage>,
    messages: &mpsc::Sender<Result<TeacherMessage, Status>>,
    draining: CancellationToken,
) -> Result<(), Status> {
    let first = tokio::select! {
        biased;
        () = draining.cancelled() => return Err(shutting_down()),
        first = inbound.message() => first.map_err(over_a_limit)?,
    };
    let Some(first) = first else {
        return Ok(());
    };
    let Some(student_message::Message::Hello(hello)) = first.message else {
        return Err(Status::invalid_argument("the first message must be a hello"));
    };
    let format = accept(&engine, &hello)?;
    let credits = engine.card().limits.credits;
    let welcome = proto::Welcome { card: Some(engine.card().into()), credits: credits as u32 };
    send(messages, teacher_message::Message::Welcome(welcome)).await?;
    let experiment = hello.experiment;
    info!(experiment, ?format, "student connected");

    let (answers, mut answered) = mpsc::channel(credits);
    let mut stream = StudentStream { engine, answers, in_flight: HashSet::new(), credits, rows: 0 };
    let watched = Arc::clone(&stream.engine);
    let mut failed = std::pin::pin!(watched.failed());
    let most = rows_per_message(stream.engine.card(), format);
    let mut taken = Vec::with_capacity(most);
    let mut reading = true;
    while reading || !stream.in_flight.is_empty() {
        taken.clear();
        tokio::select! {
            biased;
            cause = &mut failed => {
                return Err(Status::internal(format!("the teacher failed: {cause}")));
            }
            () = messages.closed() => break,
            _ = answered.recv_many(&mut taken, most) => {
                stream.write(&taken, format, messages).await?;
            }
            () = draining.cancelled(), if reading => reading = false,
            message = inbound.message(), if reading => match message.map_err(over_a_limit)? {
                Some(message) => stream.read(message).await?,
                None => reading = false,
            },
        }
    }
    info!(experiment, rows = stream.rows, unanswered = stream.in_flight.len(), "student left");
    if draining.is_cancelled() { Err(shutting_down()) } else { Ok(()) }
}

/// tonic calls a message over the decoding limit `OUT_OF_RANGE`; the contract, `RESOURCE_EXHAUSTED`.
fn over_a_limit(status: Status) -> Status {
    match status.code() {
        Code::OutOfRange => Status::resource_exhausted(status.message()),
        _ => status,
    }
}

/// How many answers fit one message whatever they hold.
fn rows_per_message(card: &TeacherCard, format: RowFormat) -> usize {
    let bytes = ANSWER_OVERHEAD + format.bytes_per_row(card.labels.len());
    (card.limits.max_message_bytes / bytes).clamp(1, MAX_ROWS_PER_MESSAGE)
}

/// Checks a hello; the format of rows it asks for.
fn accept(engine: &Engine, hello: &Hello) -> Result<RowFormat, Status> {
    if hello.experiment.len() > MAX_EXPERIMENT_BYTES {
        let bytes = hello.experiment.len();
        return Err(Status::invalid_argument(format!(
            "experiment name has {bytes} bytes, at most {MAX_EXPERIMENT_BYTES}"
        )));
    }
    let ours = &engine.card().fingerprint;
    let expected = &hello.expected_fingerprint;
    if !expected.is_empty() && expected != ours.as_str() {
        warn!(experiment = hello.experiment, expected, "student expects another teacher");
        return Err(Status::failed_precondition(format!(
            "this server's teacher is {ours}, the student expects {expected}; start the server with \
             the teacher this run began with, or a new run"
        )));
    }
    let card = engine.card();
    RowFormat::of(hello, card.labels.len(), card.members)
        .map_err(|cause| Status::invalid_argument(cause.to_string()))
}

async fn send(
    messages: &mpsc::Sender<Result<TeacherMessage, Status>>,
    message: teacher_message::Message,
) -> Result<(), Status> {
    let message = TeacherMessage { message: Some(message) };
    messages.send(Ok(message)).await.map_err(|_| Status::cancelled("the student went away"))
}

/// What one open stream holds.
struct StudentStream {
    engine: Arc<Engine>,
    answers: mpsc::Sender<Answer>,
    in_flight: HashSet<u64>,
    credits: usize,
    rows: u64,
}

impl StudentStream {
    async fn write(
        &mut self,
        answers: &[Answer],
        format: RowFormat,
        messages: &mpsc::Sender<Result<TeacherMessage, Status>>,
    ) -> Result<(), Status> {
        for answer in answers {
            self.in_flight.remove(&answer.id);
        }
        self.rows += answers.len() as u64;
        let rows = encode_rows(answers, self.engine.card().labels.len(), format);
        send(messages, teacher_message::Message::Rows(rows)).await
    }

    async fn read(&mut self, message: StudentMessage) -> Result<(), Status> {
        let examples = match message.message {
            Some(student_message::Message::Examples(ExampleBatch { examples })) => examples,
            Some(student_message::Message::Hello(_)) => {
                return Err(Status::invalid_argument("a second hello on one stream"));
            }
            None => return Err(Status::invalid_argument("an empty message")),
        };
        let wanted = self.in_flight.len() + examples.len();
        if wanted > self.credits {
            return Err(Status::resource_exhausted(format!(
                "{wanted} examples in flight exceed the {} credits of this stream",
                self.credits
            )));
        }
        for example in &examples {
            if !self.in_flight.insert(example.id) {
                let id = example.id;
                return Err(Status::invalid_argument(format!("id {id} is already in flight")));
            }
        }
        // Tokenising is computation: it may not hold up the other streams of this thread.
        let (engine, answers) = (Arc::clone(&self.engine), self.answers.clone());
        tokio::task::spawn_blocking(move || admit(&engine, examples, &answers))
            .await
            .map_err(|cause| Status::internal(format!("tokenising failed: {cause}")))
    }
}

/// Answers at once what is known or cannot be taken; queues the rest.
fn admit(engine: &Engine, examples: Vec<Example>, answers: &mpsc::Sender<Answer>) {
    let mut unknown = Vec::new();
    for example in examples {
        let waiter = Waiter { id: example.id, answers: answers.clone() };
        let pair = example.text_pair.as_deref();
        if let Err(failure) = check(&example, engine.card().limits) {
            engine.refused(&waiter, failure);
            continue;
        }
        let content = ContentHash::new(&example.text, pair);
        if engine.answer_known(content, &waiter) {
            continue;
        }
        match engine.tokenizer().encode(&example.text, pair) {
            Ok(tokens) => unknown.push((content, tokens, waiter)),
            Err(cause) => {
                let code = FailureCode::NotTokenizable;
                engine.refused(&waiter, Failure { code, message: cause.to_string() });
            }
        }
    }
    if !unknown.is_empty() {
        engine.submit(unknown);
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
