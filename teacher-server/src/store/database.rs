//! One teacher's rows in one file, with the teacher's card. Knows the file and its format; neither
//! threads nor what to do when a disk fails.
//!
//! The engine is redb, a copy-on-write B-tree: at the same durability it reads random rows several
//! times as fast as fjall does (`benches/store-engines`), and it is one file. After a crash it goes
//! back to the last commit; a row, moreover, is believed only with its own checksum.

use std::{
    fmt,
    fs::{self, File},
    io, iter,
    ops::Bound,
    path::{Path, PathBuf},
};

use lectern::{
    files,
    wire::{ContentHash, Row, TeacherCard},
};
use redb::{ReadableDatabase, ReadableTableMetadata, TableDefinition, WriteTransaction};

use super::{
    error::{damaged, guarded},
    folder::path_of,
    record,
};

pub use super::error::DatabaseError;

/// Ending of a database's name; before it stands the teacher's fingerprint.
pub const EXTENSION: &str = "redb";

/// Version of what is in the tables; the engine watches over its own.
pub(super) const FORMAT: u32 = 1;

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

/// Rows in one transaction below which it also saves what makes opening after a crash instant, which
/// otherwise reads the whole file. It costs a second sync and so up to half the speed: nothing to a
/// teacher of less than some 40,000 rows a second, too much to the import of a file.
const QUICK_REPAIR_ROWS: usize = 4096;

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
        let path = path_of(folder, &card.fingerprint);
        if !path.exists() {
            make(folder, &path, card)?;
        }
        let mut database = Self::open(&path)?;
        if database.card != *card {
            database.guarded(|| {
                let transaction = database.redb.begin_write()?;
                write_card(&transaction, card)?;
                Ok(transaction.commit()?)
            })?;
            database.card = card.clone();
        }
        Ok(database)
    }

    /// Opens the database at `path`.
    pub fn open(path: &Path) -> Result<Self, DatabaseError> {
        let redb = guarded(path, || Ok(builder(path).open(path)?))?;
        let card = read_card(&redb, path)?;
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
            let mut transaction = self.redb.begin_write()?;
            let mut table = transaction.open_table(ROWS)?;
            let mut inserted = 0;
            for row in rows {
                table.insert(row.content.as_bytes(), record::encode(row).as_slice())?;
                inserted += 1;
            }
            drop(table);
            transaction.set_quick_repair(inserted < QUICK_REPAIR_ROWS);
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

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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

/// Makes an empty database and then gives it its name: the engine takes some writes to make a file that
/// it knows again, and a crash between them would leave one that nobody can open.
fn make(folder: &Path, path: &Path, card: &TeacherCard) -> Result<(), DatabaseError> {
    let io = |source| DatabaseError::Io { path: folder.to_owned(), source };
    fs::create_dir_all(folder).map_err(io)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".lectern-").suffix(".tmp");
    let unnamed = builder.make_in(folder, |path| File::create_new(path)).map_err(io)?;
    guarded(unnamed.path(), || {
        let redb = redb::Database::create(unnamed.path())?;
        let transaction = redb.begin_write()?;
        write_card(&transaction, card)?;
        transaction.open_table(ROWS)?;
        transaction.commit()?;
        Ok(redb.close()?)
    })?;
    match unnamed.persist_noclobber(path) {
        // Another server of this teacher was faster; whoever opens the file first has it.
        Err(failed) if failed.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(failed) => Err(io(failed.error)),
        Ok(_) => files::sync_folder(folder).map_err(io),
    }
}

fn write_card(transaction: &WriteTransaction, card: &TeacherCard) -> Result<(), redb::Error> {
    let mut about = transaction.open_table(ABOUT)?;
    about.insert(FORMAT_KEY, FORMAT.to_le_bytes().as_slice())?;
    about.insert(CARD_KEY, serde_json::json!(card).to_string().as_bytes())?;
    Ok(())
}

/// The card in a database of this format.
fn read_card(redb: &redb::Database, path: &Path) -> Result<TeacherCard, DatabaseError> {
    let (format, card) = guarded(path, || {
        let about = redb.begin_read()?.open_table(ABOUT)?;
        let value = |key| Ok::<_, redb::Error>(about.get(key)?.map(|value| value.value().to_vec()));
        Ok((value(FORMAT_KEY)?, value(CARD_KEY)?))
    })?;
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
    Ok(card)
}
