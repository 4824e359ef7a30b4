//! Fills a teacher's store: each distinct text of some files is asked for once, and the rows dropped.
//!
//! The files are read twice, first for what is in them: a bad row is found before the teacher works, and
//! what is left to do is known from the start. Of what was read, only hashes are kept.

use std::{
    collections::{BTreeMap, HashSet},
    num::NonZeroUsize,
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use lectern::{
    commands::Progress,
    data::{Columns, DataError, Record, stream_records},
    wire::{ContentHash, Failure, Fingerprint},
};
use serde_json::{Value, json};
use tracing::{info, warn};

use crate::labels::{
    LabelError, Missing, Request, SoftLabels, StreamSettings, TeacherUrl, describe,
};

/// Examples in a batch: what one message to the teacher holds.
const BATCH: usize = 64;
/// Batches leave in order, so one slow example holds back those behind it. With eight times the credits
/// asked ahead, all credits stay in use while it does.
const CREDITS_AHEAD: usize = 8;
/// Reasons of refusals that are told in full.
const REASONS: usize = 5;

/// What to ask whom for.
#[derive(Debug, Clone)]
pub struct WarmConfig {
    /// The teacher.
    pub teacher: TeacherUrl,
    /// The files; labels in them are not looked at.
    pub data: Vec<PathBuf>,
    /// Each line of the files is a text.
    pub plain: bool,
    /// The columns of all of them.
    pub columns: Columns,
    /// Name of the experiment, as the teacher sees it.
    pub name: String,
    /// How long to wait for a teacher that is away.
    pub patience: Duration,
}

/// What the teacher said to everything.
#[derive(Debug, Clone)]
pub struct WarmSummary {
    /// Whose store was filled.
    pub teacher: Fingerprint,
    /// Rows of the files.
    pub examples: usize,
    /// Distinct contents among them, each asked for once.
    pub distinct: usize,
    /// Contents with a row.
    pub answered: usize,
    /// Contents without, by the contract's error code.
    pub refused: BTreeMap<&'static str, usize>,
    /// The first of these, with file and line.
    pub reasons: Vec<String>,
    /// Texts longer than the teacher's maximum length.
    pub truncated: u64,
    /// Time from the first question to the last answer.
    pub took: Duration,
}

impl WarmSummary {
    /// Contents without a row.
    pub fn refused(&self) -> usize {
        self.refused.values().sum()
    }

    /// For standard output.
    pub fn to_json(&self) -> Value {
        let seconds = self.took.as_secs_f64();
        json!({
            "teacher": self.teacher,
            "examples": self.examples,
            "distinct": self.distinct,
            "answered": self.answered,
            "refused": self.refused,
            "reasons": self.reasons,
            "truncated": self.truncated,
            "seconds": seconds,
            "examples_per_second": self.distinct as f64 / seconds.max(1e-9),
        })
    }
}

/// Asks for everything once. Refused examples are counted, not an error; a teacher that goes away for
/// longer than the patience is one, and what it has answered by then stays in its store.
pub fn warm(config: &WarmConfig) -> anyhow::Result<WarmSummary> {
    let card = describe(&config.teacher, config.patience)?;
    let (examples, unseen) = contents(config)?;
    let distinct = unseen.len();
    let teacher = card.fingerprint.clone();
    info!(examples, distinct, teacher = teacher.short(), "warming");

    let look_ahead = CREDITS_AHEAD * card.limits.credits.div_ceil(BATCH);
    let settings = StreamSettings {
        look_ahead: NonZeroUsize::MIN.saturating_add(look_ahead),
        memory_bytes: 0,
        patience: config.patience,
        ..StreamSettings::new(config.teacher.clone(), config.name.clone())
    };
    // As many batches are asked ahead, and one more while the main thread looks at the oldest.
    let (tell, origins) = sync_channel(look_ahead + 2);
    let failed = Arc::new(OnceLock::new());
    let batches = Batches { records: records(config), unseen, tell, failed: Arc::clone(&failed) };
    let start = Instant::now();
    let mut labels = SoftLabels::start(settings, teacher.clone(), batches)?;
    let mut summary = WarmSummary {
        teacher,
        examples,
        distinct,
        answered: 0,
        refused: BTreeMap::new(),
        reasons: Vec::new(),
        truncated: 0,
        took: Duration::ZERO,
    };
    summary.collect(config, &mut labels, &origins)?;
    summary.took = start.elapsed();
    summary.truncated = labels.metrics().truncated;
    match failed.get() {
        None => Ok(summary),
        Some(cause) => Err(anyhow::anyhow!("{cause}")).context("a file changed while it was read"),
    }
}

impl WarmSummary {
    /// Takes what the teacher says, to the end.
    fn collect(
        &mut self,
        config: &WarmConfig,
        labels: &mut SoftLabels,
        origins: &Receiver<Vec<Origin>>,
    ) -> anyhow::Result<()> {
        let mut progress = Progress::new("warm", self.distinct);
        loop {
            let outcomes = match labels.next_batch() {
                Ok(outcomes) => outcomes,
                Err(LabelError::Exhausted) => return Ok(()),
                Err(cause) => return Err(cause.into()),
            };
            let count = outcomes.len();
            // Sent before the batch was asked for.
            for (outcome, origin) in outcomes.into_iter().zip(origins.recv()?) {
                match outcome {
                    Ok(_) => self.answered += 1,
                    Err(Missing::Refused(failure)) => self.refuse(config, &failure, origin),
                    Err(missing) => return Err(missing.into()),
                }
            }
            progress.advance(count, || match self.refused() {
                0 => String::new(),
                refused => format!("{refused} refused"),
            });
        }
    }

    fn refuse(&mut self, config: &WarmConfig, failure: &Failure, Origin { file, line }: Origin) {
        *self.refused.entry(failure.code.as_str_name()).or_default() += 1;
        if self.reasons.len() < REASONS {
            let reason = format!("{}:{line}: {}", config.data[file].display(), failure.message);
            warn!("refused: {reason}");
            self.reasons.push(reason);
        }
    }
}

/// Where an example stands.
#[derive(Debug, Clone, Copy)]
struct Origin {
    /// Index into the configuration's files.
    file: usize,
    line: usize,
}

type Records = Box<dyn Iterator<Item = Result<(Origin, Record), DataError>> + Send>;

/// All rows of all files; a file is opened when it is its turn.
fn records(config: &WarmConfig) -> Records {
    let WarmConfig { data, columns, plain, .. } = config.clone();
    Box::new(data.into_iter().enumerate().flat_map(move |(file, path)| -> Records {
        match stream_records(&path, &columns, plain) {
            Err(cause) => Box::new(std::iter::once(Err(cause))),
            Ok(records) => Box::new(records.map(move |record| {
                record.map(|record| (Origin { file, line: record.line }, record))
            })),
        }
    }))
}

/// The number of rows, and what is distinct among them. A file without rows is an error.
fn contents(config: &WarmConfig) -> Result<(usize, HashSet<ContentHash>), DataError> {
    let mut rows = vec![0; config.data.len()];
    let mut contents = HashSet::new();
    for record in records(config) {
        let (origin, record) = record?;
        rows[origin.file] += 1;
        contents.insert(ContentHash::new(&record.text, record.text_pair.as_deref()));
    }
    match rows.iter().position(|&rows| rows == 0) {
        Some(file) => Err(DataError::NoRows { path: config.data[file].clone() }),
        None => Ok((rows.iter().sum(), contents)),
    }
}

/// Each distinct content once, in batches; runs on the stream's own thread.
struct Batches {
    records: Records,
    unseen: HashSet<ContentHash>,
    tell: SyncSender<Vec<Origin>>,
    /// Where a file that has become unreadable since the first pass is told.
    failed: Arc<OnceLock<DataError>>,
}

impl Iterator for Batches {
    type Item = Vec<Arc<Request>>;

    fn next(&mut self) -> Option<Self::Item> {
        let (mut requests, mut origins) = (Vec::with_capacity(BATCH), Vec::with_capacity(BATCH));
        while requests.len() < BATCH {
            match self.records.next() {
                None => break,
                Some(Err(cause)) => {
                    // Set once: nothing is read after an error.
                    let _ = self.failed.set(cause);
                    self.records = Box::new(std::iter::empty());
                }
                Some(Ok((origin, record))) => {
                    let request = Request::new(record.text, record.text_pair);
                    if self.unseen.remove(&request.content()) {
                        requests.push(Arc::new(request));
                        origins.push(origin);
                    }
                }
            }
        }
        // Fails only if nobody listens any more, and then nobody wants the rows either.
        (!requests.is_empty() && self.tell.send(origins).is_ok()).then_some(requests)
    }
}
