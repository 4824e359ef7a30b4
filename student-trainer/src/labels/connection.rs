//! Reaching the teacher: the channel's settings, `Describe`, and the stream up to its welcome.

use std::{error::Error, future::Future, time::Duration};

use lectern::wire::{
    Fingerprint, TeacherCard,
    proto::{
        self, DescribeRequest, StudentMessage, TeacherMessage, student_message, teacher_client,
        teacher_message,
    },
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Code, Status, Streaming,
    transport::{Channel, Endpoint},
};
use tracing::info;

use super::{LabelError, StreamSettings, TeacherUrl, retry};

type Client = teacher_client::TeacherClient<Channel>;

/// Rows are small (1,024 of 15 classes: 80 KiB); 1 MiB of window never makes the teacher wait for a
/// student that reads, and bounds what one that does not read makes it hold.
const STREAM_WINDOW: u32 = 1 << 20;
/// One stream and unary calls beside it: a full stream must not stop them.
const CONNECTION_WINDOW: u32 = 2 << 20;
/// Enough for 1,024 rows of 4,000 classes; far below what would hurt if the peer is broken.
const MAX_RECEIVED: usize = 16 << 20;
/// What gRPC peers accept by default, whatever more the teacher's card may allow.
pub(super) const MAX_SENT: usize = 4 << 20;
/// A dead peer shows after 30 s of silence, an idle connection stays known to firewalls.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Messages between the run-ahead and HTTP/2: one being written, one ready behind it.
const OUTGOING: usize = 2;
/// For `Describe`, which has no settings of its own.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Of the experiment's name; the contract's bound.
const MAX_NAME: usize = 256;

/// A stream that has been welcomed.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) outgoing: mpsc::Sender<StudentMessage>,
    pub(super) incoming: Streaming<TeacherMessage>,
    pub(super) card: TeacherCard,
    pub(super) credits: usize,
}

/// Why a try failed.
#[derive(Debug)]
pub(super) enum Trouble {
    /// No connection.
    Absent(String),
    /// A connection without the expected answer in time.
    Silent(String),
    /// The peer's own verdict.
    Status(Status),
    /// No further try can help.
    Fatal(LabelError),
}

impl From<Status> for Trouble {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

impl Trouble {
    /// What to tell the user if it stays at this.
    fn into_error(self, url: &TeacherUrl, waited: Duration) -> LabelError {
        match self {
            Self::Absent(cause) => LabelError::Absent { url: url.clone(), waited, cause },
            Self::Silent(cause) => LabelError::NotReady { url: url.clone(), waited, cause },
            Self::Status(status) if status.code() == Code::Unavailable => {
                LabelError::NotReady { url: url.clone(), waited, cause: said(&status) }
            }
            Self::Status(status) => refusal(url, &status),
            Self::Fatal(error) => error,
        }
    }
}

/// Asks a teacher for its card, for as long as `patience` while it is absent or not ready; with none,
/// once. Blocks; not for async code.
pub fn describe(url: &TeacherUrl, patience: Duration) -> Result<TeacherCard, LabelError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(LabelError::Runtime)?;
    runtime.block_on(describe_patiently(url, patience))
}

async fn describe_patiently(
    url: &TeacherUrl,
    patience: Duration,
) -> Result<TeacherCard, LabelError> {
    let (start, seed) = (Instant::now(), retry::seed());
    let mut attempt = 0;
    loop {
        let trouble = match describe_once(url).await {
            Ok(card) => return Ok(card),
            Err(trouble) => trouble,
        };
        let passing = match &trouble {
            Trouble::Absent(_) | Trouble::Silent(_) => true,
            Trouble::Status(status) => {
                matches!(status.code(), Code::Unavailable | Code::Cancelled)
            }
            Trouble::Fatal(_) => false,
        };
        let waited = start.elapsed();
        if !passing || waited >= patience {
            return Err(trouble.into_error(url, waited));
        }
        let pause = retry::delay(attempt, seed).min(patience.saturating_sub(waited));
        attempt += 1;
        if retry::worth_a_line(attempt) {
            let cause = trouble.into_error(url, waited);
            info!(%url, attempt, %cause, "waiting for teacher");
        }
        sleep(pause).await;
    }
}

async fn describe_once(url: &TeacherUrl) -> Result<TeacherCard, Trouble> {
    let mut client = connect(url, CONNECT_TIMEOUT).await?;
    let card = in_time(CONNECT_TIMEOUT, "card", client.describe(DescribeRequest {})).await?;
    read_card(url, card.into_inner())
}

/// Connects, says hello and waits for a welcome from the expected teacher.
pub(super) async fn open(
    settings: &StreamSettings,
    expected: &Fingerprint,
) -> Result<Session, Trouble> {
    let url = &settings.url;
    let mut client = connect(url, settings.connect_timeout).await?;
    let (outgoing, messages) = mpsc::channel(OUTGOING);
    let hello = proto::Hello {
        experiment: shorten(&settings.experiment).to_owned(),
        expected_fingerprint: expected.to_string(),
        encoding: proto::Encoding::from(settings.format.encoding).into(),
        top_k: settings.format.top_k as u32,
        variance: settings.format.variance,
    };
    let hello = StudentMessage { message: Some(student_message::Message::Hello(hello)) };
    // The channel is empty and both its ends are held here.
    outgoing.try_send(hello).map_err(|error| Trouble::Silent(error.to_string()))?;

    let welcome = in_time(settings.connect_timeout, "welcome", async {
        let mut incoming = client.stream_logits(ReceiverStream::new(messages)).await?.into_inner();
        let first = incoming.message().await?;
        Ok((incoming, first))
    })
    .await;
    let (incoming, first) = match welcome {
        Err(Trouble::Status(status)) if status.code() == Code::FailedPrecondition => {
            return Err(Trouble::Fatal(who_else(url, expected, &status).await));
        }
        other => other?,
    };
    let Some(first) = first else {
        return Err(Trouble::Silent("it ended the stream before its welcome".to_owned()));
    };
    let contract = |what| Trouble::Fatal(LabelError::Contract { url: url.clone(), what });
    let Some(teacher_message::Message::Welcome(welcome)) = first.message else {
        return Err(contract("its first message is not a welcome"));
    };
    let card = welcome.card.ok_or_else(|| contract("its welcome has no card"))?;
    let card = read_card(url, card)?;
    if card.fingerprint != *expected {
        return Err(Trouble::Fatal(other_teacher(url, expected, card.fingerprint)));
    }
    if welcome.credits == 0 {
        return Err(contract("its welcome gives no credit"));
    }
    Ok(Session { outgoing, incoming, card, credits: welcome.credits as usize })
}

async fn connect(url: &TeacherUrl, within: Duration) -> Result<Client, Trouble> {
    let endpoint = Endpoint::from(url.uri())
        .connect_timeout(within)
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    // The outer bound covers what the inner one does not: names and the HTTP/2 handshake.
    let channel = match timeout(within, endpoint.connect()).await {
        Ok(Ok(channel)) => channel,
        Ok(Err(error)) => return Err(Trouble::Absent(innermost(&error))),
        Err(_) => return Err(Trouble::Absent(format!("no connection within {within:?}"))),
    };
    Ok(Client::new(channel)
        .max_decoding_message_size(MAX_RECEIVED)
        .max_encoding_message_size(MAX_SENT))
}

async fn in_time<T>(
    within: Duration,
    what: &str,
    answer: impl Future<Output = Result<T, Status>>,
) -> Result<T, Trouble> {
    match timeout(within, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Trouble::Silent(format!("connected, but no {what} within {within:?}"))),
    }
}

fn read_card(url: &TeacherUrl, card: proto::TeacherCard) -> Result<TeacherCard, Trouble> {
    TeacherCard::try_from(card)
        .map_err(|cause| Trouble::Fatal(LabelError::Wire { url: url.clone(), cause }))
}

/// The teacher refused the fingerprint; its card tells whose it has.
async fn who_else(url: &TeacherUrl, expected: &Fingerprint, status: &Status) -> LabelError {
    match describe_once(url).await {
        Ok(card) if card.fingerprint != *expected => other_teacher(url, expected, card.fingerprint),
        _ => refusal(url, status),
    }
}

fn other_teacher(url: &TeacherUrl, expected: &Fingerprint, found: Fingerprint) -> LabelError {
    LabelError::OtherTeacher { url: url.clone(), expected: expected.clone(), found }
}

/// A status that ends the matter, as an error.
pub(super) fn refusal(url: &TeacherUrl, status: &Status) -> LabelError {
    let (url, code, message) = (url.clone(), status.code(), said(status));
    // A status that came from the peer has no source; one that has was made here, of bytes that are
    // no gRPC.
    if code == Code::Unimplemented || status.source().is_some() {
        LabelError::Foreign { url, detail: message }
    } else {
        LabelError::Refused { url, code, message }
    }
}

/// A status in words: its message, or its code if it has none, and what lies under it.
pub(super) fn said(status: &Status) -> String {
    let message = match status.message() {
        "" => format!("{:?}", status.code()),
        message => message.to_owned(),
    };
    match status.source().map(innermost) {
        Some(cause) if !message.contains(&cause) => format!("{message}: {cause}"),
        _ => message,
    }
}

/// The end of an error's chain of causes: "connection refused" says more than "transport error".
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

fn shorten(name: &str) -> &str {
    &name[..name.floor_char_boundary(MAX_NAME)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_cut_between_characters() {
        assert_eq!(shorten("short"), "short");
        assert_eq!(shorten(&"é".repeat(200)), "é".repeat(128));
        assert_eq!(shorten(&format!("x{}", "é".repeat(200))).len(), 255);
    }
}
