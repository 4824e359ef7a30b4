//! The leanest student there can be: one stream, rows checked and thrown away. It fills its credits,
//! or does not, as a section wants it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use anyhow::{Context as _, Result, bail, ensure};
use lectern::wire::{
    ContentHash, decode_rows,
    proto::{
        Example, ExampleBatch, Hello, StudentMessage, TeacherMessage,
        student_message::Message as Says, teacher_client::TeacherClient,
        teacher_message::Message as Hears,
    },
};
use student_trainer::labels::TeacherUrl;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Streaming, transport::Endpoint};

use crate::counting;

/// As `student-trainer` sets them.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 2 << 20;

/// Texts that are asked for over and over, with the hashes that their rows must carry.
#[derive(Debug)]
pub(crate) struct Texts {
    texts: Vec<String>,
    contents: Vec<ContentHash>,
}

impl Texts {
    pub(crate) fn new(texts: Vec<String>) -> Self {
        let contents = texts.iter().map(|text| ContentHash::new(text, None)).collect();
        Self { texts, contents }
    }

    pub(crate) fn len(&self) -> usize {
        self.texts.len()
    }

    /// The message that asks for `n` texts from number `first` on, round and round. Ids are the numbers.
    pub(crate) fn message(&self, first: u64, n: usize) -> StudentMessage {
        let examples = (first..first + n as u64)
            .map(|id| Example {
                id,
                text: self.texts[id as usize % self.texts.len()].clone(),
                text_pair: None,
            })
            .collect();
        StudentMessage { message: Some(Says::Examples(ExampleBatch { examples })) }
    }

    fn content(&self, id: u64) -> ContentHash {
        self.contents[id as usize % self.contents.len()]
    }
}

/// One open stream.
#[derive(Debug)]
pub(crate) struct Client {
    outgoing: mpsc::Sender<StudentMessage>,
    incoming: Streaming<TeacherMessage>,
    texts: Arc<Texts>,
    /// The number of the next example.
    next: u64,
    /// The ring of examples in flight, by number.
    in_flight: Vec<bool>,
    open: usize,
    pub(crate) credits: usize,
    classes: usize,
    received: Arc<AtomicU64>,
}

impl Client {
    /// Opens a stream over a connection of its own.
    pub(crate) async fn open(
        url: &TeacherUrl,
        experiment: &str,
        texts: Arc<Texts>,
    ) -> Result<Self> {
        let url = url.to_string();
        let address = url.trim_start_matches("http://").to_owned();
        let endpoint = Endpoint::from_shared(url)?
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW);
        let received = Arc::new(AtomicU64::new(0));
        let channel = counting::connect(endpoint, address, Arc::clone(&received)).await?;
        let (outgoing, messages) = mpsc::channel(2);
        let hello = Hello { experiment: experiment.to_owned(), ..Hello::default() };
        outgoing.send(StudentMessage { message: Some(Says::Hello(hello)) }).await?;
        let mut incoming = TeacherClient::new(channel)
            .stream_logits(ReceiverStream::new(messages))
            .await?
            .into_inner();
        let first = incoming.message().await?.and_then(|first| first.message);
        let Some(Hears::Welcome(welcome)) = first else { bail!("no welcome") };
        let classes = welcome.card.context("a welcome without a card")?.labels.len();
        let credits = welcome.credits as usize;
        // Numbers in flight may lie further apart than their count, for answers come in any order.
        let in_flight = vec![false; (64 * credits).next_power_of_two()];
        Ok(Self {
            outgoing,
            incoming,
            texts,
            next: 0,
            in_flight,
            open: 0,
            credits,
            classes,
            received,
        })
    }

    /// Examples in flight.
    pub(crate) fn open_examples(&self) -> usize {
        self.open
    }

    /// Bytes received so far.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Relaxed)
    }

    /// Asks for the next `n` texts.
    pub(crate) async fn ask(&mut self, n: usize) -> Result<()> {
        let message = self.texts.message(self.next, n);
        for id in self.next..self.next + n as u64 {
            let slot = self.slot(id);
            ensure!(!self.in_flight[slot], "example {id} laps one that is still in flight");
            self.in_flight[slot] = true;
        }
        self.next += n as u64;
        self.open += n;
        self.outgoing.send(message).await.context("the stream has ended")
    }

    /// Asks for batches of `n` until no more fits the credits.
    pub(crate) async fn fill(&mut self, n: usize) -> Result<()> {
        while self.open + n <= self.credits {
            self.ask(n).await?;
        }
        Ok(())
    }

    /// Waits for one message of rows and checks every row; how many they were.
    pub(crate) async fn rows(&mut self) -> Result<usize> {
        let message = self.incoming.message().await?.context("the teacher ended the stream")?;
        let Some(Hears::Rows(rows)) = message.message else { bail!("not a message of rows") };
        let answers = decode_rows(&rows, self.classes)?;
        for answer in &answers {
            let id = answer.id;
            let row = match &answer.outcome {
                Ok(row) => row,
                Err(failure) => bail!("no row for example {id}: {}", failure.message),
            };
            let slot = self.slot(id);
            ensure!(std::mem::take(&mut self.in_flight[slot]), "example {id} was not asked for");
            ensure!(row.content == self.texts.content(id), "example {id} got another's row");
        }
        self.open -= answers.len();
        Ok(answers.len())
    }

    /// Asks for `batches` of `n`, each after the answers to the one before.
    pub(crate) async fn ask_in_turn(&mut self, batches: usize, n: usize) -> Result<()> {
        for _ in 0..batches {
            self.ask(n).await?;
            self.settle().await?;
        }
        Ok(())
    }

    /// Waits until nothing is in flight.
    pub(crate) async fn settle(&mut self) -> Result<()> {
        while self.open > 0 {
            self.rows().await?;
        }
        Ok(())
    }

    fn slot(&self, id: u64) -> usize {
        id as usize & (self.in_flight.len() - 1)
    }
}
