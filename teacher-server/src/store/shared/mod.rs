//! The shared tier: rows in Redis or Valkey, so that servers of one teacher on several machines share
//! them. A guest, never a pillar: where it is away, slow or wrong, the server computes as if it were not
//! there, and counts. Knows rows and keys, not what else the store is made of.
//!
//! A row stands under `lectern:1:FINGERPRINT:CONTENT`, both in 32 hexadecimal digits, as the same record
//! as on disk. Rows have no expiry: give Redis a `maxmemory` and a policy such as `allkeys-lru`.

mod link;
#[cfg(test)]
mod tests;
mod url;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use lectern::wire::{ContentHash, Fingerprint, Row};
use redis::RedisError;
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
    task::JoinSet,
};
use tracing::warn;

use self::link::{Connected, Link};
use super::record;

pub use url::{SharedUrl, SharedUrlError};

/// Rows that wait to be written: a pause of some seconds at a GPU's speed, and 32 MiB at 1,000 classes.
const QUEUED_ROWS: usize = 8192;

/// Rows in one round trip of the writer; more would make lookups on the same socket wait.
const PIPELINED_ROWS: usize = 256;

/// How long a shut-down waits for the last rows; all that may be queued take a tenth of a second.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// Digits of the fingerprint in a key: 128 bits tell any teachers apart.
const FINGERPRINT_DIGITS: usize = 32;

/// What became of lookups and rows since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SharedCounts {
    /// Contents found.
    pub hits: u64,
    /// Contents not found, or not asked for because Redis is away.
    pub misses: u64,
    /// Requests that failed, each of them for all of its contents.
    pub errors: u64,
    /// Records whose checksum or shape was wrong; they are treated as unknown and removed.
    pub corrupt: u64,
    /// Rows written.
    pub written: u64,
    /// Rows not written, because Redis lags, refuses them or is away.
    pub dropped: u64,
    /// Redis is there now.
    pub connected: bool,
}

/// The rows of one teacher in Redis. Dropped, it lets go of the rows not written yet.
#[derive(Debug)]
pub struct SharedStore {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Write>,
    runtime: Handle,
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    link: Link,
    /// Of every key: all but the content.
    prefix: String,
    classes: usize,
    counters: Counters,
    reads_refused: AtomicBool,
    writes_refused: AtomicBool,
}

#[derive(Debug, Default)]
struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
    errors: AtomicU64,
    corrupt: AtomicU64,
    written: AtomicU64,
    dropped: AtomicU64,
}

/// What the writer does, in this order.
#[derive(Debug)]
enum Write {
    Row(Row),
    /// Removes a corrupt record, which a new row would not replace.
    Remove(ContentHash),
    /// Says when all before it is done.
    Flush(oneshot::Sender<()>),
}

impl SharedStore {
    /// The rows of `classes` values of the teacher `fingerprint` in the Redis at `url`. Connects in the
    /// background: one that cannot be reached is warned of and tried again.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn open(url: &SharedUrl, fingerprint: &Fingerprint, classes: usize) -> Self {
        let digits = fingerprint.as_str();
        let digits = digits.get(..FINGERPRINT_DIGITS).unwrap_or(digits);
        let shared = Arc::new(Shared {
            link: Link::new(url.clone()),
            prefix: format!("lectern:1:{digits}:"),
            classes,
            counters: Counters::default(),
            reads_refused: AtomicBool::new(false),
            writes_refused: AtomicBool::new(false),
        });
        let (queue, queued) = mpsc::channel(QUEUED_ROWS);
        let mut tasks = JoinSet::new();
        let kept = Arc::clone(&shared);
        tasks.spawn(async move { kept.link.keep().await });
        tasks.spawn(Arc::clone(&shared).write(queued));
        Self { shared, queue, runtime: Handle::current(), _tasks: tasks }
    }

    /// Looks contents up in one round trip; `None` for those that are not known. While Redis is away this
    /// costs nothing.
    pub async fn get(&self, contents: &[ContentHash]) -> Vec<Option<Row>> {
        let shared = &self.shared;
        let rows = match shared.fetch(contents).await {
            None => vec![None; contents.len()],
            Some(records) => {
                let pairs = contents.iter().zip(records);
                pairs.map(|(&content, record)| self.believe(content, &record?)).collect()
            }
        };
        let hits = rows.iter().flatten().count();
        add(&shared.counters.hits, hits);
        add(&shared.counters.misses, rows.len() - hits);
        rows
    }

    /// Queues a row to be written; what Redis holds already stays as it is. Never waits.
    pub fn insert(&self, row: &Row) {
        let queued =
            self.shared.link.is_connected() && self.queue.try_send(Write::Row(row.clone())).is_ok();
        if !queued {
            add(&self.shared.counters.dropped, 1);
        }
    }

    /// Waits until the rows inserted so far are written or given up.
    pub async fn flush(&self) {
        let (done, wait) = oneshot::channel();
        if self.queue.send(Write::Flush(done)).await.is_ok() {
            // Answered, or dropped with the writer: in both cases nothing is left to wait for.
            let _written = wait.await;
        }
    }

    /// [`flush`](Self::flush) for code that is not async, but not for ever: what a slow Redis does not take
    /// in five seconds is computed again elsewhere.
    pub fn flush_blocking(&self) {
        self.runtime.block_on(async {
            let _in_time = tokio::time::timeout(FLUSH_TIMEOUT, self.flush()).await;
        });
    }

    /// What became of lookups and rows since the start.
    pub fn counts(&self) -> SharedCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.shared.counters;
        SharedCounts {
            hits: read(&counters.hits),
            misses: read(&counters.misses),
            errors: read(&counters.errors),
            corrupt: read(&counters.corrupt),
            written: read(&counters.written),
            dropped: read(&counters.dropped),
            connected: self.shared.link.is_connected(),
        }
    }

    fn believe(&self, content: ContentHash, record: &[u8]) -> Option<Row> {
        let row = record::decode(content, record, self.shared.classes);
        if row.is_none() {
            add(&self.shared.counters.corrupt, 1);
            // If there is no room for it, the next lookup finds it again.
            let _full = self.queue.try_send(Write::Remove(content));
        }
        row
    }
}

impl Shared {
    fn key(&self, content: ContentHash) -> String {
        format!("{}{content}", self.prefix)
    }

    /// The records of `contents`, in their order; `None` if Redis does not answer.
    async fn fetch(&self, contents: &[ContentHash]) -> Option<Vec<Option<Vec<u8>>>> {
        if contents.is_empty() {
            return None;
        }
        let mut connected = self.link.connected()?;
        let mut command = redis::cmd("MGET");
        for &content in contents {
            command.arg(self.key(content));
        }
        match command.query_async(&mut connected.connection).await {
            Ok(records) => {
                self.reads_refused.store(false, Ordering::Relaxed);
                Some(records)
            }
            Err(cause) => {
                self.failed(&connected, &cause, "lookups", &self.reads_refused);
                None
            }
        }
    }

    /// Writes what is queued, as much as there is in one round trip, until the store is dropped.
    async fn write(self: Arc<Self>, mut queue: mpsc::Receiver<Write>) {
        let mut writes = Vec::with_capacity(PIPELINED_ROWS);
        while queue.recv_many(&mut writes, PIPELINED_ROWS).await > 0 {
            let mut pipeline = redis::Pipeline::with_capacity(writes.len());
            let mut rows = 0;
            let mut flushed = Vec::new();
            for write in writes.drain(..) {
                match write {
                    Write::Row(row) => {
                        rows += 1;
                        // Where two servers computed the same content, the first row stays: students
                        // may have it already.
                        let command = pipeline.cmd("SET").arg(self.key(row.content));
                        command.arg(record::encode(&row)).arg("NX").ignore();
                    }
                    Write::Remove(content) => {
                        pipeline.cmd("UNLINK").arg(self.key(content)).ignore();
                    }
                    Write::Flush(done) => flushed.push(done),
                }
            }
            let written = pipeline.is_empty() || self.send(&pipeline).await;
            let counters = &self.counters;
            add(if written { &counters.written } else { &counters.dropped }, rows);
            for done in flushed {
                let _gone = done.send(());
            }
        }
    }

    async fn send(&self, pipeline: &redis::Pipeline) -> bool {
        let Some(mut connected) = self.link.connected() else {
            return false;
        };
        match pipeline.query_async::<()>(&mut connected.connection).await {
            Ok(()) => {
                self.writes_refused.store(false, Ordering::Relaxed);
                true
            }
            Err(cause) => {
                self.failed(&connected, &cause, "rows", &self.writes_refused);
                false
            }
        }
    }

    /// Counts a failure, and says once of what Redis is there for but refuses (full, read-only, not
    /// allowed) that it does.
    fn failed(&self, connected: &Connected, cause: &RedisError, what: &str, told: &AtomicBool) {
        add(&self.counters.errors, 1);
        if self.link.survives(connected, cause) && !told.swap(true, Ordering::Relaxed) {
            warn!(%cause, "shared store refuses {what}: going on without");
        }
    }
}

fn add(counter: &AtomicU64, n: usize) {
    counter.fetch_add(n as u64, Ordering::Relaxed);
}
