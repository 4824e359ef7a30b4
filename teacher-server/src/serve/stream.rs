//! One student's stream from its hello to its end: credits, reading, writing.

use std::{collections::HashSet, sync::Arc, time::Duration};

use lectern::wire::{
    Answer, RowFormat, TeacherCard, encode_rows,
    proto::{self, ExampleBatch, StudentMessage, TeacherMessage, student_message, teacher_message},
};
use tokio::{
    sync::mpsc,
    task::{JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming};
use tracing::info;

use super::{
    CORES,
    admission::{Wanted, accept},
    answers::Answers,
    engine::Engine,
    service::shutting_down,
    students::Student,
};

/// Answers in one message, at most: enough that framing costs nothing beside the rows, few enough that
/// a student sees its first row early.
const MAX_ROWS_PER_MESSAGE: usize = 256;

/// Bytes of an answer beside its logits, at most: id, content hash, or a failure's message.
const ANSWER_OVERHEAD: usize = 512;

/// Messages of one stream that are looked up and tokenised beside each other: as many as it takes for one student to keep a
/// GPU busy, few enough that the others' find a thread that tokenises.
fn admitted_at_once() -> usize {
    (*CORES / 4).max(1)
}

type Messages = mpsc::Sender<Result<TeacherMessage, Status>>;

/// Serves one student. Reading stops while answers cannot be written: a student that does not read
/// holds its own credits and nothing else. After `deadline`, if the call has one, nothing more is read
/// or computed for it.
pub(super) async fn serve_student(
    engine: Arc<Engine>,
    mut inbound: Streaming<StudentMessage>,
    messages: &Messages,
    draining: CancellationToken,
    deadline: Option<Duration>,
) -> Result<(), Status> {
    let expired = async {
        match deadline {
            Some(deadline) => tokio::time::sleep(deadline).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = expired => Err(Status::deadline_exceeded("the call's deadline passed")),
        ended = converse(engine, &mut inbound, messages, draining) => ended,
    }
}

async fn converse(
    engine: Arc<Engine>,
    inbound: &mut Streaming<StudentMessage>,
    messages: &Messages,
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

    let (answers, mut answered) = Answers::channel(&engine, credits);
    let student = engine.students.enter(&experiment);
    let mut stream = StudentStream {
        engine,
        student,
        answers,
        in_flight: HashSet::default(),
        admissions: JoinSet::new(),
        format,
        credits,
        rows: 0,
    };
    let watched = Arc::clone(&stream.engine);
    let mut failed = std::pin::pin!(watched.failed());
    let most = rows_per_message(watched.card(), format);
    let mut taken = Vec::new();
    let mut reading = true;
    while reading || !stream.in_flight.is_empty() {
        taken.clear();
        // Nothing is read while the engine holds as much as it wants to: overload makes streams wait.
        let next = async {
            watched.room().await;
            inbound.message().await
        };
        let may_read = reading && stream.admissions.len() < admitted_at_once();
        tokio::select! {
            biased;
            cause = &mut failed => {
                return Err(Status::internal(format!("the teacher failed: {cause}")));
            }
            () = messages.closed() => break,
            _ = answered.recv_many(&mut taken, most) => stream.write(&taken, messages).await?,
            Some(ended) = stream.admissions.join_next() => admitted(ended)?,
            () = draining.cancelled(), if reading => reading = false,
            message = next, if may_read => match message.map_err(over_a_limit)? {
                Some(message) => stream.read(message)?,
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

fn admitted(ended: Result<Result<(), Status>, JoinError>) -> Result<(), Status> {
    ended.map_err(|cause| Status::internal(format!("admitting examples failed: {cause}")))?
}

/// How many answers fit one message whatever they hold.
fn rows_per_message(card: &TeacherCard, format: RowFormat) -> usize {
    let bytes = ANSWER_OVERHEAD + format.bytes_per_row(card.labels.len());
    (card.limits.max_message_bytes / bytes).clamp(1, MAX_ROWS_PER_MESSAGE)
}

async fn send(messages: &Messages, message: teacher_message::Message) -> Result<(), Status> {
    let message = TeacherMessage { message: Some(message) };
    messages.send(Ok(message)).await.map_err(|_| Status::cancelled("the student went away"))
}

/// What one open stream holds.
struct StudentStream {
    engine: Arc<Engine>,
    student: Student,
    answers: mpsc::Sender<Answer>,
    in_flight: HashSet<u64>,
    /// Messages whose examples are looked up and tokenised.
    admissions: JoinSet<Result<(), Status>>,
    format: RowFormat,
    credits: usize,
    rows: u64,
}

impl StudentStream {
    async fn write(&mut self, answers: &[Answer], messages: &Messages) -> Result<(), Status> {
        for answer in answers {
            self.in_flight.remove(&answer.id);
        }
        self.student.gave_back(answers.len());
        self.rows += answers.len() as u64;
        let classes = self.engine.card().labels.len();
        let rows =
            self.engine.counters.encoding.time(|| encode_rows(answers, classes, self.format));
        send(messages, teacher_message::Message::Rows(rows)).await
    }

    fn read(&mut self, message: StudentMessage) -> Result<(), Status> {
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
        self.student.took(examples.len());
        let wanted = Wanted::new(&self.engine, examples, &self.answers);
        if !wanted.is_empty() {
            let (engine, experiment) =
                (Arc::clone(&self.engine), Arc::clone(self.student.experiment()));
            self.admissions.spawn(wanted.admit(engine, experiment));
        }
        Ok(())
    }
}
