//! Faults that a log must not have, put on a simulated disk on purpose: a simulation that does not notice them proves nothing.
//! Only with feature `sim`.

use std::io;

use super::{Backend, Head};
use crate::raft::types::Vote;

/// What is wrong with a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// A flush is acknowledged at once and done with the next one.
    AcknowledgesBeforeFlush,
    /// The vote on disk is the last one of the term before the newest.
    ForgetsNewestVote,
}

/// A log that writes the vote of the term before.
pub(super) struct Forgetful {
    inner: Box<dyn Backend>,
    newest: Option<Vote>,
    before: Option<Vote>,
}

impl Forgetful {
    /// Goes on from a head on disk.
    pub(super) fn new(inner: Box<dyn Backend>, head: &Head) -> Self {
        Self { inner, newest: head.vote, before: head.vote }
    }
}

impl Backend for Forgetful {
    fn append(&mut self, index: u64, entry: &[u8]) -> io::Result<()> {
        self.inner.append(index, entry)
    }

    fn set_head(&mut self, head: &Head) -> io::Result<()> {
        let term = |vote: Option<Vote>| vote.map(|vote| vote.leader_id.term);
        if term(head.vote) != term(self.newest) {
            self.before = self.newest;
        }
        self.newest = head.vote;
        self.inner.set_head(&Head { vote: self.before, ..head.clone() })
    }

    fn truncate_from(&mut self, index: u64) -> io::Result<()> {
        self.inner.truncate_from(index)
    }

    fn purge_to(&mut self, index: u64) -> io::Result<()> {
        self.inner.purge_to(index)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.inner.sync()
    }
}
