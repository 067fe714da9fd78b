//! Seeded simulation: Raft servers and gossip pools, the real code, in one thread on paused time. Network, disks, crashes and clients are
//! drawn from a seed, and the same seed gives the same run, event for event.
//!
//! `raft` and `gossip` are the two worlds, `invariants` what must hold in them, one file each, `run` takes many seeds.

// A test may name what the product must not.
#![allow(clippy::disallowed_methods, clippy::print_stdout, clippy::print_stderr, reason = "tests live outside the seams")]

pub mod gossip;
pub mod invariants;
pub mod links;
pub mod raft;
pub mod run;
pub mod trace;

/// A fault put into a world on purpose, to see that an invariant notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// The log acknowledges what is not on disk yet.
    AckBeforeSync,
    /// A vote is not on disk before that of a later term is.
    VoteNotPersisted,
    /// A leader trusts its lease also after it began to hand over leadership.
    LeaseAfterTransfer,
    /// A leader answers default reads without looking at its lease.
    NoLease,
    /// Pools never exchange everything they know.
    NoExchanges,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::AckBeforeSync, Self::VoteNotPersisted, Self::LeaseAfterTransfer, Self::NoLease, Self::NoExchanges];
}

/// What one world came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Over everything that happened, in order.
    pub hash: u64,
    /// How many things happened.
    pub events: u64,
    /// What else there was, for people.
    pub counts: Vec<(&'static str, u64)>,
    /// Every invariant with its verdict.
    pub verdicts: Vec<(&'static str, Result<(), String>)>,
}

impl Outcome {
    /// Why an invariant does not hold; `None` when it does or is not one of this world.
    #[must_use]
    pub fn violation(&self, invariant: &str) -> Option<&str> {
        self.verdicts.iter().find(|(name, _)| *name == invariant).and_then(|(_, verdict)| verdict.as_ref().err().map(String::as_str))
    }
}

/// Runs a world to its end on this thread, on paused time.
pub(crate) fn on_paused_time<T>(seed: u64, world: impl Future<Output = T>) -> T {
    backend::rt::rng::seed_thread(seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime without sockets always starts").block_on(world)
}
