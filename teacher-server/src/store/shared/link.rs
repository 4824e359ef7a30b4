//! The connection to Redis: used while it is there, tried again with back-off while it is not.

use std::time::{Duration, Instant};

use redis::{AsyncConnectionConfig, Client, RedisError, RedisResult, aio::MultiplexedConnection};
use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::SharedUrl;

/// A Redis on the same network answers in a millisecond; one that takes this long costs more than the
/// teacher, and counts as gone.
const RESPONSE_TIMEOUT: Duration = Duration::from_millis(500);

/// For the name, the connection, the log-in and one answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Between two attempts, at first and at most.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Debug)]
pub(super) struct Link {
    url: SharedUrl,
    state: watch::Sender<Option<Connected>>,
}

/// One connection; its clones are pipelined over one socket.
#[derive(Debug, Clone)]
pub(super) struct Connected {
    pub(super) connection: MultiplexedConnection,
    since: Instant,
}

impl Link {
    /// A link that [`keep`](Self::keep) connects.
    pub(super) fn new(url: SharedUrl) -> Self {
        Self { url, state: watch::Sender::new(None) }
    }

    /// The connection, if there is one at the moment.
    pub(super) fn connected(&self) -> Option<Connected> {
        self.state.borrow().clone()
    }

    pub(super) fn is_connected(&self) -> bool {
        self.state.borrow().is_some()
    }

    /// A request on `connected` failed for `cause`: if that is the connection's fault, it is over. True
    /// where it is not, and the next request may succeed.
    pub(super) fn survives(&self, connected: &Connected, cause: &RedisError) -> bool {
        if !(cause.is_io_error() || cause.is_unrecoverable_error()) {
            return true;
        }
        // Of all the requests that fail together, one finds the connection still here and says so.
        let was_current = self.state.send_if_modified(|state| {
            let current = state.as_ref().is_some_and(|current| current.since == connected.since);
            if current {
                *state = None;
            }
            current
        });
        if was_current {
            let url = &self.url;
            warn!(%url, %cause, "shared store gone: going on without it, trying again");
        }
        false
    }

    /// Connects, and connects again whenever the connection is gone. Ends only when it is dropped.
    pub(super) async fn keep(&self) {
        let url = &self.url;
        let mut state = self.state.subscribe();
        let mut failures = 0;
        loop {
            let connected = state.borrow_and_update().as_ref().map(|connected| connected.since);
            if let Some(since) = connected {
                // The sender is `self`'s.
                let _open = state.changed().await;
                // A Redis that takes connections but no requests must not be asked ten times a second.
                failures = if since.elapsed() > LONGEST_WAIT { 1 } else { failures + 1 };
                continue;
            }
            tokio::time::sleep(wait_before_retry(failures)).await;
            match connect(url.client()).await {
                Ok(connected) => {
                    info!(%url, "shared store connected");
                    self.state.send_replace(Some(connected));
                }
                Err(cause) if failures == 0 => {
                    failures = 1;
                    warn!(%url, %cause, "shared store not reached: going on without it, trying again");
                }
                Err(cause) => {
                    failures += 1;
                    debug!(%url, %cause, failures, "shared store still not reached");
                }
            }
        }
    }

    #[cfg(test)]
    pub(super) async fn until(&self, connected: bool) {
        self.state.subscribe().wait_for(|state| state.is_some() == connected).await.unwrap();
    }
}

/// How long to wait after so many failures in a row.
fn wait_before_retry(failures: u32) -> Duration {
    match failures {
        0 => Duration::ZERO,
        n => FIRST_WAIT.saturating_mul(1 << (n - 1).min(16)).min(LONGEST_WAIT),
    }
}

async fn connect(client: &Client) -> RedisResult<Connected> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(RESPONSE_TIMEOUT));
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    // A server that is still loading its data takes connections, but answers nothing.
    redis::cmd("PING").query_async::<()>(&mut connection).await?;
    Ok(Connected { connection, since: Instant::now() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_from_nothing_to_its_bound() {
        let waits = [0, 1, 2, 3, 4].map(wait_before_retry);
        assert_eq!(waits, [0, 100, 200, 400, 800].map(Duration::from_millis));
        assert_eq!(wait_before_retry(9), Duration::from_millis(25_600));
        assert_eq!(wait_before_retry(10), LONGEST_WAIT);
        assert_eq!(wait_before_retry(u32::MAX), LONGEST_WAIT);
    }
}
