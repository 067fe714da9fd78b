//! The Raft log. One front ([`LogStore`]) that openraft speaks to, one writer that groups appends into one disk
//! flush, and behind it a [`Backend`]: `wal` (default) or `sled`. In memory there is no backend at all.
//!
//! The front must never report an append or a vote as done before the backend has flushed it.

mod cache;
mod front;
#[cfg(test)]
mod tests;
mod writer;

use std::io;

pub(super) use front::LogStore;

use super::types::{LogId, Vote};

/// What a log keeps beside its entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// The vote given or the leader followed.
    pub(super) vote: Option<Vote>,
    /// Last entry known to be committed when it was written; may lag.
    pub(super) committed: Option<LogId>,
    /// Last entry removed because a snapshot covers it.
    pub(super) purged: Option<LogId>,
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
    /// Removes the entries up to this index, included; the head that says so was set before.
    fn purge_to(&mut self, index: u64) -> io::Result<()>;
    /// Makes everything so far durable. After an error the log takes no more writes.
    fn sync(&mut self) -> io::Result<()>;
}

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
    pub(super) reader: std::sync::Arc<dyn Reader>,
}
