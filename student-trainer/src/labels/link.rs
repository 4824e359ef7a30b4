//! The one stream to the teacher as a state machine: down, opening, up. Knows no rows.

use std::{
    future::{Future, pending},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use lectern::wire::{Fingerprint, proto::TeacherMessage};
use tokio::time::{Instant, sleep_until, timeout};
use tonic::Status;
use tracing::debug;

use super::{
    StreamSettings,
    connection::{self, Session, Trouble},
};

/// How long the teacher may take to close a stream that we have ended.
const GOODBYE: Duration = Duration::from_secs(1);

type Opening = Pin<Box<dyn Future<Output = Result<Box<Session>, Trouble>> + Send>>;

/// The one stream to the teacher, in whatever state it is.
pub(super) enum Link {
    /// None; the next may be opened from `not_before` on.
    Down { not_before: Instant },
    /// Waiting out the pause, then connecting.
    Opening(Opening),
    /// Open and welcomed.
    Up(Box<Session>),
}

/// What can happen to it.
pub(super) enum Event {
    /// The try to open has ended.
    Opened(Result<Box<Session>, Trouble>),
    /// The teacher said something, or ended the stream.
    Message(Result<Option<TeacherMessage>, Status>),
    /// A message can be handed to the stream without waiting.
    Room,
}

impl Link {
    pub(super) fn open(
        settings: &Arc<StreamSettings>,
        expected: &Arc<Fingerprint>,
        not_before: Instant,
    ) -> Self {
        let (settings, expected) = (Arc::clone(settings), Arc::clone(expected));
        Self::Opening(Box::pin(async move {
            sleep_until(not_before).await;
            connection::open(&settings, &expected).await.map(Box::new)
        }))
    }

    /// What happens next. Reading and writing are waited for together, so neither stops the other;
    /// nothing is lost if this is dropped and called again.
    pub(super) async fn next(&mut self, may_send: bool) -> Event {
        match self {
            Self::Down { .. } => pending().await,
            Self::Opening(opening) => Event::Opened(opening.await),
            Self::Up(session) => {
                let Session { outgoing, incoming, .. } = &mut **session;
                tokio::select! {
                    biased;
                    message = incoming.message() => Event::Message(message),
                    // Closed means that the stream has ended; the reading side says why.
                    Ok(_) = outgoing.reserve(), if may_send => Event::Room,
                }
            }
        }
    }

    /// Ends the stream from this side and lets the teacher end it too.
    pub(super) async fn leave(&mut self) {
        if let Self::Up(session) =
            std::mem::replace(self, Self::Down { not_before: Instant::now() })
        {
            let Session { outgoing, mut incoming, .. } = *session;
            drop(outgoing);
            let end = async { while let Ok(Some(_)) = incoming.message().await {} };
            if timeout(GOODBYE, end).await.is_err() {
                debug!("the teacher did not close the stream in time");
            }
        }
    }
}
