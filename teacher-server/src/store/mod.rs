//! The label store: rows already computed, in tiers. Memory answers at once, the disk keeps rows for
//! ever, and Redis, where there is one, shares them between servers. A row belongs to its teacher's
//! fingerprint and to its content, so that no tier can hold a wrong one for long or give it unnoticed.
//!
//! `Store` holds the tiers; [`database`] is one teacher's rows in one file, which `teacher-server store`
//! works on too.

pub mod commands;
mod config;
pub mod database;
mod disk;
mod error;
pub mod folder;
mod group;
mod memory;
mod record;
pub mod shared;
#[cfg(test)]
mod tests;

use std::io;

use lectern::wire::{ContentHash, Row, TeacherCard};

use self::{
    database::DatabaseError,
    disk::Disk,
    memory::Memory,
    shared::{SharedCounts, SharedStore},
};

pub use config::{StoreConfig, StoreFlagError, default_folder};
pub use disk::DiskCounts;

/// Why a store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database of the disk tier.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The thread that writes to the disk.
    #[error("cannot start a thread to write rows: {0}")]
    Thread(#[source] io::Error),
}

/// The tiers below memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// A database on this machine.
    Disk,
    /// Redis.
    Shared,
}

/// What the tiers hold, and what became of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreCounts {
    /// Rows in memory.
    pub memory_rows: u64,
    /// Bytes they take of the budget.
    pub memory_bytes: u64,
    /// The disk tier, if there is one.
    pub disk: Option<DiskCounts>,
    /// The shared tier, if there is one.
    pub shared: Option<SharedCounts>,
}

/// The rows of one teacher.
#[derive(Debug)]
pub struct Store {
    memory: Option<Memory>,
    disk: Option<Disk>,
    shared: Option<SharedStore>,
}

impl Store {
    /// Opens the tiers that `config` names for the rows of `card`.
    ///
    /// # Panics
    /// With a shared tier, outside a Tokio runtime.
    pub fn open(config: &StoreConfig, card: &TeacherCard) -> Result<Self, StoreError> {
        let open = |folder| Disk::open(folder, config.folder_bytes, card);
        let disk = config.folder.as_deref().map(open);
        Ok(Self {
            memory: Memory::new(config.memory_bytes, card.labels.len()),
            disk: disk.transpose()?,
            shared: config
                .shared
                .as_ref()
                .map(|url| SharedStore::open(url, &card.fingerprint, card.labels.len())),
        })
    }

    /// Asks memory alone, for one example; never waits.
    pub fn in_memory(&self, content: ContentHash) -> Option<Row> {
        self.memory.as_ref()?.get(content)
    }

    /// Asks the disk, for a batch: `None` for what is not there. Blocks while it reads. What is found is
    /// in memory afterwards.
    pub fn on_disk(&self, contents: &[ContentHash]) -> Vec<Option<Row>> {
        let Some(disk) = &self.disk else {
            return vec![None; contents.len()];
        };
        let found = disk.get(contents);
        self.remember(found.iter().flatten());
        found
    }

    /// Whether there is a shared tier to ask.
    pub const fn is_shared(&self) -> bool {
        self.shared.is_some()
    }

    /// Asks Redis, for a batch: `None` for what is not there, or while Redis is away. What is found is in
    /// memory afterwards, and soon on disk.
    pub async fn shared(&self, contents: &[ContentHash]) -> Vec<Option<Row>> {
        let Some(shared) = &self.shared else {
            return vec![None; contents.len()];
        };
        let found = shared.get(contents).await;
        self.remember(found.iter().flatten());
        if let Some(disk) = &self.disk {
            disk.insert(found.iter().flatten().cloned().collect());
        }
        found
    }

    /// Takes in rows that were computed: memory has them when this returns, the other tiers soon. Waits
    /// for none of them.
    pub fn insert(&self, rows: Vec<Row>) {
        self.remember(&rows);
        if let Some(shared) = &self.shared {
            for row in &rows {
                shared.insert(row);
            }
        }
        if let Some(disk) = &self.disk {
            disk.insert(rows);
        }
    }

    /// Waits until every row taken in so far is durable and shared, or was given up and counted. Blocks,
    /// and must not be called from async code.
    pub fn flush(&self) {
        if let Some(shared) = &self.shared {
            shared.flush_blocking();
        }
        if let Some(disk) = &self.disk {
            disk.flush();
        }
    }

    /// What the tiers hold, and what became of rows.
    pub fn counts(&self) -> StoreCounts {
        StoreCounts {
            memory_rows: self.memory.as_ref().map_or(0, Memory::len),
            memory_bytes: self.memory.as_ref().map_or(0, Memory::bytes),
            disk: self.disk.as_ref().map(Disk::counts),
            shared: self.shared.as_ref().map(SharedStore::counts),
        }
    }

    fn remember<'r>(&self, rows: impl IntoIterator<Item = &'r Row>) {
        if let Some(memory) = &self.memory {
            rows.into_iter().for_each(|row| memory.insert(row));
        }
    }
}
