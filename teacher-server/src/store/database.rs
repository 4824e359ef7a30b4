//! One teacher's rows in one file, with the teacher's card. Knows the file and its format; neither
//! threads nor what to do when a disk fails.
//!
//! The engine is redb, a copy-on-write B-tree: at the same durability it reads random rows several
//! times as fast as fjall does (`benches/store-engines`), and it is one file. After a crash it goes
//! back to the last commit; a row, moreover, is believed only with its own checksum.

use std::{
    fs, io, iter,
    ops::Bound,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
};

use lectern::wire::{ContentHash, Fingerprint, Row, TeacherCard};
use redb::{ReadableDatabase, ReadableTableMetadata, TableDefinition};

use super::record;

/// Ending of a database's name; before it stands the teacher's fingerprint.
pub const EXTENSION: &str = "redb";

/// Version of what is in the tables; the engine watches over its own.
const FORMAT: u32 = 1;

/// Content hash to record.
const ROWS: TableDefinition<&[u8; ContentHash::BYTES], &[u8]> = TableDefinition::new("rows");
/// [`FORMAT_KEY`] and [`CARD_KEY`].
const ABOUT: TableDefinition<&str, &[u8]> = TableDefinition::new("about");
/// The format's version, little-endian.
const FORMAT_KEY: &str = "format";
/// The teacher's card as JSON.
const CARD_KEY: &str = "card";

/// Pages kept in this process. Those that are not come from the operating system's cache, which does
/// not count as the server's memory.
const CACHE_BYTES: usize = 64 << 20;

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// Another process has it.
    #[error(
        "{} is in use, most likely by another teacher-server; stop that one, or give this one a \
         folder of its own with --store DIR, or let both share their rows with --store redis://HOST",
        path.display()
    )]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// Its bytes are not what was written.
    #[error(
        "{} is damaged ({cause}); see what is left with `teacher-server store verify`, or delete \
         the file: its rows are computed again",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was noticed.
        cause: String,
    },
    /// It was written by another version of this program.
    #[error(
        "{} is of format {found}, and this version reads {FORMAT}; export it with the version that \
         wrote it and import the export, or delete the file: its rows are computed again",
        path.display()
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// The version found.
        found: u32,
    },
    /// Its name is not that of the teacher whose rows it holds.
    #[error(
        "{} holds rows of the teacher {found}; give the file that name, followed by .{EXTENSION}",
        path.display()
    )]
    OtherTeacher {
        /// The file.
        path: PathBuf,
        /// The teacher.
        found: Fingerprint,
    },
    /// The file or the folder cannot be read or written.
    #[error(
        "cannot use {}: {source}; make room or give access, or put the store elsewhere with \
         --store DIR, or keep rows in memory alone with --store none",
        path.display()
    )]
    Io {
        /// The file or the folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// What was found for a list of contents.
#[derive(Debug)]
pub struct Found {
    /// In the order asked.
    pub rows: Vec<Option<Row>>,
    /// Records that were there and are not believed.
    pub corrupt: u64,
}

/// Some of a database's rows.
#[derive(Debug, Default)]
pub struct Chunk {
    /// Those that are believed.
    pub rows: Vec<Row>,
    /// Contents whose records are not.
    pub corrupt: Vec<ContentHash>,
}

/// See the module.
pub struct Database {
    redb: redb::Database,
    path: PathBuf,
    card: TeacherCard,
}

impl Database {
    /// Opens or makes the database of the teacher `card` in `folder`.
    pub fn create(folder: &Path, card: &TeacherCard) -> Result<Self, DatabaseError> {
        fs::create_dir_all(folder)
            .map_err(|source| DatabaseError::Io { path: folder.to_owned(), source })?;
        let path = folder.join(format!("{}.{EXTENSION}", card.fingerprint));
        let redb = guarded(&path, || Ok(builder(&path).create(&path)?))?;
        let stored = read_card(&redb, &path)?;
        if stored.as_ref() != Some(card) {
            guarded(&path, || {
                let transaction = redb.begin_write()?;
                let mut about = transaction.open_table(ABOUT)?;
                about.insert(FORMAT_KEY, FORMAT.to_le_bytes().as_slice())?;
                about.insert(CARD_KEY, serde_json::json!(card).to_string().as_bytes())?;
                drop(about);
                transaction.open_table(ROWS)?;
                Ok(transaction.commit()?)
            })?;
        }
        Ok(Self { redb, path, card: card.clone() })
    }

    /// Opens the database at `path`.
    pub fn open(path: &Path) -> Result<Self, DatabaseError> {
        let redb = guarded(path, || Ok(builder(path).open(path)?))?;
        let card = read_card(&redb, path)?.ok_or_else(|| damaged(path, &"it has no card"))?;
        Ok(Self { redb, path: path.to_owned(), card })
    }

    /// The teacher whose rows these are.
    pub const fn card(&self) -> &TeacherCard {
        &self.card
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Number of rows.
    pub fn len(&self) -> Result<u64, DatabaseError> {
        self.guarded(|| Ok(self.redb.begin_read()?.open_table(ROWS)?.len()?))
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> Result<bool, DatabaseError> {
        Ok(self.len()? == 0)
    }

    /// Bytes of the file.
    pub fn bytes(&self) -> Result<u64, DatabaseError> {
        file_bytes(&self.path)
    }

    /// Looks contents up.
    pub fn get(&self, contents: &[ContentHash]) -> Result<Found, DatabaseError> {
        let classes = self.card.labels.len();
        self.guarded(|| {
            let table = self.redb.begin_read()?.open_table(ROWS)?;
            let mut found = Found { rows: Vec::with_capacity(contents.len()), corrupt: 0 };
            for &content in contents {
                let record = table.get(content.as_bytes())?;
                let row = record.as_ref().and_then(|r| record::decode(content, r.value(), classes));
                found.corrupt += u64::from(record.is_some() && row.is_none());
                found.rows.push(row);
            }
            Ok(found)
        })
    }

    /// Stores rows; they survive a power cut when this returns. Of two rows with one content the later
    /// stays.
    pub fn insert<'r>(&self, rows: impl IntoIterator<Item = &'r Row>) -> Result<(), DatabaseError> {
        self.guarded(|| {
            let transaction = self.redb.begin_write()?;
            let mut table = transaction.open_table(ROWS)?;
            for row in rows {
                table.insert(row.content.as_bytes(), record::encode(row).as_slice())?;
            }
            drop(table);
            Ok(transaction.commit()?)
        })
    }

    /// Takes rows out, whether they are believed or not.
    pub fn remove(&self, contents: &[ContentHash]) -> Result<(), DatabaseError> {
        self.guarded(|| {
            let transaction = self.redb.begin_write()?;
            let mut table = transaction.open_table(ROWS)?;
            for content in contents {
                table.remove(content.as_bytes())?;
            }
            drop(table);
            Ok(transaction.commit()?)
        })
    }

    /// All rows in the order of their content, `n` at a time. Ends after the first error.
    pub fn chunks(&self, n: usize) -> impl Iterator<Item = Result<Chunk, DatabaseError>> {
        let mut next = Some(Bound::Unbounded);
        iter::from_fn(move || {
            let read = self.chunk(next?, n);
            next = read.as_ref().ok().and_then(|(_, last)| last.map(Bound::Excluded));
            read.map(|(chunk, last)| last.map(|_| chunk)).transpose()
        })
    }

    /// Up to `n` rows from `start`, and the last of them.
    fn chunk(
        &self,
        start: Bound<[u8; ContentHash::BYTES]>,
        n: usize,
    ) -> Result<(Chunk, Option<[u8; ContentHash::BYTES]>), DatabaseError> {
        let classes = self.card.labels.len();
        self.guarded(|| {
            let table = self.redb.begin_read()?.open_table(ROWS)?;
            let (mut chunk, mut last) = (Chunk::default(), None);
            let range = (start.as_ref(), Bound::Unbounded);
            for entry in table.range::<&[u8; ContentHash::BYTES]>(range)?.take(n) {
                let (key, record) = entry?;
                last = Some(*key.value());
                let content = ContentHash::from_bytes(*key.value());
                match record::decode(content, record.value(), classes) {
                    Some(row) => chunk.rows.push(row),
                    None => chunk.corrupt.push(content),
                }
            }
            Ok((chunk, last))
        })
    }

    /// Reads every page and compares its checksum. `false` if something had to be repaired.
    pub fn check(&mut self) -> Result<bool, DatabaseError> {
        guarded(&self.path, || Ok(self.redb.check_integrity()?))
    }

    /// Gives back to the operating system what removed and rewritten rows took.
    pub fn compact(&mut self) -> Result<(), DatabaseError> {
        guarded(&self.path, || {
            while self.redb.compact()? {}
            Ok(())
        })
    }

    /// Removes the file.
    pub fn delete(self) -> Result<(), DatabaseError> {
        fs::remove_file(&self.path)
            .map_err(|source| DatabaseError::Io { path: self.path.clone(), source })
    }

    fn guarded<T>(
        &self,
        use_it: impl FnOnce() -> Result<T, redb::Error>,
    ) -> Result<T, DatabaseError> {
        guarded(&self.path, use_it)
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("path", &self.path).finish_non_exhaustive()
    }
}

fn file_bytes(path: &Path) -> Result<u64, DatabaseError> {
    let metadata = fs::metadata(path);
    Ok(metadata.map_err(|source| DatabaseError::Io { path: path.to_owned(), source })?.len())
}

fn builder(path: &Path) -> redb::Builder {
    let mut builder = redb::Builder::new();
    let path = path.to_owned();
    let told = std::sync::Once::new();
    builder.set_cache_size(CACHE_BYTES).set_repair_callback(move |_| {
        told.call_once(|| {
            tracing::info!(path = %path.display(), "the store was not closed; checking its pages");
        });
    });
    builder
}

/// The card in a database of this format; `None` in one that was only just made.
fn read_card(redb: &redb::Database, path: &Path) -> Result<Option<TeacherCard>, DatabaseError> {
    let about = guarded(path, || {
        let about = match redb.begin_read()?.open_table(ABOUT) {
            Ok(about) => about,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let value = |key| Ok::<_, redb::Error>(about.get(key)?.map(|value| value.value().to_vec()));
        Ok(Some((value(FORMAT_KEY)?, value(CARD_KEY)?)))
    })?;
    let Some((format, card)) = about else { return Ok(None) };
    let format = format.and_then(|bytes| Some(u32::from_le_bytes(bytes.try_into().ok()?)));
    match format {
        Some(FORMAT) => {}
        Some(found) => return Err(DatabaseError::Format { path: path.to_owned(), found }),
        None => return Err(damaged(path, &"it does not say its format")),
    }
    let card = serde_json::from_slice::<TeacherCard>(&card.unwrap_or_default())
        .map_err(|error| damaged(path, &format_args!("its card is not one: {error}")))?;
    if path.file_stem().is_some_and(|name| name != card.fingerprint.as_str()) {
        return Err(DatabaseError::OtherTeacher { path: path.to_owned(), found: card.fingerprint });
    }
    Ok(Some(card))
}

fn damaged(path: &Path, cause: &impl ToString) -> DatabaseError {
    DatabaseError::Damaged { path: path.to_owned(), cause: cause.to_string() }
}

/// Runs `use_it` and says of its errors which file they are about. The engine trusts its pages and may
/// panic over a file that something else wrote to; here that is an error like any other.
fn guarded<T>(
    path: &Path,
    use_it: impl FnOnce() -> Result<T, redb::Error>,
) -> Result<T, DatabaseError> {
    match panic::catch_unwind(AssertUnwindSafe(use_it)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(redb::Error::DatabaseAlreadyOpen)) => {
            Err(DatabaseError::InUse { path: path.to_owned() })
        }
        // So the engine calls a file that does not begin as its files do.
        Ok(Err(redb::Error::Io(source))) if source.kind() != io::ErrorKind::InvalidData => {
            Err(DatabaseError::Io { path: path.to_owned(), source })
        }
        // The file may be whole; only this handle of it is done with.
        Ok(Err(error @ redb::Error::PreviousIo)) => {
            Err(DatabaseError::Io { path: path.to_owned(), source: io::Error::other(error) })
        }
        Ok(Err(error)) => Err(damaged(path, &error)),
        Err(_) => Err(damaged(path, &"a page is not what was written")),
    }
}
