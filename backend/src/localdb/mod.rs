//! The agent's own durable store: persisted services, checks and their state, saved views.
//!
//! Must never report a batch as stored before it is on disk. Holds no node id, keyring or peers file: those stay
//! files, as operators expect them.

mod group;
mod table;

use std::{path::Path, sync::Arc};

/// Why the store failed. After a disk error every later write fails too.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
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
pub struct LocalDb(Arc<group::Group>);

impl LocalDb {
    /// Opens `<data_dir>/local`, or with `None` a store in memory.
    ///
    /// # Errors
    /// The directory cannot be opened or read.
    pub fn open(data_dir: Option<&Path>) -> Result<Self, Error> {
        let tables = match data_dir {
            Some(dir) => table::Tables::on_disk(&dir.join("local")).map_err(|error| {
                let shown = dir.join("local");
                Error(format!("{}: {error}", shown.display()))
            })?,
            None => table::Tables::in_memory(),
        };
        Ok(Self(Arc::new(group::Group::new(tables))))
    }

    /// Applies a batch at once; it is on disk when this returns. Batches that arrive together share one disk flush.
    ///
    /// # Errors
    /// The disk.
    pub async fn commit(&self, batch: Vec<Change>) -> Result<(), Error> {
        self.0.commit(batch).await
    }

    /// Everything in a table, by key.
    ///
    /// # Errors
    /// The disk.
    pub fn scan(&self, table: &'static str) -> Result<Vec<(String, Vec<u8>)>, Error> {
        self.0.reader().scan(table).map_err(|error| Error(error.to_string()))
    }
}

#[cfg(test)]
mod tests;
