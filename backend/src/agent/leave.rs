//! Leaving the cluster in order: leadership first, then the pool, then the Raft configuration, then the last reads.
//!
//! Contract: cluster, section "Raft", row "Leave"; agent configuration, `leave_drain_time`.

use std::time::Duration;

use super::known;
use crate::{gossip, localdb::LocalDb, raft, rt::clock};

/// How long a server waits for the others to take it out of the Raft configuration.
const REMOVED: Duration = Duration::from_secs(5);

/// How often a server that waits for that looks whether the leader still speaks to it.
const LISTEN: Duration = Duration::from_millis(100);

/// How long handing over leadership may hold up an agent that ends: it takes some round trips, or there is nobody to take it.
const HAND_OVER: Duration = Duration::from_secs(1);

/// Hands leadership over if this server leads and somebody else can: nobody has to miss it first.
pub(super) async fn hand_over(raft: &raft::Handle) {
    if !raft.leads() || raft.status().peers.iter().filter(|peer| peer.voter).count() < 2 {
        return;
    }
    match clock::timeout(HAND_OVER, raft.transfer_leader(None)).await.unwrap_or(Err(raft::Error::Timeout)) {
        Ok(()) => tracing::info!(target: "agent", "leadership transferred"),
        Err(error) => tracing::warn!(target: "agent", %error, "leadership not transferred, the others elect a leader"),
    }
}

/// What an agent that leaves has to tell.
pub(super) struct Leaving<'a> {
    /// `None` on a client.
    pub(super) raft: Option<&'a raft::Handle>,
    pub(super) pool: &'a gossip::Handle,
    pub(super) db: &'a LocalDb,
    pub(super) node_id: &'a str,
    /// How long reads are still answered afterwards, while the others learn of it.
    pub(super) drain: Duration,
}

impl Leaving<'_> {
    /// Tells everybody; returns once the agent may stop.
    pub(super) async fn leave(&self) {
        let shared = self.raft.filter(|raft| raft.status().peers.len() > 1);
        if let Some(raft) = shared {
            hand_over(raft).await;
        }
        self.pool.leave().await;
        if let Err(error) = known::note_left(self.db).await {
            tracing::warn!(target: "agent", %error, "the leave is not noted on disk: the next start joins again");
        }
        if let Some(raft) = shared {
            if clock::timeout(REMOVED, self.removed(raft)).await.is_err() {
                tracing::warn!(target: "agent", "still in the raft configuration, the leader has to remove this server");
            }
            clock::sleep(self.drain).await;
        }
    }

    /// Until the leader has taken this server out: it says so with its last words, or has no more for this server.
    async fn removed(&self, raft: &raft::Handle) {
        let (mut raft, mut was_led) = (raft.clone(), false);
        loop {
            let status = raft.status();
            let is_led = status.leader.is_some_and(|leader| leader.id != self.node_id);
            if (was_led && !is_led) || !status.peers.iter().any(|peer| peer.id == self.node_id) {
                return;
            }
            was_led |= is_led;
            // That nobody speaks changes nothing by itself.
            drop(clock::timeout(LISTEN, raft.changed()).await);
        }
    }
}
