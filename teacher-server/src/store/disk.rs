//! The disk tier: rows that outlive the server. A thread writes them in groups, so that who computes
//! never waits for a disk. Where the disk is too slow, full or broken, the server goes on without it,
//! says so and counts.

use std::{
    fmt::Display,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use lectern::wire::{ContentHash, Row, TeacherCard};
use tracing::{error, info, warn};

use super::{
    StoreError,
    database::{Database, DatabaseError},
    folder,
    group::Group,
};

/// How long a disk that refused rows is left alone.
const PAUSE: Duration = Duration::from_secs(30);

/// What became of the rows since the start, and what there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiskCounts {
    /// Rows on disk, of this and of earlier servers.
    pub rows: u64,
    /// Length of the file.
    pub bytes: u64,
    /// Rows made durable.
    pub written: u64,
    /// Rows left out, because the disk was too slow, refused them or others shortly before, or holds as
    /// much as it may.
    pub dropped: u64,
    /// Records not believed, because they are not what was written; they count as unknown.
    pub corrupt: u64,
    /// Reads and writes that failed as a whole.
    pub errors: u64,
}

/// See the module. Dropped, it first writes what is queued.
#[derive(Debug)]
pub(super) struct Disk {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    /// Bytes that all teachers' rows in the folder may take.
    limit: Option<u64>,
    card: TeacherCard,
    pause: Duration,
    /// `None` while it cannot be opened.
    database: RwLock<Option<Database>>,
    queue: Mutex<Queue>,
    queued: Condvar,
    settled: Condvar,
    /// The disk failed, and that was said.
    failing: AtomicBool,
    /// The limit is reached, and that was said.
    full: AtomicBool,
    written: AtomicU64,
    dropped: AtomicU64,
    corrupt: AtomicU64,
    errors: AtomicU64,
}

#[derive(Debug, Default)]
struct Queue {
    group: Group,
    /// Rows taken in, ever.
    accepted: u64,
    /// Those of them that are durable or given up.
    settled: u64,
    /// Calls of `flush` that wait.
    flushes: usize,
    closed: bool,
}

impl Disk {
    /// The rows of the teacher `card` in `folder`, which is made if it is not there. Nothing is written
    /// while the rows in it, those of other teachers included, take `limit` bytes.
    pub(super) fn open(
        folder: &Path,
        limit: Option<u64>,
        card: &TeacherCard,
    ) -> Result<Self, StoreError> {
        Self::open_with(folder, limit, card, PAUSE)
    }

    pub(super) fn open_with(
        folder: &Path,
        limit: Option<u64>,
        card: &TeacherCard,
        pause: Duration,
    ) -> Result<Self, StoreError> {
        let database = Database::create(folder, card)?;
        let shared = Arc::new(Shared {
            folder: folder.to_owned(),
            limit,
            card: card.clone(),
            pause,
            database: RwLock::new(Some(database)),
            queue: Mutex::default(),
            queued: Condvar::new(),
            settled: Condvar::new(),
            failing: AtomicBool::new(false),
            full: AtomicBool::new(false),
            written: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            corrupt: AtomicU64::new(0),
            errors: AtomicU64::new(0),
        });
        let writing = Arc::clone(&shared);
        let writer = thread::Builder::new().name("disk-writer".to_owned());
        let writer = writer.spawn(move || writing.write_groups()).map_err(StoreError::Thread)?;
        Ok(Self { shared, writer: Some(writer) })
    }

    /// Looks contents up; `None` for those that are not known. Reads the disk.
    pub(super) fn get(&self, contents: &[ContentHash]) -> Vec<Option<Row>> {
        let shared = &self.shared;
        // The file is being opened anew: its rows can wait less than students can.
        let Ok(database) = shared.database.try_read() else {
            return vec![None; contents.len()];
        };
        match database.as_ref().map(|database| database.get(contents)) {
            None => vec![None; contents.len()],
            Some(Ok(found)) => {
                let before = shared.corrupt.fetch_add(found.corrupt, Ordering::Relaxed);
                if before == 0 && found.corrupt > 0 {
                    warn!(
                        folder = %shared.folder.display(),
                        "a row on disk is not what was written; it is computed again, but look at \
                         this disk, and at the others with `teacher-server store verify`"
                    );
                }
                found.rows
            }
            Some(Err(cause)) => {
                shared.failed(&cause);
                vec![None; contents.len()]
            }
        }
    }

    /// Queues rows to be written. Never waits for the disk.
    pub(super) fn insert(&self, rows: Vec<Row>) {
        let (n, now) = (rows.len(), Instant::now());
        let mut queue = self.shared.lock();
        let was_idle = queue.group.wait(now).is_none();
        let left_out = queue.group.push(rows, now);
        queue.accepted += (n - left_out) as u64;
        let is_full = queue.group.wait(now) == Some(Duration::ZERO);
        drop(queue);
        if was_idle || is_full {
            self.shared.queued.notify_one();
        }
        self.shared.dropped.fetch_add(left_out as u64, Ordering::Relaxed);
    }

    /// Waits until the rows queued so far are durable or given up.
    pub(super) fn flush(&self) {
        let shared = &self.shared;
        let mut queue = shared.lock();
        let accepted = queue.accepted;
        queue.flushes += 1;
        shared.queued.notify_one();
        while queue.settled < accepted {
            queue = shared.settled.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue.flushes -= 1;
    }

    pub(super) fn counts(&self) -> DiskCounts {
        let shared = &self.shared;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let database = shared.database.try_read();
        let of = |what: fn(&Database) -> Result<u64, DatabaseError>| {
            let database = database.as_ref().ok().and_then(|database| database.as_ref());
            database.and_then(|database| what(database).ok()).unwrap_or(0)
        };
        DiskCounts {
            rows: of(Database::len),
            bytes: of(Database::bytes),
            written: read(&shared.written),
            dropped: read(&shared.dropped),
            corrupt: read(&shared.corrupt),
            errors: read(&shared.errors),
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.queued.notify_one();
        if let Some(writer) = self.writer.take() {
            // Its panic has been printed, and nothing is left to be done about it.
            let _ended = writer.join();
        }
    }
}

impl Shared {
    /// The writer: commits group after group until the queue is closed and empty.
    fn write_groups(&self) {
        let mut paused_until: Option<Instant> = None;
        while let Some(rows) = self.next_group() {
            let n = rows.len() as u64;
            if paused_until.is_some_and(|until| Instant::now() < until) || self.is_full() {
                self.dropped.fetch_add(n, Ordering::Relaxed);
            } else if let Err(cause) = self.write(&rows) {
                self.dropped.fetch_add(n, Ordering::Relaxed);
                self.failed(&cause);
                paused_until = Some(Instant::now() + self.pause);
            } else {
                self.written.fetch_add(n, Ordering::Relaxed);
                paused_until = None;
                if self.failing.swap(false, Ordering::Relaxed) {
                    info!(folder = %self.folder.display(), "rows are kept on disk again");
                }
            }
            self.lock().settled += n;
            self.settled.notify_all();
        }
    }

    /// Whether the folder holds as much as it may; says so when that changes. Never removes anything:
    /// rows are hours of a teacher's time, and whose are no longer needed only people know.
    fn is_full(&self) -> bool {
        let Some(limit) = self.limit else { return false };
        // A folder that cannot be read is found out by the write that follows.
        let bytes = folder::taken(&self.folder).unwrap_or(0);
        let is_full = bytes >= limit;
        match (is_full, self.full.swap(is_full, Ordering::Relaxed)) {
            (true, false) => warn!(
                folder = %self.folder.display(),
                bytes,
                limit,
                "the store on disk is full: rows computed from now on are not kept there; raise \
                 --store-disk-mb, or remove what is not needed with `teacher-server store gc`"
            ),
            (false, true) => {
                info!(folder = %self.folder.display(), "the store on disk has room again");
            }
            _ => {}
        }
        is_full
    }

    /// Waits for rows whose time has come; `None` when there will be none.
    fn next_group(&self) -> Option<Vec<Row>> {
        let mut queue = self.lock();
        loop {
            let hurry = queue.closed || queue.flushes > 0;
            queue = match queue.group.wait(Instant::now()) {
                None if queue.closed => return None,
                None => self.queued.wait(queue).unwrap_or_else(PoisonError::into_inner),
                Some(wait) if hurry || wait.is_zero() => return Some(queue.group.take()),
                Some(wait) => {
                    let woken = self.queued.wait_timeout(queue, wait);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Writes rows to a database that, as far as is known, works.
    fn write(&self, rows: &[Row]) -> Result<(), DatabaseError> {
        if self.failing.load(Ordering::Relaxed) {
            self.reopen()?;
        }
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let written = database.as_ref().map_or(Ok(()), |database| database.insert(rows));
        drop(database);
        // The engine answers nothing any more after a failed write; what is on disk can be read again
        // once it is opened anew, though it be full.
        written.inspect_err(|_| drop(self.reopen()))
    }

    fn reopen(&self) -> Result<(), DatabaseError> {
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        // Closed first: nobody else may have it open, this process included.
        drop(database.take());
        *database = Some(Database::create(&self.folder, &self.card)?);
        Ok(())
    }

    /// Counts a failure, and says it the first time.
    fn failed(&self, cause: &dyn Display) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        if !self.failing.swap(true, Ordering::Relaxed) {
            error!(%cause, retried_after = ?self.pause, "going on without the rows on disk");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Every change under this lock is complete in itself, so a panic elsewhere leaves it usable.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
