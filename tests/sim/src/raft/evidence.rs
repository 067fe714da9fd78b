//! What a run of the Raft world leaves for the invariants, and counts that show what it went through.

use std::collections::BTreeMap;

use crate::invariants::{Verdict, acked_writes_survive, election_safety, index_monotonic, lease_reads, linearizable, no_stale_after_heal};

/// The name of the condition that something happened at all.
const PROGRESS: &str = "progress";

/// Everything watched.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    pub(super) elections: election_safety::Elections,
    pub(super) acked: acked_writes_survive::Acked,
    pub(super) indexes: index_monotonic::Indexes,
    pub(super) histories: linearizable::Histories,
    pub(super) leases: lease_reads::Leases,
    pub(super) healed: no_stale_after_heal::Healed,
    counts: BTreeMap<&'static str, u64>,
}

impl Evidence {
    /// One more of something.
    pub(super) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// Everything counted.
    pub(super) fn counts(&self) -> Vec<(&'static str, u64)> {
        let own = [
            ("terms with a leader", self.elections.count()),
            ("acknowledged writes", self.acked.count()),
            ("register operations", self.histories.count()),
            ("reads under a lease", self.leases.count()),
        ];
        own.into_iter().chain(self.counts.iter().map(|(what, count)| (*what, *count))).collect()
    }

    /// Every invariant with its verdict.
    pub(super) fn verdicts(&self, commits_least: u64) -> Vec<(&'static str, Verdict)> {
        let commits = self.acked.count();
        let progress = if commits < commits_least { Err(format!("only {commits} writes were acknowledged")) } else { Ok(()) };
        vec![
            (PROGRESS, progress),
            (election_safety::NAME, self.elections.verdict()),
            (acked_writes_survive::NAME, self.acked.verdict()),
            (index_monotonic::NAME, self.indexes.verdict()),
            (linearizable::NAME, self.histories.verdict()),
            (lease_reads::NAME, self.leases.verdict()),
            (no_stale_after_heal::NAME, self.healed.verdict()),
        ]
    }
}
