//! The Raft log. One front ([`LogStore`]) that openraft speaks to, one writer that groups appends into one disk
//! flush, and behind it a [`Backend`]: `wal` (default) or `sled`. In memory there is no backend at all.
//!
//! The front must never report an append or a vote as done before the backend has flushed it.

mod cache;
mod disk;
#[cfg(any(test, feature = "sim"))]
pub mod faulty;
#[cfg(any(test, feature = "sim"))]
pub(super) mod flaw;
mod front;
pub(super) mod inspect;
mod record;
#[cfg(test)]
mod tests;
mod tree;
mod wal;
mod writer;

use std::{io, path::Path, sync::Arc};

pub(super) use front::LogStore;
pub(super) use writer::Place;

use openraft::EntryPayload;
use serde::{Deserialize, Serialize};

use super::types::{Configuration, Entry, LogId, Membership, Vote};
use crate::rt::durable::create_dir;

/// What a log keeps beside its entries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Head {
    /// The vote given or the leader followed.
    pub(super) vote: Option<Vote>,
    /// Last entry known to be committed when it was written; may lag.
    pub(super) committed: Option<LogId>,
    /// Last entry removed because a snapshot covers it.
    pub(super) purged: Option<LogId>,
    /// The configuration an operator gave after the quorum was lost.
    pub(super) recovered: Option<Recovered>,
}

/// A configuration that counts instead of every one before it; see `recovery`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Recovered {
    /// The last entry there was when it was given.
    pub(super) upto: Option<LogId>,
    /// What every configuration up to then reads as.
    pub(super) membership: Configuration,
}

impl Recovered {
    /// Puts it in an entry that holds a former configuration.
    pub(super) fn mend(&self, entry: &mut Entry) {
        if let EntryPayload::Membership(membership) = &mut entry.payload
            && Some(entry.log_id) <= self.upto
        {
            membership.clone_from(&self.membership);
        }
    }

    /// Puts it in the place of a former configuration.
    pub(super) fn replace(&self, membership: &mut Membership) {
        let is_former = *membership.log_id() <= self.upto && membership.membership().nodes().next().is_some();
        if is_former {
            *membership = Membership::new(*membership.log_id(), self.membership.clone());
        }
    }
}

/// Entries in their encoded form, by index.
pub(super) type Encoded = Vec<(u64, Vec<u8>)>;

/// The writing side of a durable log, used by one writer at a time. Nothing is durable before [`Backend::sync`].
pub(super) trait Backend: Send + 'static {
    /// Adds an entry right behind the last one.
    fn append(&mut self, index: u64, entry: &[u8]) -> io::Result<()>;
    /// Replaces what is kept beside the entries.
    fn set_head(&mut self, head: &Head) -> io::Result<()>;
    /// Removes the entries from this index on.
    fn truncate_from(&mut self, index: u64) -> io::Result<()>;
    /// Removes the entries up to this index, included; the head that says so was set before. Space is freed later.
    fn purge_to(&mut self, index: u64) -> io::Result<()>;
    /// Makes everything so far durable. After an error the log takes no more writes.
    fn sync(&mut self) -> io::Result<()>;
    /// What is left to be freed, to be done beside the writer.
    fn sweep(&mut self) -> Option<Sweep> {
        None
    }
}

/// Frees space that nothing refers to any more.
pub(super) type Sweep = Box<dyn FnOnce() -> io::Result<()> + Send>;

/// The reading side, used beside the writer for entries that have left the cache.
pub(super) trait Reader: Send + Sync + 'static {
    /// The entries from `from` up to, not including, `to`, cut off once `max_bytes` are read (but never empty when there are any).
    fn read(&self, from: u64, to: u64, max_bytes: usize) -> io::Result<Encoded>;
}

/// A durable log as found on disk.
pub(super) struct Opened {
    /// Its head.
    pub(super) head: Head,
    /// Index of the first and of the last entry, when there are any.
    pub(super) range: Option<(u64, u64)>,
    /// Writing side.
    pub(super) backend: Box<dyn Backend>,
    /// Reading side.
    pub(super) reader: Arc<dyn Reader>,
}

/// Opens the log of this directory, which is `raft/`, with the store called `wal` or `sled`.
///
/// # Errors
/// The disk; damage, naming file and offset; an unknown store; entries in the other store, which would be ignored.
pub(super) fn open(dir: &Path, backend: &str) -> io::Result<Opened> {
    let (wal, sled) = (dir.join("wal"), dir.join("sled"));
    let (ours, other) = match backend {
        "wal" => (&wal, &sled),
        "sled" => (&sled, &wal),
        _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("unknown raft log store {backend:?}: use wal or sled"))),
    };
    if other.exists() && !ours.exists() {
        let reason = format!("{} holds a raft log of another store than {backend:?}", other.display());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    }
    create_dir(dir)?;
    match backend {
        "sled" => tree::open(&sled),
        _ => wal::open(Arc::new(disk::Directory::open(&wal)?), wal::SEGMENT_BYTES),
    }
}
