//! A running Raft node: proposals, leadership, waiting for a leader, its end.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use openraft::{
    Instant as _, ServerState,
    async_runtime::watch::WatchReceiver as _,
    errors::{ClientWriteError, Fatal, ForwardToLeader, LinearizableReadError, RaftError},
    raft::ReadPolicy,
    type_config::alias::WatchReceiverOf,
};
use tokio::task::JoinHandle;

use super::{
    Ended, Error, logged, machine, network,
    proposals::{Outcome, Proposals},
    reception::Reception,
    snapshot::Archive,
    types::{LogId, NodeId, Raft, Server, Types},
};
use crate::{
    rt::{Tasks, chunks::Chunks, clock},
    store::{Command, Reply},
};

/// How long a proposal waits for a leadership that is just being confirmed.
const SETTLE: Duration = Duration::from_secs(1);
/// How long it waits before it asks again.
const AGAIN: Duration = Duration::from_millis(2);
/// How long a proposal may take; what became of it then nobody knows.
const PROPOSAL: Duration = Duration::from_secs(30);
/// How long a quorum may be silent before a leader counts as deposed.
const QUORUM_LOST: Duration = Duration::from_secs(2);
/// How long a stop waits for the last flush.
const CLOSE: Duration = Duration::from_secs(10);

/// What openraft publishes.
pub(super) type Told = openraft::metrics::RaftMetrics<Types>;
/// The newest of it.
pub(super) type Metrics = WatchReceiverOf<Types, Told>;

/// A running node.
pub(super) struct Node {
    pub(super) raft: Raft,
    pub(super) id: NodeId,
    pub(super) metrics: Metrics,
    pub(super) proposals: Proposals,
    /// How long a quorum's acknowledgement keeps others from being elected.
    pub(super) lease: Duration,
    /// The term whose leadership is being handed over; 0 for none.
    pub(super) yielded_term: AtomicU64,
    /// When the leader was last heard.
    pub(super) heard: Mutex<Option<clock::Instant>>,
    /// Ends once the log is closed; taken by whoever waits for that.
    pub(super) writer: Mutex<Option<JoinHandle<()>>>,
    /// What the disk said when it failed.
    pub(super) log_failure: Arc<OnceLock<String>>,
    /// What of a later release this one cannot follow.
    pub(super) outdated: OnceLock<String>,
    /// Somebody stops the node.
    pub(super) stopping: AtomicBool,
    /// Where other servers' snapshots come in.
    pub(super) reception: Reception,
    /// Snapshots kept here.
    pub(super) snapshots: Snapshots,
}

/// The snapshots a node keeps: the newest, and on disk the one before.
pub(super) struct Snapshots {
    pub(super) newest: machine::Newest,
    pub(super) archive: Option<Archive>,
    pub(super) tasks: Tasks,
    /// Entries after which the next one is taken, and how often that is looked for.
    pub(super) threshold: u64,
    pub(super) interval: Duration,
    /// Index of the last entry applied.
    pub(super) progress: Arc<AtomicU64>,
}

/// What a change of which wakes the watchers of a handle.
pub(super) type Seen = (Option<NodeId>, Option<LogId>, Option<LogId>);

pub(super) fn parse_id(id: &str) -> Result<NodeId, Error> {
    uuid::Uuid::parse_str(id).map(NodeId).map_err(|error| Error::Refused(format!("node id {id:?}: {error}")))
}

pub(super) fn fatal(error: Fatal<Types>) -> Error {
    match error {
        Fatal::StorageError(error) => Error::Storage(error.to_string()),
        Fatal::Panicked | Fatal::Stopped => Error::Stopped,
    }
}

impl Node {
    /// Forms a cluster of this one server if asked to and there is none; a sole voter stands for election at once.
    pub(super) async fn form(&self, server: Server, bootstrap: bool) -> Result<(), Error> {
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
        let started = clock::Instant::now();
        let mut command = Some(command);
        loop {
            let again = command.clone();
            let refused = match self.write(command.take().expect("put back before every turn"), started + PROPOSAL).await? {
                Ok(written) => return Ok(written),
                Err(ClientWriteError::ForwardToLeader(to)) => to,
                Err(ClientWriteError::LogEntryDiscarded(_)) => return Err(Error::Lost),
                Err(error) => return Err(Error::Refused(error.to_string())),
            };
            // Just elected: leadership is not confirmed by a quorum yet, which takes one round trip.
            if !self.is_leader() || started.elapsed() >= SETTLE {
                return Err(self.elsewhere(refused));
            }
            // Being asked changes the metrics: several who waited for a change would wake each other in a circle.
            clock::sleep(AGAIN).await;
            command = again;
        }
    }

    /// One write; gives up once a quorum has not been heard for so long that others may have gone on without this server.
    ///
    /// [`Error::Stopped`] means that the node never took it; once it did, a stop leaves the outcome unknown.
    async fn write(&self, command: Command, deadline: clock::Instant) -> Outcome {
        let mut writing = std::pin::pin!(self.proposals.propose(&self.raft, command));
        loop {
            let look = deadline.min(clock::Instant::now() + QUORUM_LOST / 4);
            match clock::timeout_at(look, writing.as_mut()).await {
                Ok(Some(outcome)) => return outcome,
                Ok(None) => return Err(self.ended_while_writing()),
                Err(_) if self.has_lost_quorum() => return Err(Error::Lost),
                Err(_) if look == deadline => return Err(Error::Timeout),
                Err(_) => {}
            }
        }
    }

    /// The node ended after it took a command, which others may have by now.
    fn ended_while_writing(&self) -> Error {
        self.failure().map_or(Error::Lost, Error::Storage)
    }

    /// Whether this server still takes itself for the leader although too few others have been heard for a while.
    fn has_lost_quorum(&self) -> bool {
        let metrics = self.metrics.borrow_watched();
        let heard = metrics.last_quorum_acked.is_some_and(|acked| acked.elapsed() < QUORUM_LOST);
        metrics.state == ServerState::Leader && !heard && !self.is_sole_voter(&metrics)
    }

    /// Every call comes by here: asked last, since it has to gather the voters.
    fn is_sole_voter(&self, metrics: &Told) -> bool {
        metrics.membership_config.membership().voter_ids().eq([self.id])
    }

    /// Whether nothing that can be known here is recent: too few others are heard, or on a follower the leader is not.
    pub(super) fn is_cut_off(&self) -> bool {
        let heard = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        // Looked at once: whoever holds the metrics and asks for them again waits for ever once an update waits in between.
        match self.state() {
            ServerState::Leader => self.has_lost_quorum(),
            _ => heard.is_none_or(|at| at.elapsed() >= QUORUM_LOST),
        }
    }

    pub(super) async fn confirm_leadership(&self, quorum: bool) -> Result<(), Error> {
        if !quorum && self.leads() {
            return Ok(());
        }
        let policy = if quorum { ReadPolicy::ReadIndex } else { ReadPolicy::LeaseRead };
        match self.raft.ensure_linearizable(policy).await {
            Ok(_) => Ok(()),
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(to))) => Err(self.elsewhere(to)),
            Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => Err(Error::NoLeader),
            Err(RaftError::Fatal(error)) => Err(fatal(error)),
        }
    }

    fn state(&self) -> ServerState {
        self.metrics.borrow_watched().state
    }

    pub(super) fn is_leader(&self) -> bool {
        self.state() == ServerState::Leader
    }

    /// From now on the lease is not trusted, as long as this time of leadership lasts.
    pub(super) fn yield_lease(&self) {
        let term = self.metrics.borrow_watched().current_term;
        self.yielded_term.store(term, Ordering::SeqCst);
    }

    /// Whether this server leads, has applied everything earlier leaders committed, and nobody else can have been elected since.
    ///
    /// A follower grants no vote within a lease of hearing the leader; what a quorum acknowledged, it heard after it was sent.
    pub(super) fn leads(&self) -> bool {
        let metrics = self.metrics.borrow_watched();
        self.has_lease(&metrics) && self.yielded_term.load(Ordering::SeqCst) != metrics.current_term
    }

    /// As [`Node::leads`], whether or not leadership is being handed over.
    #[cfg(feature = "sim")]
    pub(super) fn holds_lease(&self) -> bool {
        self.has_lease(&self.metrics.borrow_watched())
    }

    fn has_lease(&self, metrics: &Told) -> bool {
        if metrics.state != ServerState::Leader {
            return false;
        }
        if !has_caught_up(metrics) {
            return false;
        }
        // Without a vote it hands leadership over by itself, in openraft, and that ends the others' patience.
        if !metrics.membership_config.membership().get_joint_config().iter().any(|voters| voters.contains(&self.id)) {
            return false;
        }
        metrics.last_quorum_acked.is_some_and(|acked| acked.elapsed() < self.lease) || self.is_sole_voter(metrics)
    }

    pub(super) fn elsewhere(&self, to: ForwardToLeader<Types>) -> Error {
        match to.leader_id {
            Some(id) if id != self.id => Error::NotLeader { hint: to.leader_node.map(|server| server.address) },
            _ => Error::NoLeader,
        }
    }

    pub(super) async fn ended(&self) -> Ended {
        let mut metrics = self.metrics.clone();
        // A panic drops the metrics as they were.
        while metrics.borrow_watched().running_state.is_ok() && metrics.changed().await.is_ok() {}
        let state = metrics.borrow_watched().running_state.clone();
        if self.stopping.load(Ordering::SeqCst) {
            return std::future::pending().await;
        }
        let reason = self.outdated.get().cloned().or_else(|| self.failure_of(&state));
        if let Some(reason) = reason.as_ref().filter(|reason| logged::is_from_the_future(reason)) {
            return Ended::Core(reason.clone());
        }
        let Some(reason) = reason else {
            return Ended::Core(state.err().map_or_else(|| Fatal::<Types>::Panicked.to_string(), |error| error.to_string()));
        };
        // A former leader was in touch with itself until now.
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(clock::Instant::now);
        Ended::Disk(reason)
    }

    #[cfg(test)]
    pub(super) async fn break_core(&self) {
        let broken = self.raft.with_raft_state(|_| panic!("an injected fault")).await;
        assert!(broken.is_err(), "it does not answer any more");
    }

    /// What is watched by [`super::Handle::changed`].
    pub(super) fn seen(&self) -> Seen {
        let metrics = self.metrics.borrow_watched();
        (metrics.current_leader, *metrics.membership_config.log_id(), *metrics.committed_membership_config.log_id())
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
            Some(id) if id == self.id => has_caught_up(&metrics),
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
        let answer = network::answer(&self.raft, message).await;
        if answer.of_leader {
            *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(clock::Instant::now());
        }
        if let Some(reason) = answer.outdated {
            // Not to follow any more is all it can do; whoever waits for its end is told why.
            let _ = self.outdated.set(reason);
            drop(self.raft.shutdown().await);
        }
        answer.bytes
    }

    pub(super) async fn receive_snapshot(&self, offer: &[u8], contents: Chunks) -> Vec<u8> {
        let taken = self.reception.take(offer, contents).await;
        network::answer_snapshot(taken)
    }

    pub(super) async fn shutdown(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%error, "raft did not stop cleanly");
        }
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer
            && clock::timeout(CLOSE, writer).await.is_err()
        {
            tracing::warn!("raft log is still open");
        }
    }
}

/// Whether a leader has applied everything of earlier terms.
pub(super) fn has_caught_up(metrics: &Told) -> bool {
    metrics.last_applied.is_some_and(|id| id.committed_leader_id().term == metrics.current_term)
}
