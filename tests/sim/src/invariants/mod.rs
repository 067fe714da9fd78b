//! What must hold in every run. One file each: what is watched, and the verdict at the end.
//!
//! Session locks have no invariant yet, since there are no sessions.

pub mod acked_writes_survive;
pub mod dead_is_known;
pub mod election_safety;
pub mod gossip_converges;
pub mod gossip_no_false_left;
pub mod index_monotonic;
pub mod lease_reads;
pub mod linearizable;
pub mod no_stale_after_heal;

/// Nothing to complain about, or what is wrong.
pub type Verdict = Result<(), String>;

/// Those of the Raft world.
pub const RAFT: [&str; 6] = [
    election_safety::NAME,
    acked_writes_survive::NAME,
    index_monotonic::NAME,
    linearizable::NAME,
    lease_reads::NAME,
    no_stale_after_heal::NAME,
];

/// Those of the gossip world.
pub const GOSSIP: [&str; 3] = [gossip_converges::NAME, gossip_no_false_left::NAME, dead_is_known::NAME];

/// The first fault found; later ones often follow from it.
#[derive(Clone, Debug, Default)]
pub struct First(Option<String>);

impl First {
    /// Notes a fault.
    pub fn fault(&mut self, what: impl FnOnce() -> String) {
        self.0.get_or_insert_with(what);
    }

    /// The fault, or none.
    pub fn verdict(&self) -> Verdict {
        self.0.clone().map_or(Ok(()), Err)
    }
}
