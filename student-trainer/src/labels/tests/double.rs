//! A teacher that knows no model: rows are a function of the text, and every fault can be ordered.

use std::{
    net::{SocketAddr, TcpListener},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use lectern::wire::{
    Answer, ContentHash, Encoding, Failure, FailureCode, Fingerprint, Limits, Row, RowFormat,
    TeacherCard, encode_rows,
    proto::{
        self, DescribeRequest, Example, Rows, StudentMessage, TeacherMessage, Welcome,
        student_message, teacher_message::Message, teacher_server,
    },
};
use tokio::{runtime::Runtime, sync::mpsc, time::timeout};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming, async_trait};

use crate::labels::{StreamSettings, TeacherUrl};

/// How the teacher behaves on one stream.
#[derive(Clone)]
pub(super) struct Manner {
    pub(super) fingerprint: Fingerprint,
    /// Refuse other expected fingerprints by status, as a real teacher does, or only show the card.
    pub(super) checks_hello: bool,
    pub(super) answers: bool,
    /// End the stream after so many answers.
    pub(super) ends_after: Option<(usize, Result<(), Status>)>,
    pub(super) tamper: fn(&mut Vec<Answer>),
    pub(super) corrupt: fn(&mut Rows),
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            fingerprint: fingerprint('a'),
            checks_hello: true,
            answers: true,
            ends_after: None,
            tamper: |_| {},
            corrupt: |_| {},
        }
    }
}

pub(super) fn fingerprint(digit: char) -> Fingerprint {
    digit.to_string().repeat(64).parse().unwrap()
}

/// What the teacher saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) texts: Vec<String>,
    pub(super) most_in_flight: usize,
    pub(super) largest_message: usize,
    pub(super) streams_opened: usize,
    pub(super) streams_ended: usize,
    /// Of these, by the student's own end of stream.
    pub(super) streams_closed: usize,
}

pub(super) struct Double {
    pub(super) address: SocketAddr,
    pub(super) ready: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    _runtime: Runtime,
}

impl Double {
    /// A flawless teacher.
    pub(super) fn start(limits: Limits) -> Self {
        Self::with(limits, |_| Manner::default())
    }

    /// A teacher whose manner depends on how many streams there were before.
    pub(super) fn with(
        limits: Limits,
        manner: impl Fn(usize) -> Manner + Send + Sync + 'static,
    ) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), limits, manner)
    }

    pub(super) fn at(
        address: SocketAddr,
        limits: Limits,
        manner: impl Fn(usize) -> Manner + Send + Sync + 'static,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (listener, address) = runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind(address).await.unwrap();
            let address = listener.local_addr().unwrap();
            (TcpListenerStream::new(listener), address)
        });
        let seen = Arc::<Mutex<Seen>>::default();
        let ready = Arc::new(AtomicBool::new(true));
        let service = Service {
            limits,
            manner: Arc::new(manner),
            seen: Arc::clone(&seen),
            ready: Arc::clone(&ready),
            streams: Arc::default(),
        };
        let server = teacher_server::TeacherServer::new(service)
            .max_decoding_message_size(limits.max_message_bytes);
        runtime.spawn(
            tonic::transport::Server::builder().add_service(server).serve_with_incoming(listener),
        );
        Self { address, ready, seen, _runtime: runtime }
    }

    pub(super) fn url(&self) -> TeacherUrl {
        format!("http://{}", self.address).parse().unwrap()
    }

    /// Settings with waits that suit a test.
    pub(super) fn settings(&self) -> StreamSettings {
        StreamSettings {
            patience: Duration::from_secs(20),
            answer_timeout: Duration::from_secs(10),
            ..StreamSettings::new(self.url(), "test")
        }
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }
}

/// A port on which nobody listens.
pub(super) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Waits for what must come true soon, up to a time that only a fault needs.
pub(super) fn soon(what: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    while !what() {
        if start.elapsed() > Duration::from_secs(10) {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    true
}

/// The teacher's opinion: three numbers that no other text shares.
pub(super) fn row_of(text: &str, text_pair: Option<&str>) -> [f32; 3] {
    let hash = *ContentHash::new(text, text_pair).as_bytes();
    [0, 4, 8].map(|i| f32::from(hash[i]) + f32::from(hash[i + 1]) / 256.0)
}

fn answer(example: &Example) -> Answer {
    let pair = example.text_pair.as_deref();
    let failure = |code, message: &str| Err(Failure { code, message: message.to_owned() });
    let outcome = match example.text.as_str() {
        "" => failure(FailureCode::EmptyText, "`text` is empty"),
        text if text.starts_with("refuse") => failure(FailureCode::NotFinite, "logits hold NaN"),
        text => Ok(Row {
            content: ContentHash::new(text, pair),
            logits: row_of(text, pair).into(),
            variance: None,
            truncated: text.starts_with("long"),
        }),
    };
    Answer { id: example.id, outcome }
}

#[derive(Clone)]
struct Service {
    limits: Limits,
    manner: Arc<dyn Fn(usize) -> Manner + Send + Sync>,
    seen: Arc<Mutex<Seen>>,
    ready: Arc<AtomicBool>,
    streams: Arc<AtomicUsize>,
}

impl Service {
    fn card(&self, fingerprint: Fingerprint) -> proto::TeacherCard {
        (&TeacherCard {
            task: lectern::data::Task::SingleLabel,
            fingerprint,
            name: "double".to_owned(),
            labels: ["a", "b", "c"].map(str::to_owned).into(),
            architecture: "none".to_owned(),
            parameters: 0,
            max_length: 128,
            arithmetic: "float32".to_owned(),
            limits: self.limits,
            encodings: Encoding::ALL.into(),
            members: 1,
            mask_token: None,
        })
            .into()
    }

    async fn converse(
        &self,
        manner: Manner,
        mut incoming: Streaming<StudentMessage>,
        outgoing: &mpsc::Sender<Result<TeacherMessage, Status>>,
    ) -> Result<(), Status> {
        let first = incoming.message().await?.and_then(|message| message.message);
        let Some(student_message::Message::Hello(hello)) = first else {
            return Err(Status::invalid_argument("no hello"));
        };
        if manner.checks_hello && hello.expected_fingerprint != manner.fingerprint.as_str() {
            return Err(Status::failed_precondition("another teacher"));
        }
        let card = Some(self.card(manner.fingerprint.clone()));
        let say = |message| {
            let message = TeacherMessage { message: Some(message) };
            async { outgoing.send(Ok(message)).await.map_err(|_| Status::cancelled("gone")) }
        };
        say(Message::Welcome(Welcome { card, credits: self.limits.credits as u32 })).await?;

        let (mut waiting, mut answered, mut ended) = (Vec::new(), 0, false);
        loop {
            // Answers are held back for a moment so that several messages mix.
            match timeout(Duration::from_millis(2), incoming.message()).await {
                Ok(message) => match message?.and_then(|message| message.message) {
                    Some(student_message::Message::Examples(batch)) => {
                        waiting.extend(batch.examples.iter().map(answer));
                        let mut seen = self.seen.lock().unwrap();
                        seen.largest_message = seen.largest_message.max(batch.examples.len());
                        seen.most_in_flight = seen.most_in_flight.max(waiting.len());
                        seen.texts.extend(batch.examples.into_iter().map(|example| example.text));
                        continue;
                    }
                    Some(_) => return Err(Status::invalid_argument("a second hello")),
                    None => {
                        self.seen.lock().unwrap().streams_closed += 1;
                        ended = true;
                    }
                },
                Err(_) if !manner.answers => continue,
                Err(_) => {}
            }
            // In disorder: the hash of what a row answers decides when it goes.
            waiting
                .sort_by_key(|answer: &Answer| ContentHash::new(&format!("{}", answer.id), None));
            let most = match &manner.ends_after {
                Some((most, _)) => most.saturating_sub(answered).min(waiting.len()),
                None => waiting.len(),
            };
            let mut now: Vec<_> = waiting.drain(..most).collect();
            answered += now.len();
            (manner.tamper)(&mut now);
            for part in now.chunks(7) {
                let mut rows = encode_rows(part, 3, RowFormat::default());
                (manner.corrupt)(&mut rows);
                say(Message::Rows(rows)).await?;
            }
            match manner.ends_after {
                Some((most, end)) if answered >= most => return end,
                _ if ended => return Ok(()),
                _ => {}
            }
        }
    }
}

#[async_trait]
impl teacher_server::Teacher for Service {
    async fn describe(
        &self,
        _: Request<DescribeRequest>,
    ) -> Result<Response<proto::TeacherCard>, Status> {
        if !self.ready.load(SeqCst) {
            return Err(Status::unavailable("loading the model"));
        }
        let manner = (self.manner)(self.streams.load(SeqCst).saturating_sub(1));
        Ok(Response::new(self.card(manner.fingerprint)))
    }

    async fn label(
        &self,
        _: Request<proto::LabelRequest>,
    ) -> Result<Response<proto::LabelReply>, Status> {
        Err(Status::unimplemented("students stream"))
    }

    type StreamLogitsStream = ReceiverStream<Result<TeacherMessage, Status>>;

    async fn stream_logits(
        &self,
        request: Request<Streaming<StudentMessage>>,
    ) -> Result<Response<Self::StreamLogitsStream>, Status> {
        let manner = (self.manner)(self.streams.fetch_add(1, SeqCst));
        self.seen.lock().unwrap().streams_opened += 1;
        let (outgoing, messages) = mpsc::channel(1);
        let service = self.clone();
        tokio::spawn(async move {
            let ended = service.converse(manner, request.into_inner(), &outgoing).await;
            service.seen.lock().unwrap().streams_ended += 1;
            if let Err(status) = ended {
                let _ = outgoing.send(Err(status)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(messages)))
    }
}
