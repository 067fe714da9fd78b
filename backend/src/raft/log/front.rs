//! What openraft speaks to: keeps the newest entries in memory, hands writes to the writer, reads older entries from disk.

use std::{
    fmt::Debug,
    io,
    ops::{Bound, RangeBounds},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use openraft::{
    LogState, OptionalSend, RaftLogReader,
    entry::RaftEntry as _,
    storage::{IOFlushed, RaftLogStorage},
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use super::{
    Encoded, Opened, Reader, Recovered,
    cache::Cache,
    writer::{self, Place, Work},
};
use crate::{
    raft::{
        codec,
        types::{Entry, LogId, Types, Vote},
    },
    rt::Tasks,
};

/// Requests that may wait for the writer; openraft has only a few in flight.
const QUEUE: usize = 8192;
/// Bytes of entries kept in memory beside a disk.
const CACHE_BYTES: usize = 32 << 20;
/// Bytes of entries read for one message to another server, beside the last of them: it has to arrive within a second.
const READ_BYTES: usize = 1 << 20;

/// The log. Clone-cheap; all clones are the same log.
#[derive(Clone)]
pub(in crate::raft) struct LogStore {
    shared: Arc<Shared>,
    /// None in memory.
    disk: Option<Disk>,
}

#[derive(Clone)]
struct Disk {
    queue: mpsc::Sender<Work>,
    reader: Arc<dyn Reader>,
    place: Place,
    /// Replaces configurations in what is read.
    recovered: Option<Arc<Recovered>>,
}

/// What front and writer share.
#[derive(Default)]
pub(super) struct Shared {
    cache: Mutex<Cache>,
    cache_bytes: usize,
    /// What the disk said when it failed.
    failure: Arc<OnceLock<String>>,
}

impl Shared {
    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The disk failed.
    pub(super) fn failed(&self, reason: &str) {
        // Only the first reason tells something.
        let _ = self.failure.set(reason.to_owned());
    }

    /// Entries up to this index are on disk.
    pub(super) fn flushed(&self, last: u64) {
        self.cache().shrink(last, self.cache_bytes);
    }
}

fn stopped<E>(_: E) -> io::Error {
    io::Error::other("the raft log is closed")
}

impl LogStore {
    /// An empty log that forgets everything when it is dropped.
    pub(in crate::raft) fn in_memory() -> Self {
        Self { shared: Arc::default(), disk: None }
    }

    /// A log on disk with its writer running. The handle ends once every clone is gone and the log is closed.
    ///
    /// # Errors
    /// The last entry cannot be read.
    pub(in crate::raft) fn on_disk(opened: Opened, tasks: &Tasks, place: Place) -> io::Result<(Self, JoinHandle<()>)> {
        Self::with_cache(opened, tasks, place, CACHE_BYTES)
    }

    /// As [`LogStore::on_disk`], with so many bytes of cache.
    pub(super) fn with_cache(opened: Opened, tasks: &Tasks, place: Place, cache_bytes: usize) -> io::Result<(Self, JoinHandle<()>)> {
        let last = match opened.range {
            Some((_, last)) => {
                opened.reader.read(last, last + 1, 1)?.first().map(|(_, entry)| codec::decode::<Entry>(entry)).transpose()?
            }
            None => None,
        };
        let recovered = opened.head.recovered.clone().map(Arc::new);
        let cache = Cache::new(opened.head, opened.range, last.map(|entry| entry.log_id()));
        let shared = Arc::new(Shared { cache: Mutex::new(cache), cache_bytes, failure: Arc::default() });
        let (queue, work) = mpsc::channel(QUEUE);
        let writer = tasks.spawn("raft log writer", writer::run(opened.backend, work, shared.clone(), place.clone()));
        Ok((Self { shared, disk: Some(Disk { queue, reader: opened.reader, place, recovered }) }, writer))
    }

    /// Bytes of the entries in memory.
    #[cfg(test)]
    pub(super) fn cached_bytes(&self) -> usize {
        self.shared.cache().bytes()
    }

    /// Where the reason will be once the disk has failed.
    pub(in crate::raft) fn failure(&self) -> Arc<OnceLock<String>> {
        self.shared.failure.clone()
    }

    /// Hands the disk's part of the work over and waits for it; callers have changed the cache before, in the same order.
    async fn write(&self, work: impl FnOnce(oneshot::Sender<io::Result<()>>) -> Work) -> io::Result<()> {
        let Some(disk) = &self.disk else { return Ok(()) };
        let (done, wait) = oneshot::channel();
        disk.queue.send(work(done)).await.map_err(stopped)?;
        wait.await.map_err(stopped)?
    }

    async fn read(&self, mut from: u64, to: u64, mut max_bytes: usize) -> io::Result<Vec<Entry>> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let end = {
                let cache = self.shared.cache();
                from = from.max(cache.first());
                match cache.read(from, to, max_bytes) {
                    Ok(cached) if entries.is_empty() => return Ok(cached),
                    Ok(cached) => {
                        entries.extend(cached);
                        return Ok(entries);
                    }
                    Err(end) => end,
                }
            };
            let Some(disk) = &self.disk else { return Ok(entries) };
            let reader = disk.reader.clone();
            let encoded: Encoded = disk.place.read(move || reader.read(from, end, max_bytes)).await??;
            // Purged while we read: what is gone is gone.
            if encoded.is_empty() && from >= self.shared.cache().first() {
                return Err(io::Error::new(io::ErrorKind::InvalidData, format!("raft log entry {from} is missing")));
            }
            for (index, bytes) in &encoded {
                max_bytes = max_bytes.saturating_sub(bytes.len());
                from = index + 1;
                let mut entry = codec::decode(bytes)?;
                disk.recovered.iter().for_each(|recovered| recovered.mend(&mut entry));
                entries.push(entry);
            }
            if max_bytes == 0 {
                return Ok(entries);
            }
        }
    }
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(&mut self, range: R) -> io::Result<Vec<Entry>> {
        let from = match range.start_bound() {
            Bound::Included(index) => *index,
            Bound::Excluded(index) => index + 1,
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(index) => index + 1,
            Bound::Excluded(index) => *index,
            Bound::Unbounded => u64::MAX,
        };
        self.read(from, to, usize::MAX).await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.read(start, end, READ_BYTES).await
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.shared.cache().head.vote)
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let cache = self.shared.cache();
        Ok(LogState { last_purged_log_id: cache.head.purged, last_log_id: cache.last() })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let head = {
            let mut cache = self.shared.cache();
            cache.head.vote = Some(*vote);
            cache.head.clone()
        };
        self.write(|done| Work::Head(head, Some(done))).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        let head = {
            let mut cache = self.shared.cache();
            cache.head.committed = committed;
            cache.head.clone()
        };
        match &self.disk {
            Some(disk) => disk.queue.send(Work::Head(head, None)).await.map_err(stopped),
            None => Ok(()),
        }
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.shared.cache().head.committed)
    }

    async fn append<I>(&mut self, entries: I, flushed: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut encoded = Encoded::new();
        for entry in entries {
            // In memory nothing is encoded and nothing leaves the cache, so sizes do not matter there.
            let bytes = if self.disk.is_some() { codec::encode(&entry)? } else { Vec::new() };
            let (index, size) = (entry.index(), bytes.len().max(1));
            if !self.shared.cache().push(entry, size) {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("raft log entry {index} does not follow the last one")));
            }
            encoded.push((index, bytes));
        }
        match &self.disk {
            Some(disk) => disk.queue.send(Work::Append(encoded, flushed)).await.map_err(stopped),
            None => {
                flushed.io_completed(Ok(()));
                Ok(())
            }
        }
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        self.shared.cache().truncate_after(last);
        let from = last.map_or(0, |id| id.index() + 1);
        self.write(|done| Work::Truncate(from, done)).await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        let head = {
            let mut cache = self.shared.cache();
            cache.purge(upto);
            cache.head.clone()
        };
        match &self.disk {
            // The core waits here: with a disk that stands still it would be silent, and deposed. A purge that is lost does no harm.
            Some(disk) => disk.queue.send(Work::Purge(head, upto.index())).await.map_err(stopped),
            None => Ok(()),
        }
    }
}
