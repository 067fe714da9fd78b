//! A default read is never older than what was acknowledged before it began, whoever answered it under whatever lease.

use std::collections::BTreeMap;

use super::{First, Verdict};

/// Its name.
pub const NAME: &str = "lease_reads";

/// The newest acknowledged index of every key.
#[derive(Debug, Default)]
pub struct Leases {
    acked: BTreeMap<String, u64>,
    under_lease: u64,
    first: First,
}

impl Leases {
    /// A write of this key was acknowledged with this index.
    pub fn acked(&mut self, key: &str, index: u64) {
        let newest = self.acked.entry(key.to_owned()).or_default();
        *newest = index.max(*newest);
    }

    /// What a read that begins now has to show at least.
    #[must_use]
    pub fn floor(&self, key: &str) -> u64 {
        self.acked.get(key).copied().unwrap_or(0)
    }

    /// A read ended; `leased` when no quorum was asked.
    pub fn read(&mut self, key: &str, server: usize, floor: u64, found: u64, leased: bool) {
        self.under_lease += u64::from(leased);
        if found < floor {
            self.first
                .fault(|| format!("server {server} answered {key} as of index {found}, but {floor} was acknowledged before the read"));
        }
    }

    /// Reads answered under a lease.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.under_lease
    }

    /// Whether it holds.
    ///
    /// # Errors
    /// The read that was too old.
    pub fn verdict(&self) -> Verdict {
        self.first.verdict()
    }
}
