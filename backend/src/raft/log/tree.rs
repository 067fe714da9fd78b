//! The log in sled: one tree, entries by index beside the head.

use std::{io, path::Path, sync::Arc};

use super::{Backend, Encoded, Head, Opened, Reader};
use crate::{
    raft::codec,
    rt::durable::{Sled, from_sled},
};

/// sled's page cache; a hint.
const CACHE_BYTES: u64 = 64 << 20;
/// Entries removed with one flush at most: removing a whole log at once stalls it long enough to lose the leadership.
pub(super) const PURGE_BATCH: u64 = 1000;
const HEAD_KEY: &[u8] = b"head";

/// The writing side.
struct Tree {
    sled: Sled,
    batch: sled::Batch,
    /// Index of the first entry that may be there and of the one after the last.
    range: (u64, u64),
    /// Remove entries below this index, little by little.
    purge_below: u64,
}

fn key(index: u64) -> [u8; 9] {
    let mut key = [b'e'; 9];
    key[1..].copy_from_slice(&index.to_be_bytes());
    key
}

fn index(key: &[u8]) -> io::Result<u64> {
    let bytes = key.get(1..).and_then(|bytes| bytes.try_into().ok());
    bytes.map(u64::from_be_bytes).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("raft log: strange key {key:?}")))
}

/// Opens or creates a log in this directory.
///
/// # Errors
/// The disk; damage.
pub(super) fn open(dir: &Path) -> io::Result<Opened> {
    let sled = Sled::open(dir, CACHE_BYTES)?;
    let db = sled.db().clone();
    let head: Head = db.get(HEAD_KEY).map_err(from_sled)?.map(|bytes| codec::decode(&bytes)).transpose()?.unwrap_or_default();
    let next = head.purged.map_or(0, |id| id.index() + 1);
    let mut found = db.range(key(0)..=key(u64::MAX)).keys();
    let oldest = found.next().map(|key| index(&key.map_err(from_sled)?)).transpose()?;
    let last = found.next_back().map(|key| index(&key.map_err(from_sled)?)).transpose()?.or(oldest).filter(|last| *last >= next);
    let first = db.range(key(next)..=key(u64::MAX)).keys().next().map(|key| index(&key.map_err(from_sled)?)).transpose()?;
    if let (Some(_), Some(first)) = (head.purged, first.filter(|first| *first > next)) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("raft log entries {next} to {first} are missing")));
    }
    let end = last.map_or(next, |last| last + 1);
    let tree = Tree { sled, batch: sled::Batch::default(), range: (oldest.unwrap_or(end), end), purge_below: next };
    Ok(Opened { head, range: first.zip(last), backend: Box::new(tree), reader: Arc::new(TreeReader(db)) })
}

impl Backend for Tree {
    fn append(&mut self, index: u64, entry: &[u8]) -> io::Result<()> {
        self.batch.insert(&key(index), entry);
        self.range = (self.range.0.min(index), index + 1);
        Ok(())
    }

    fn set_head(&mut self, head: &Head) -> io::Result<()> {
        self.batch.insert(HEAD_KEY, codec::encode(head)?);
        Ok(())
    }

    fn truncate_from(&mut self, index: u64) -> io::Result<()> {
        for gone in index..self.range.1 {
            self.batch.remove(&key(gone));
        }
        self.range.1 = self.range.1.min(index);
        Ok(())
    }

    fn purge_to(&mut self, index: u64) -> io::Result<()> {
        self.purge_below = index + 1;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let upto = self.purge_below.min(self.range.1).min(self.range.0 + PURGE_BATCH);
        for gone in self.range.0..upto {
            self.batch.remove(&key(gone));
        }
        self.range.0 = self.range.0.max(upto);
        if self.range.0 == self.range.1 && self.purge_below > self.range.1 {
            self.range = (self.purge_below, self.purge_below);
        }
        self.sled.db().apply_batch(std::mem::take(&mut self.batch)).map_err(from_sled)?;
        self.sled.sync()
    }
}

/// The reading side.
struct TreeReader(sled::Db);

impl Reader for TreeReader {
    fn read(&self, from: u64, to: u64, max_bytes: usize) -> io::Result<Encoded> {
        let (mut entries, mut left) = (Encoded::new(), max_bytes);
        for row in self.0.range(key(from)..key(to)) {
            let (key, entry) = row.map_err(from_sled)?;
            left = left.saturating_sub(entry.len());
            entries.push((index(&key)?, entry.to_vec()));
            if left == 0 {
                break;
            }
        }
        Ok(entries)
    }
}
