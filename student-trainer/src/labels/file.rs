//! Soft labels of a file: the rows that a run needs, looked up by content. Knows no teacher that runs.

use std::{collections::HashMap, fmt, path::Path, sync::Arc, time::Duration};

use lectern::wire::{
    ContentHash,
    label_file::{LabelFileError, LabelReader},
};

use super::{LabelError, Missing, Outcome, Request, StreamMetrics};

/// Those rows of a label file that a run needs.
#[derive(Debug)]
pub struct FileRows {
    path: Arc<Path>,
    rows: HashMap<ContentHash, Arc<[f32]>>,
    truncated: u64,
}

impl FileRows {
    /// Reads the whole file, which checks all of it, and keeps the rows of `wanted`, so that the file
    /// may be larger than memory.
    pub fn read(
        path: &Path,
        file: LabelReader,
        wanted: impl IntoIterator<Item = ContentHash>,
    ) -> Result<Self, LabelFileError> {
        let mut slots: HashMap<ContentHash, Option<Arc<[f32]>>> =
            wanted.into_iter().map(|content| (content, None)).collect();
        let mut truncated = 0;
        for row in file {
            let row = row?;
            if let Some(slot) = slots.get_mut(&row.content) {
                truncated += u64::from(row.truncated);
                *slot = Some(row.logits);
            }
        }
        let rows = slots.into_iter().filter_map(|(content, row)| Some((content, row?))).collect();
        Ok(Self { path: path.into(), rows, truncated })
    }

    /// The distinct contents among the wanted ones that the file has.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether it has none of them.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Rows among these whose text was longer than the teacher's maximum length.
    pub fn truncated(&self) -> u64 {
        self.truncated
    }

    /// The row of one content.
    pub fn get(&self, content: ContentHash) -> Outcome {
        let row = self.rows.get(&content).map(Arc::clone);
        row.ok_or_else(|| Missing::NotInFile(Arc::clone(&self.path)))
    }
}

/// The rows of one run's batches.
pub(super) struct FileLabels {
    rows: FileRows,
    requests: Box<dyn Iterator<Item = Vec<Arc<Request>>> + Send>,
    found: u64,
    missing: u64,
}

impl fmt::Debug for FileLabels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileLabels").field("rows", &self.rows).finish_non_exhaustive()
    }
}

impl FileLabels {
    pub(super) fn new<I>(rows: FileRows, requests: I) -> Self
    where
        I: Iterator<Item = Vec<Arc<Request>>> + Send + 'static,
    {
        Self { rows, requests: Box::new(requests), found: 0, missing: 0 }
    }

    pub(super) fn next_batch(&mut self) -> Result<Vec<Outcome>, LabelError> {
        let batch = self.requests.next().ok_or(LabelError::Exhausted)?;
        let outcomes: Vec<_> =
            batch.iter().map(|request| self.rows.get(request.content())).collect();
        let missing = outcomes.iter().filter(|outcome| outcome.is_err()).count();
        self.missing += missing as u64;
        self.found += (outcomes.len() - missing) as u64;
        Ok(outcomes)
    }

    pub(super) fn metrics(&self) -> StreamMetrics {
        StreamMetrics {
            from_file: self.found,
            missing: self.missing,
            truncated: self.rows.truncated,
            waited: Duration::ZERO,
            ..StreamMetrics::default()
        }
    }
}
