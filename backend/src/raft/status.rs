//! What a node tells of itself, from what openraft published last: nobody is asked, nothing waits.

use openraft::{Instant as _, ServerState, async_runtime::watch::WatchReceiver as _, errors::Fatal};

use super::{
    Contact, Replica, Status, configuration,
    service::{Node, Told, has_caught_up},
    types::{LogId, NodeId, Types},
};

impl Node {
    pub(super) fn contact(&self) -> Contact {
        let cut_off = self.is_cut_off();
        let metrics = self.metrics.borrow_watched();
        let leader = metrics.current_leader.filter(|_| !cut_off && metrics.running_state.is_ok());
        let known = leader.is_some_and(|id| metrics.membership_config.membership().get_node(&id).is_some());
        Contact { leader_known: known, last_ms: self.last_contact_ms(&metrics, cut_off) }
    }

    pub(super) fn status(&self) -> Status {
        let cut_off = self.is_cut_off();
        let metrics = self.metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        let voters: Vec<NodeId> = membership.voter_ids().collect();
        let mut configurations = vec![membership];
        // A leader knows what is agreed on; others hear of it later, and what they knew of when they started may be long past.
        if metrics.state == ServerState::Leader && has_caught_up(&metrics) {
            configurations.push(metrics.committed_membership_config.membership());
        }
        let peers = configuration::peers(&configurations);
        let leader = metrics
            .current_leader
            .filter(|_| !cut_off && metrics.running_state.is_ok())
            .map(|id| id.to_string())
            .and_then(|id| peers.iter().find(|peer| peer.id == id).cloned());
        let index = |id: Option<LogId>| id.map_or(0, |id| id.index());
        let last_quorum_ms = match metrics.state {
            // A quorum by itself at any time; openraft only notes the election.
            ServerState::Leader if voters == [self.id] => Some(0),
            ServerState::Leader => heard(metrics.last_quorum_acked),
            _ => None,
        };
        let replicas = metrics.replication.iter().flatten().map(|(id, matched)| Replica {
            id: id.to_string(),
            matched_index: index(*matched),
            matched_term: matched.map_or(0, |id| id.committed_leader_id().term),
            last_contact_ms: if *id == self.id {
                Some(0)
            } else {
                heard(metrics.heartbeat.as_ref().and_then(|heard| heard.get(id)).copied().flatten())
            },
        });
        Status {
            replicas: replicas.collect(),
            failure: self.failure_of(&metrics.running_state),
            last_contact_ms: self.last_contact_ms(&metrics, cut_off),
            role: role(metrics.state).to_owned(),
            term: metrics.current_term,
            leader,
            last_index: metrics.last_log_index.unwrap_or(0),
            commit_index: index(metrics.local_committed),
            applied_index: index(metrics.last_applied),
            snapshot_index: index(metrics.snapshot),
            voter_sets: configuration::voter_sets(&configurations),
            peers,
            last_quorum_ms,
        }
    }

    pub(super) fn failure(&self) -> Option<String> {
        self.failure_of(&self.metrics.borrow_watched().running_state)
    }

    /// What the disk said, if that is how it ended.
    pub(super) fn failure_of(&self, state: &Result<(), Fatal<Types>>) -> Option<String> {
        match state {
            Err(Fatal::StorageError(error)) => Some(self.log_failure.get().cloned().unwrap_or_else(|| error.to_string())),
            _ => None,
        }
    }

    /// Since when nothing was heard of the leader: 0 on the leader itself, as long as nobody can have gone on without it.
    fn last_contact_ms(&self, metrics: &Told, cut_off: bool) -> Option<u64> {
        if metrics.state == ServerState::Leader {
            return if cut_off { heard(metrics.last_quorum_acked) } else { Some(0) };
        }
        let heard = *self.heard.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        heard.map(|at| u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

fn heard(at: Option<openraft::type_config::alias::SerdeInstantOf<Types>>) -> Option<u64> {
    at.map(|at| u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX))
}

fn role(state: ServerState) -> &'static str {
    match state {
        ServerState::Leader => "leader",
        ServerState::Follower => "follower",
        ServerState::Candidate => "candidate",
        ServerState::Learner => "learner",
        ServerState::Shutdown => "shutdown",
    }
}
