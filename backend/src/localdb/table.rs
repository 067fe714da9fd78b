//! Tables in one sorted map, on disk or in memory. A key is `table`, a zero byte, then the key in the table.

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
};

use super::Change;
use crate::rt::durable::{Sled, from_sled};

/// sled's page cache; a hint.
const CACHE_BYTES: u64 = 64 << 20;

type Memory = Arc<RwLock<BTreeMap<Vec<u8>, Vec<u8>>>>;

/// The writing side.
#[derive(Debug)]
pub(super) enum Tables {
    /// Gone with the process.
    Memory(Memory),
    /// Durable once [`Tables::write`] returns.
    Disk(Sled),
    /// Fails every write.
    #[cfg(test)]
    Failing,
}

/// The reading side, used beside the writer.
#[derive(Clone, Debug)]
pub(super) enum Reader {
    /// See [`Tables::Memory`].
    Memory(Memory),
    /// See [`Tables::Disk`].
    Disk(sled::Db),
}

fn full_key(table: &str, key: &str) -> Vec<u8> {
    [table.as_bytes(), b"\0", key.as_bytes()].concat()
}

impl Tables {
    pub(super) fn in_memory() -> Self {
        Self::Memory(Memory::default())
    }

    pub(super) fn on_disk(dir: &Path) -> io::Result<Self> {
        Ok(Self::Disk(Sled::open(dir, CACHE_BYTES)?))
    }

    pub(super) fn reader(&self) -> Reader {
        match self {
            Self::Memory(map) => Reader::Memory(map.clone()),
            Self::Disk(sled) => Reader::Disk(sled.db().clone()),
            #[cfg(test)]
            Self::Failing => Reader::Memory(Memory::default()),
        }
    }

    /// Applies the changes in order, all or none, and makes them durable.
    pub(super) fn write(&mut self, changes: &[Change]) -> io::Result<()> {
        match self {
            Self::Memory(map) => {
                let mut map = map.write().unwrap_or_else(PoisonError::into_inner);
                for change in changes {
                    match change {
                        Change::Put { table, key, value } => map.insert(full_key(table, key), value.clone()),
                        Change::Delete { table, key } => map.remove(&full_key(table, key)),
                    };
                }
                Ok(())
            }
            Self::Disk(sled) => {
                let mut batch = sled::Batch::default();
                for change in changes {
                    match change {
                        Change::Put { table, key, value } => batch.insert(full_key(table, key), value.as_slice()),
                        Change::Delete { table, key } => batch.remove(full_key(table, key)),
                    }
                }
                sled.db().apply_batch(batch).map_err(from_sled)?;
                sled.sync()
            }
            #[cfg(test)]
            Self::Failing => Err(io::Error::other("disk on fire")),
        }
    }
}

impl Reader {
    /// Everything in a table, by key.
    pub(super) fn scan(&self, table: &str) -> io::Result<Vec<(String, Vec<u8>)>> {
        let prefix = full_key(table, "");
        let key = |full: &[u8]| {
            String::from_utf8(full[prefix.len()..].to_vec()).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
        };
        match self {
            Self::Memory(map) => {
                let map = map.read().unwrap_or_else(PoisonError::into_inner);
                let rows = map.range(prefix.clone()..).take_while(|(full, _)| full.starts_with(&prefix));
                rows.map(|(full, value)| Ok((key(full)?, value.clone()))).collect()
            }
            Self::Disk(db) => db
                .scan_prefix(&prefix)
                .map(|row| {
                    let (full, value) = row.map_err(from_sled)?;
                    Ok((key(&full)?, value.to_vec()))
                })
                .collect(),
        }
    }
}
