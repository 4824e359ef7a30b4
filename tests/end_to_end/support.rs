//! A server in a thread of its own, students that follow the rules, and a raw client that need not.

use std::{
    collections::HashMap,
    fs,
    future::Future,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use lectern::{
    models::{Classifier as _, Teacher},
    wire::{
        ContentHash, Failure, Fingerprint, Row, TeacherCard, decode_rows,
        proto::{
            Example, ExampleBatch, Hello, StudentMessage, TeacherMessage, Welcome,
            student_message::Message as Says, teacher_client::TeacherClient,
            teacher_message::Message as Hears,
        },
    },
};
use student_trainer::labels::{Request, SoftLabels, StreamSettings, TeacherUrl, describe};
use teacher_server::serve::{Listening, ServeConfig, ServeError, Totals};
use tokio::{runtime::Builder, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{
    Status, Streaming,
    transport::{Channel, Endpoint},
};
use tonic_health::{
    ServingStatus,
    pb::{HealthCheckRequest, health_client::HealthClient},
};

/// The number of logits in a row of the fixture.
pub(crate) const CLASSES: usize = 3;

/// `BertForSequenceClassification` of `transformers` with 2 layers of 32, made by `make_bert.py`.
pub(crate) fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/bert/with_pooler")
}

/// The fixture in this process, computing with one thread.
pub(crate) fn teacher() -> Teacher {
    tch::set_num_threads(1);
    Teacher::load(&fixture(), tch::Device::Cpu).unwrap()
}

/// The fixture's rows computed in this process, each text in a forward pass of its own.
pub(crate) fn rows_alone(texts: &[(String, Option<String>)]) -> Vec<Vec<f32>> {
    let teacher = teacher();
    let alone = |(text, pair): &(String, Option<String>)| {
        let tokens = teacher.tokenizer().encode(text, pair.as_deref()).unwrap();
        teacher.predict(&[&tokens]).unwrap().remove(0)
    };
    texts.iter().map(alone).collect()
}

/// The fixture with its labels called `names`, in `folder`: other names, same weights.
pub(crate) fn relabelled(folder: &Path, names: [&str; CLASSES]) -> PathBuf {
    let model = folder.join("relabelled");
    fs::create_dir(&model).unwrap();
    for name in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        fs::copy(fixture().join(name), model.join(name)).unwrap();
    }
    let path = model.join("config.json");
    let mut config: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    config["id2label"] = serde_json::json!({"0": names[0], "1": names[1], "2": names[2]});
    fs::write(&path, config.to_string()).unwrap();
    model
}

/// `n` different texts of 2 to 40 words that the fixture knows, in no order of length; every fifth is
/// a pair.
pub(crate) fn texts(n: usize) -> Vec<(String, Option<String>)> {
    const WORDS: [&str; 16] = [
        "the", "film", "was", "never", "very", "good", "but", "beauty", "worst", "电影", "scene",
        "plays", "dull", "!", "love", "(2019)",
    ];
    (0..n)
        .map(|i| {
            let words = 1 + i * 7919 % 39;
            let said = (0..words).map(|w| WORDS[(i * 31 + w * w * 7 + w) % WORDS.len()]);
            let text = format!("{i} {}", said.collect::<Vec<_>>().join(" "));
            (text, (i % 5 == 4).then(|| format!("{} story", WORDS[i % WORDS.len()])))
        })
        .collect()
}

pub(crate) fn requests(texts: &[(String, Option<String>)]) -> Vec<Arc<Request>> {
    let request =
        |(text, pair): &(String, Option<String>)| Request::new(text.clone(), pair.clone());
    texts.iter().map(|example| Arc::new(request(example))).collect()
}

/// A server that is serving. Dropped, it stops without being waited for.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    http: Option<SocketAddr>,
    stop: CancellationToken,
    thread: JoinHandle<Result<Totals, ServeError>>,
}

impl Server {
    /// The fixture on a free port, with small batches so that several are computed.
    pub(crate) fn config() -> ServeConfig {
        ServeConfig {
            max_batch_tokens: Some(512),
            drain: Duration::from_secs(20),
            ..ServeConfig::new(&fixture())
        }
    }

    pub(crate) fn start() -> Self {
        Self::with(Self::config())
    }

    pub(crate) fn with(config: ServeConfig) -> Self {
        let (tell, told) = std::sync::mpsc::channel();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
            runtime.unwrap().block_on(async {
                let listening = Listening::bind(config).await?;
                tell.send((listening.address(), listening.http_address())).unwrap();
                listening.serve(stopped).await
            })
        });
        let (address, http) = told.recv().unwrap();
        let server = Self { address, http, stop, thread };
        block_on(server.serving());
        server
    }

    async fn serving(&self) {
        let mut health = HealthClient::new(self.channel().await);
        let mut watched = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
        while watched.message().await.unwrap().unwrap().status != ServingStatus::Serving as i32 {}
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The answer to `GET path` of a server that answers HTTP.
    pub(crate) fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.http.unwrap()).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: lectern\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        answer
    }

    pub(crate) fn url(&self) -> TeacherUrl {
        format!("http://{}", self.address).parse().unwrap()
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint::from_shared(format!("http://{}", self.address)).unwrap()
    }

    pub(crate) async fn channel(&self) -> Channel {
        self.endpoint().connect().await.unwrap()
    }

    pub(crate) fn card(&self) -> TeacherCard {
        describe(&self.url(), Duration::ZERO).unwrap()
    }

    /// Asks the server to stop; returns at once.
    pub(crate) fn begin_to_stop(&self) {
        self.stop.cancel();
    }

    /// Stops the server and hears what it did.
    pub(crate) fn stop(self) -> Totals {
        self.begin_to_stop();
        self.thread.join().unwrap().unwrap()
    }

    /// A student that asks for `batches`.
    pub(crate) fn student(&self, batches: Vec<Vec<Arc<Request>>>) -> SoftLabels {
        self.student_with(StreamSettings::new(self.url(), "end to end"), batches)
    }

    pub(crate) fn student_with(
        &self,
        settings: StreamSettings,
        batches: Vec<Vec<Arc<Request>>>,
    ) -> SoftLabels {
        SoftLabels::start(settings, self.card().fingerprint, batches.into_iter()).unwrap()
    }
}

/// The next `n` batches, each row present.
pub(crate) fn take(labels: &mut SoftLabels, n: usize) -> Vec<Vec<Arc<[f32]>>> {
    let batch = |_| labels.next_batch().unwrap().into_iter().map(Result::unwrap).collect();
    (0..n).map(batch).collect()
}

/// Runs the async part of a test.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// A hello that any teacher accepts.
pub(crate) fn hello() -> Hello {
    Hello { experiment: "raw".to_owned(), ..Hello::default() }
}

pub(crate) fn example(id: u64, text: &str) -> Example {
    Example { id, text: text.to_owned(), text_pair: None }
}

/// One stream, without any of the student's care.
#[derive(Debug)]
pub(crate) struct Raw {
    outgoing: mpsc::Sender<StudentMessage>,
    incoming: Streaming<TeacherMessage>,
    hashes: HashMap<u64, ContentHash>,
}

impl Raw {
    /// A stream on which nothing has been said.
    pub(crate) async fn silent(channel: Channel) -> Self {
        let (outgoing, messages) = mpsc::channel(16);
        let messages = ReceiverStream::new(messages);
        let incoming = TeacherClient::new(channel).stream_logits(messages).await.unwrap();
        Self { outgoing, incoming: incoming.into_inner(), hashes: HashMap::new() }
    }

    /// A welcomed stream.
    pub(crate) async fn open(channel: Channel, hello: Hello) -> Result<(Self, Welcome), Status> {
        let mut raw = Self::silent(channel).await;
        raw.say(Says::Hello(hello)).await;
        match raw.hear().await? {
            Some(Hears::Welcome(welcome)) => Ok((raw, welcome)),
            other => panic!("expected a welcome, heard {other:?}"),
        }
    }

    pub(crate) async fn say(&self, message: Says) {
        self.say_raw(StudentMessage { message: Some(message) }).await;
    }

    pub(crate) async fn say_raw(&self, message: StudentMessage) {
        self.outgoing.send(message).await.unwrap();
    }

    pub(crate) async fn ask(&mut self, examples: Vec<Example>) {
        for example in &examples {
            let content = ContentHash::new(&example.text, example.text_pair.as_deref());
            self.hashes.insert(example.id, content);
        }
        self.say(Says::Examples(ExampleBatch { examples })).await;
    }

    pub(crate) async fn hear(&mut self) -> Result<Option<Hears>, Status> {
        Ok(self.incoming.message().await?.and_then(|message| message.message))
    }

    /// The answers of one message, rows checked against the content that was asked.
    pub(crate) async fn answers(&mut self) -> Result<HashMap<u64, Result<Row, Failure>>, Status> {
        let Some(Hears::Rows(rows)) = self.hear().await? else { panic!("expected rows") };
        let answers = decode_rows(&rows, CLASSES).unwrap();
        for answer in &answers {
            if let Ok(row) = &answer.outcome {
                assert_eq!(row.content, self.hashes[&answer.id], "id {}", answer.id);
            }
        }
        Ok(answers.into_iter().map(|answer| (answer.id, answer.outcome)).collect())
    }

    /// The next `n` answers, by id.
    pub(crate) async fn collect(&mut self, n: usize) -> HashMap<u64, Result<Row, Failure>> {
        let mut all = HashMap::new();
        while all.len() < n {
            all.extend(self.answers().await.unwrap());
        }
        assert_eq!(all.len(), n);
        all
    }

    /// Reads to the status that the stream ends with.
    pub(crate) async fn status(&mut self) -> Status {
        loop {
            match self.hear().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the stream ended without a status"),
                Err(status) => return status,
            }
        }
    }

    /// Says that nothing more will be asked.
    pub(crate) fn close(self) -> Streaming<TeacherMessage> {
        self.incoming
    }
}

/// A fingerprint that no teacher has.
pub(crate) fn nobodys() -> Fingerprint {
    "0123456789abcdef".repeat(4).parse().unwrap()
}
