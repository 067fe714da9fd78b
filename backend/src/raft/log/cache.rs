//! The newest entries in memory: all of them when there is no disk, else as many as fit the budget.
//! Never drops an entry the disk does not have yet.

use std::collections::VecDeque;

use openraft::entry::RaftEntry as _;

use super::Head;
use crate::raft::types::{Entry, LogId};

/// Contiguous entries, newest last.
#[derive(Debug, Default)]
pub(super) struct Cache {
    /// What is kept beside the entries.
    pub(super) head: Head,
    /// Index of the first entry of the log, on disk or here.
    first: u64,
    /// Index of the first entry here.
    cached_from: u64,
    /// The entry with its encoded size.
    entries: VecDeque<(Entry, usize)>,
    bytes: usize,
    /// Id of the last entry of the log.
    last: Option<LogId>,
}

impl Cache {
    /// A log whose entries are all on disk.
    pub(super) fn new(head: Head, range: Option<(u64, u64)>, last: Option<LogId>) -> Self {
        let next = range.map_or_else(|| head.purged.map_or(0, |id| id.index() + 1), |(_, last)| last + 1);
        let first = range.map_or(next, |(first, _)| first);
        let last = last.or(head.purged);
        Self { head, first, cached_from: next, entries: VecDeque::new(), bytes: 0, last }
    }

    /// Id of the last entry, or of the last purged one.
    pub(super) fn last(&self) -> Option<LogId> {
        self.last
    }

    /// Bytes of the entries here.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Index of the first entry of the log.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    fn next(&self) -> u64 {
        self.cached_from + self.entries.len() as u64
    }

    /// Adds an entry; false when it does not follow the last one.
    #[must_use]
    pub(super) fn push(&mut self, entry: Entry, size: usize) -> bool {
        if self.last.is_none() && self.entries.is_empty() {
            (self.first, self.cached_from) = (entry.index(), entry.index());
        }
        if entry.index() != self.next() {
            return false;
        }
        self.last = Some(entry.log_id());
        self.bytes += size;
        self.entries.push_back((entry, size));
        true
    }

    /// Cached entries from `from` up to, not including, `to`, up to `max_bytes` but at least one. `Err` is the end of the part
    /// that has to come from disk first.
    pub(super) fn read(&self, from: u64, to: u64, max_bytes: usize) -> Result<Vec<Entry>, u64> {
        let (from, to) = (from.max(self.first), to.min(self.next()));
        if from >= to {
            return Ok(Vec::new());
        }
        if from < self.cached_from {
            return Err(to.min(self.cached_from));
        }
        let position = |index: u64| usize::try_from(index - self.cached_from).unwrap_or(usize::MAX);
        let mut left = max_bytes;
        let fits = |(_, size): &&(Entry, usize)| {
            let fits = left > 0;
            left = left.saturating_sub(*size);
            fits
        };
        Ok(self.entries.range(position(from)..position(to)).take_while(fits).map(|(entry, _)| entry.clone()).collect())
    }

    /// Drops the entries behind `last`, which is what the log ends with from now on.
    pub(super) fn truncate_after(&mut self, last: Option<LogId>) {
        let from = last.map_or(0, |id| id.index() + 1);
        if from >= self.next() {
            return;
        }
        let keep = usize::try_from(from.saturating_sub(self.cached_from)).unwrap_or(usize::MAX);
        self.bytes -= self.entries.iter().skip(keep).map(|(_, size)| size).sum::<usize>();
        self.entries.truncate(keep);
        self.cached_from = self.cached_from.min(from);
        self.last = last.or(self.head.purged);
    }

    /// Drops the entries up to this one, included.
    pub(super) fn purge(&mut self, upto: LogId) {
        self.head.purged = Some(upto);
        while self.entries.front().is_some_and(|(entry, _)| entry.index() <= upto.index()) {
            self.pop();
        }
        self.first = self.first.max(upto.index() + 1);
        if self.last.is_none_or(|last| last.index() <= upto.index()) {
            (self.last, self.cached_from) = (Some(upto), upto.index() + 1);
        }
    }

    /// Keeps at most so many bytes of entries that are on disk, which is those up to `durable`, included.
    pub(super) fn shrink(&mut self, durable: u64, budget: usize) {
        while self.bytes > budget && self.entries.front().is_some_and(|(entry, _)| entry.index() <= durable) {
            self.pop();
        }
    }

    fn pop(&mut self) {
        if let Some((_, size)) = self.entries.pop_front() {
            self.bytes -= size;
            self.cached_from += 1;
        }
    }
}
