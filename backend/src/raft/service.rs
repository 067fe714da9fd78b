//! Starts a Raft node and answers its [`Handle`](super::Handle): proposals, reads, status.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use openraft::{
    Config, Instant as _, ServerState, SnapshotPolicy,
    async_runtime::watch::WatchReceiver as _,
    errors::{ClientWriteError, Fatal, ForwardToLeader, LinearizableReadError, RaftError},
    raft::ReadPolicy,
    type_config::alias::WatchReceiverOf,
};

use super::{
    Error, Options, Peer, Status,
    log::LogStore,
    machine::Machine,
    network::{self, Network, Transport},
    types::{NodeId, Raft, Server, Types},
};
use crate::{
    rt::{Runtime, clock},
    store::{Command, Reply, Store},
};

/// How long a proposal waits for a leadership that is just being confirmed.
const SETTLE: Duration = Duration::from_secs(1);

type Metrics = WatchReceiverOf<Types, openraft::metrics::RaftMetrics<Types>>;

/// A running node.
pub(super) struct Node {
    raft: Raft,
    id: NodeId,
    metrics: Metrics,
}

/// What a change of which wakes the watchers of a handle.
pub(super) type Seen = (Option<NodeId>, Option<super::types::LogId>);

fn config(options: &Options) -> Result<Config, Error> {
    // n/5, never below 1.
    let scaled = |ms: u64| ms * u64::from(options.multiplier.max(5)) / 5;
    Config {
        cluster_name: "muster".to_owned(),
        heartbeat_interval: scaled(50),
        election_timeout_min: scaled(250),
        election_timeout_max: scaled(500),
        install_snapshot_timeout: 30_000,
        max_payload_entries: 512,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(options.snapshot_threshold.max(1)),
        max_in_snapshot_log_to_keep: options.trailing_logs,
        replication_lag_threshold: options.snapshot_threshold.saturating_mul(2).max(options.trailing_logs).max(1),
        purge_batch_size: 1024,
        enable_pre_vote: Some(true),
        enable_leader_restore: Some(false),
        backoff: "100ms 200ms 400ms ...1s".to_owned(),
        ..Config::default()
    }
    .validate()
    .map_err(|error| Error::Storage(error.to_string()))
}

/// Opens the log and starts the node.
pub(super) async fn start(options: Options, store: Arc<Store>, runtime: Runtime, transport: Arc<dyn Transport>) -> Result<Node, Error> {
    let id = NodeId::parse_str(&options.node_id).map_err(|error| Error::Storage(format!("node id {:?}: {error}", options.node_id)))?;
    let _ = runtime;
    let log = LogStore::in_memory();
    let machine = Machine::new(store);
    let raft = Raft::new(id, Arc::new(config(&options)?), Network(transport), log, machine).await.map_err(fatal)?;
    let metrics = raft.metrics();
    let node = Node { raft, id, metrics };
    let server = Server { name: options.node_name, address: options.address };
    node.form(server, options.bootstrap).await?;
    Ok(node)
}

fn fatal(error: Fatal<Types>) -> Error {
    match error {
        Fatal::StorageError(error) => Error::Storage(error.to_string()),
        Fatal::Panicked | Fatal::Stopped => Error::Stopped,
    }
}

impl Node {
    /// Forms a cluster of this one server if asked to and there is none; a sole voter stands for election at once.
    async fn form(&self, server: Server, bootstrap: bool) -> Result<(), Error> {
        if bootstrap && !self.raft.is_initialized().await.map_err(fatal)? {
            match self.raft.initialize(BTreeMap::from([(self.id, server)])).await {
                Ok(()) | Err(RaftError::APIError(_)) => {}
                Err(RaftError::Fatal(error)) => return Err(fatal(error)),
            }
        }
        let sole = self.metrics.borrow_watched().membership_config.voter_ids().eq([self.id]);
        if sole {
            self.raft.trigger().elect(false).await.map_err(fatal)?;
        }
        Ok(())
    }

    pub(super) async fn propose(&self, command: Command) -> Result<(u64, Reply), Error> {
        let deadline = clock::Instant::now() + SETTLE;
        let mut metrics = self.metrics.clone();
        let mut command = Some(command);
        loop {
            let again = command.clone();
            let refused = match self.raft.client_write(command.take().expect("put back before every turn")).await {
                Ok(response) => return Ok((response.log_id.index(), response.data)),
                Err(RaftError::APIError(ClientWriteError::ForwardToLeader(to))) => to,
                Err(RaftError::APIError(_)) => return Err(Error::NoLeader),
                Err(RaftError::Fatal(error)) => return Err(fatal(error)),
            };
            // Just elected: leadership is not confirmed by a quorum yet, which takes one round trip.
            if !self.leads() || clock::timeout_at(deadline, metrics.changed()).await.is_err() {
                return Err(self.elsewhere(refused));
            }
            command = again;
        }
    }

    pub(super) async fn confirm_leadership(&self, quorum: bool) -> Result<(), Error> {
        let policy = if quorum { ReadPolicy::ReadIndex } else { ReadPolicy::LeaseRead };
        match self.raft.ensure_linearizable(policy).await {
            Ok(_) => Ok(()),
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(to))) => Err(self.elsewhere(to)),
            Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => Err(Error::NoLeader),
            Err(RaftError::Fatal(error)) => Err(fatal(error)),
        }
    }

    fn leads(&self) -> bool {
        self.metrics.borrow_watched().state == ServerState::Leader
    }

    fn elsewhere(&self, to: ForwardToLeader<Types>) -> Error {
        match to.leader_id {
            Some(id) if id != self.id => Error::NotLeader { hint: to.leader_node.map(|server| server.address) },
            _ => Error::NoLeader,
        }
    }

    pub(super) fn status(&self) -> Status {
        let metrics = self.metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        let voters: Vec<NodeId> = membership.voter_ids().collect();
        let peers: Vec<Peer> = membership
            .nodes()
            .map(|(id, server)| Peer {
                id: id.to_string(),
                name: server.name.clone(),
                address: server.address.clone(),
                voter: voters.contains(id),
            })
            .collect();
        let leader = metrics.current_leader.map(|id| id.to_string()).and_then(|id| peers.iter().find(|peer| peer.id == id).cloned());
        let index = |id: Option<super::types::LogId>| id.map_or(0, |id| id.index());
        Status {
            role: role(metrics.state).to_owned(),
            term: metrics.current_term,
            leader,
            last_index: metrics.last_log_index.unwrap_or(0),
            commit_index: index(metrics.local_committed),
            applied_index: index(metrics.last_applied),
            snapshot_index: index(metrics.snapshot),
            peers,
            last_quorum_ms: metrics
                .last_quorum_acked
                .filter(|_| metrics.state == ServerState::Leader)
                .map(|acked| u64::try_from(acked.elapsed().as_millis()).unwrap_or(u64::MAX)),
        }
    }

    /// What is watched by [`super::Handle::changed`].
    pub(super) fn seen(&self) -> Seen {
        let metrics = self.metrics.borrow_watched();
        (metrics.current_leader, *metrics.membership_config.log_id())
    }

    /// Resolves once what is watched differs from `seen`; never after the node has stopped.
    pub(super) async fn changed_from(&self, seen: &Seen) -> Seen {
        let mut metrics = self.metrics.clone();
        loop {
            let now = self.seen();
            if now != *seen {
                return now;
            }
            if metrics.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Whether somebody leads; if it is this server, only once it has applied everything of earlier terms.
    fn has_leader(&self) -> bool {
        let metrics = self.metrics.borrow_watched();
        match metrics.current_leader {
            Some(id) if id == self.id => metrics.last_applied.is_some_and(|id| id.committed_leader_id().term == metrics.current_term),
            other => other.is_some(),
        }
    }

    pub(super) async fn wait_for_leader(&self, longest: Duration) -> bool {
        let mut metrics = self.metrics.clone();
        let led = async {
            while !self.has_leader() {
                if metrics.changed().await.is_err() {
                    return false;
                }
            }
            true
        };
        clock::timeout(longest, led).await.unwrap_or(false)
    }

    pub(super) async fn receive(&self, message: &[u8]) -> Vec<u8> {
        network::answer(&self.raft, message).await
    }

    pub(super) async fn shutdown(&self) {
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%error, "raft did not stop cleanly");
        }
    }
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
