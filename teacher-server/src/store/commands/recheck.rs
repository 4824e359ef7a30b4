//! Whether stored rows are what the teacher says today: computes some of them again.

use std::{
    collections::HashSet,
    error::Error,
    io::Write,
    path::{Path, PathBuf},
};

use indicatif::HumanCount;
use lectern::{
    data::{Columns, Record, stream_records},
    wire::{ContentHash, Row, TeacherCard},
};
use tracing::debug;

use super::{
    super::{database::Database, folder::list},
    StoreCommandError, difference,
};

/// Texts looked up and computed at a time; enough to sort by length.
const TEXTS_AT_ONCE: usize = 512;

/// Rows beyond the tolerance that are named; more of them tell no more.
const NAMED: u64 = 10;

/// Rows of given texts, as the served model computes them.
pub trait Recompute {
    /// The teacher.
    fn card(&self) -> &TeacherCard;

    /// The rows of some texts and their pairs, in this order.
    fn rows(
        &self,
        texts: &[(&str, Option<&str>)],
    ) -> Result<Vec<Row>, Box<dyn Error + Send + Sync>>;
}

/// What is computed again, and how far it may be off.
#[derive(Debug, Clone)]
pub struct Recheck {
    /// The file with the texts.
    pub data: PathBuf,
    /// Its columns.
    pub columns: Columns,
    /// One text in this many.
    pub one_in: u64,
    /// Largest difference of a value that is no alarm.
    pub tolerance: f32,
}

#[derive(Debug, Default)]
struct Compared {
    texts: u64,
    recomputed: u64,
    differing: u64,
    largest: f32,
}

/// Computes those rows again that `teacher` has in `folder` for the texts of a file, and compares. Rows
/// beyond the tolerance are named, and an error in the end.
pub fn recheck(
    folder: &Path,
    teacher: &dyn Recompute,
    how: &Recheck,
    out: &mut dyn Write,
) -> Result<(), StoreCommandError> {
    let TeacherCard { fingerprint, name, .. } = teacher.card();
    let listed = list(folder)?.into_iter().find(|listed| listed.fingerprint == *fingerprint);
    let listed = listed.ok_or_else(|| StoreCommandError::NotStored {
        folder: folder.to_owned(),
        name: name.clone(),
        fingerprint: fingerprint.clone(),
    })?;
    let compared = listed.look(|database| compare(&database?, teacher, how, out))?;
    let Compared { texts, recomputed, differing, largest } = compared;
    writeln!(
        out,
        "{name} ({}): of {} texts {} are stored and were computed again, largest difference {largest:e}",
        fingerprint.short(),
        HumanCount(texts),
        HumanCount(recomputed),
    )?;
    if differing > 0 {
        return Err(StoreCommandError::Differ { differing, recomputed, tolerance: how.tolerance });
    }
    Ok(())
}

fn compare(
    database: &Database,
    teacher: &dyn Recompute,
    how: &Recheck,
    out: &mut dyn Write,
) -> Result<Compared, StoreCommandError> {
    let mut records = stream_records(&how.data, &how.columns, false)?;
    let mut seen = HashSet::new();
    let mut compared = Compared::default();
    loop {
        // The same texts every time, each of them once.
        let mut batch = Vec::with_capacity(TEXTS_AT_ONCE);
        while batch.len() < TEXTS_AT_ONCE
            && let Some(record) = records.next()
        {
            let record = record?;
            let content = ContentHash::new(&record.text, record.text_pair.as_deref());
            if is_sampled(content, how.one_in) && seen.insert(content) {
                batch.push((content, record));
            }
        }
        if batch.is_empty() {
            return Ok(compared);
        }
        compared.add(database, teacher, &batch, how, out)?;
        let Compared { texts, recomputed, largest, .. } = compared;
        debug!(texts, recomputed, largest, "rows computed again");
    }
}

fn is_sampled(content: ContentHash, one_in: u64) -> bool {
    let (first, _) = content.as_bytes().split_first_chunk().unwrap_or((&[0; 8], &[]));
    u64::from_le_bytes(*first).is_multiple_of(one_in.max(1))
}

impl Compared {
    fn add(
        &mut self,
        database: &Database,
        teacher: &dyn Recompute,
        batch: &[(ContentHash, Record)],
        how: &Recheck,
        out: &mut dyn Write,
    ) -> Result<(), StoreCommandError> {
        let contents: Vec<_> = batch.iter().map(|(content, _)| *content).collect();
        let stored = database.get(&contents)?.rows.into_iter().zip(batch);
        let (stored, known): (Vec<Row>, Vec<&Record>) =
            stored.filter_map(|(row, (_, record))| Some((row?, record))).unzip();
        let texts: Vec<_> =
            known.iter().map(|r| (r.text.as_str(), r.text_pair.as_deref())).collect();
        let computed = teacher.rows(&texts).map_err(StoreCommandError::Compute)?;
        self.texts += batch.len() as u64;
        for ((stored, computed), record) in stored.iter().zip(&computed).zip(known) {
            let difference = difference(stored, computed);
            self.recomputed += 1;
            self.largest = self.largest.max(difference);
            if difference > how.tolerance {
                self.differing += 1;
                if self.differing <= NAMED {
                    let (path, line) = (how.data.display(), record.line);
                    writeln!(out, "{path}:{line}: the stored row differs by {difference:e}")?;
                }
            }
        }
        Ok(())
    }
}
