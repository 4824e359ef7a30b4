//! The gRPC face of the engine: `Describe`, `Label` and `StreamLogits`, before and after the teacher is
//! loaded.

use std::{
    collections::HashSet,
    pin::Pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

use lectern::wire::{
    Limits, encode_rows,
    proto::{
        self, DescribeRequest, LabelReply, LabelRequest, StudentMessage, TeacherMessage,
        teacher_server::{Teacher as TeacherRpc, TeacherServer},
    },
};
use tokio::sync::mpsc;
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::{
    admission::{Wanted, accept},
    answers::Answers,
    deadline::deadline,
    engine::Engine,
    stream::serve_student,
};

/// Messages written ahead of a student that reads slowly; its rows wait in their own places instead.
const MESSAGES_AHEAD: usize = 2;

/// When a refused unary call may try again: a few forward passes of a CPU.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The service; the engine comes when the teacher is loaded.
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

pub(super) fn shutting_down() -> Status {
    Status::unavailable("the server is shutting down; connect again, elsewhere or later")
}

/// A refusal that says when to come again, as `google.rpc.RetryInfo`.
fn exhausted(message: String, retry: Option<Duration>) -> Status {
    let mut details = ErrorDetails::new();
    details.set_retry_info(retry);
    Status::with_error_details(Code::ResourceExhausted, message, details)
}

#[tonic::async_trait]
impl TeacherRpc for TeacherService {
    async fn describe(
        &self,
        _request: Request<DescribeRequest>,
    ) -> Result<Response<proto::TeacherCard>, Status> {
        Ok(Response::new(self.engine()?.card().into()))
    }

    /// tonic drops this future when the call is cancelled or its deadline passes, and with it what was
    /// asked.
    async fn label(&self, request: Request<LabelRequest>) -> Result<Response<LabelReply>, Status> {
        let engine = self.engine()?;
        let LabelRequest { hello, examples } = request.into_inner();
        let hello = hello.unwrap_or_default();
        let format = accept(&engine, &hello)?;
        let (n, credits) = (examples.len(), self.limits.credits);
        if n == 0 {
            return Err(Status::invalid_argument("no examples"));
        }
        if n > credits {
            let message = format!("{n} examples in one call, at most {credits}; use StreamLogits");
            return Err(exhausted(message, None));
        }
        let distinct: HashSet<_> = examples.iter().map(|example| example.id).collect();
        if distinct.len() != n {
            return Err(Status::invalid_argument("two examples have the same id"));
        }
        if engine.is_full() {
            engine.counters.refused.add(1);
            let message = "too much is queued; come again later or use StreamLogits, which waits";
            return Err(exhausted(message.to_owned(), Some(RETRY_AFTER)));
        }
        let mut student = engine.students.enter(&hello.experiment);
        student.took(n);
        let (answers, mut answered) = Answers::channel(&engine, n);
        let wanted = Wanted::new(&engine, examples, &answers);
        drop(answers);
        wanted.admit(Arc::clone(&engine), Arc::clone(student.experiment())).await?;
        let mut all = Vec::with_capacity(n);
        while all.len() < n {
            if answered.recv_many(&mut all, n).await == 0 {
                return Err(Status::unavailable("the teacher stopped before it answered"));
            }
        }
        student.gave_back(n);
        let classes = engine.card().labels.len();
        let rows = engine.counters.encoding.time(|| encode_rows(&all, classes, format));
        let fingerprint = engine.card().fingerprint.to_string();
        Ok(Response::new(LabelReply { fingerprint, rows: Some(rows) }))
    }

    type StreamLogitsStream = Pin<Box<dyn Stream<Item = Result<TeacherMessage, Status>> + Send>>;

    async fn stream_logits(
        &self,
        request: Request<Streaming<StudentMessage>>,
    ) -> Result<Response<Self::StreamLogitsStream>, Status> {
        let engine = self.engine()?;
        let (messages, written) = mpsc::channel(MESSAGES_AHEAD);
        let draining = self.draining.clone();
        let deadline = deadline(request.metadata());
        let inbound = request.into_inner();
        tokio::spawn(async move {
            let ended = serve_student(engine, inbound, &messages, draining, deadline).await;
            if let Err(status) = ended {
                let _gone = messages.send(Err(status)).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(written))))
    }
}
