//! The candidates behind one face: both write with fdatasync, and both may cache as much.

use std::{path::Path, time::Duration, time::Instant};

use anyhow::Result;
use fjall::{
    CompressionType, KeyspaceCreateOptions, PersistMode,
    config::{CompressionPolicy, HashRatioPolicy},
};
use redb::{Durability, ReadableDatabase};

/// Bytes of pages or blocks that an engine may keep in memory.
const CACHE_BYTES: usize = 256 << 20;

/// A row: the content's hash, and the record of its logits.
pub type Row = ([u8; 16], Vec<u8>);

/// What the disk tier needs of a database.
pub trait Engine: Sized {
    /// For the table.
    const NAME: &str;

    /// Opens what is at `path`, or makes it.
    fn open(path: &Path) -> Result<Self>;

    /// Writes rows from `next` for about `time` and returns how many; they are durable then.
    fn group_commit(&self, time: Duration, next: &mut dyn FnMut() -> Vec<Row>) -> Result<usize>;

    /// Values of `keys` in their order.
    fn get(&self, keys: &[[u8; 16]]) -> Result<Vec<Option<Vec<u8>>>>;
}

const TABLE: redb::TableDefinition<&[u8; 16], &[u8]> = redb::TableDefinition::new("rows");

/// A copy-on-write B-tree in one file. `QUICK_REPAIR` saves the allocator's state with each commit,
/// so that opening after a crash need not walk the file; commits then cost two syncs.
pub struct Redb<const QUICK_REPAIR: bool>(redb::Database);

impl<const QUICK_REPAIR: bool> Engine for Redb<QUICK_REPAIR> {
    const NAME: &str = if QUICK_REPAIR { "redb, quick repair" } else { "redb" };

    fn open(path: &Path) -> Result<Self> {
        let database = redb::Builder::new().set_cache_size(CACHE_BYTES).create(path)?;
        let transaction = database.begin_write()?;
        transaction.open_table(TABLE)?;
        transaction.commit()?;
        Ok(Self(database))
    }

    fn group_commit(&self, time: Duration, next: &mut dyn FnMut() -> Vec<Row>) -> Result<usize> {
        let start = Instant::now();
        let mut written = 0;
        let mut transaction = self.0.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        transaction.set_quick_repair(QUICK_REPAIR);
        {
            let mut table = transaction.open_table(TABLE)?;
            loop {
                let rows = next();
                for (key, value) in &rows {
                    table.insert(key, value.as_slice())?;
                }
                written += rows.len();
                if start.elapsed() >= time {
                    break;
                }
            }
        }
        transaction.commit()?;
        Ok(written)
    }

    fn get(&self, keys: &[[u8; 16]]) -> Result<Vec<Option<Vec<u8>>>> {
        let table = self.0.begin_read()?.open_table(TABLE)?;
        keys.iter().map(|key| Ok(table.get(key)?.map(|value| value.value().to_vec()))).collect()
    }
}

/// A log-structured merge tree in a folder.
pub struct Fjall {
    database: fjall::Database,
    rows: fjall::Keyspace,
}

impl Engine for Fjall {
    const NAME: &str = "fjall";

    fn open(path: &Path) -> Result<Self> {
        let database = fjall::Database::builder(path).cache_size(CACHE_BYTES as u64).open()?;
        // Set for point reads of values that do not compress.
        let options = || {
            KeyspaceCreateOptions::default()
                .data_block_hash_ratio_policy(HashRatioPolicy::all(0.75))
                .data_block_compression_policy(CompressionPolicy::all(CompressionType::None))
        };
        let rows = database.keyspace("rows", options)?;
        Ok(Self { database, rows })
    }

    fn group_commit(&self, time: Duration, next: &mut dyn FnMut() -> Vec<Row>) -> Result<usize> {
        let start = Instant::now();
        let mut written = 0;
        loop {
            let rows = next();
            written += rows.len();
            let mut batch = self.database.batch();
            for (key, value) in rows {
                batch.insert(&self.rows, key, value);
            }
            batch.commit()?;
            if start.elapsed() >= time {
                break;
            }
        }
        self.database.persist(PersistMode::SyncData)?;
        Ok(written)
    }

    fn get(&self, keys: &[[u8; 16]]) -> Result<Vec<Option<Vec<u8>>>> {
        keys.iter().map(|key| Ok(self.rows.get(key)?.map(|value| value.to_vec()))).collect()
    }
}
