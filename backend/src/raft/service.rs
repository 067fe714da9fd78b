//! Starts a Raft node and answers its [`Handle`](super::Handle): proposals, reads, status.

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use openraft::{
    Config, Instant as _, ServerState,
    async_runtime::watch::WatchReceiver as _,
    errors::{ClientWriteError, Fatal, ForwardToLeader, LinearizableReadError, RaftError},
    raft::ReadPolicy,
    type_config::alias::WatchReceiverOf,
};

use super::{
    Contact, Ended, Error, Options, Replica, Status, configuration,
    log::{self, LogStore, Place},
    logged,
    machine::{self, Machine, Origin},
    network::{self, Network, Transport},
    proposals::{Outcome, Proposals},
    reception::Reception,
    recovery, schedule,
    snapshot::Archive,
    types::{LogId, NodeId, Raft, Server, Types},
};
use tokio::task::JoinHandle;

use crate::{
    rt::{Runtime, Tasks, chunks::Chunks, clock},
    store::{Command, Reply, Store},
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

pub(super) type Metrics = WatchReceiverOf<Types, openraft::metrics::RaftMetrics<Types>>;

/// A running node.
pub(super) struct Node {
    pub(super) raft: Raft,
    pub(super) id: NodeId,
    pub(super) metrics: Metrics,
    proposals: Proposals,
    /// How long a quorum's acknowledgement keeps others from being elected.
    lease: Duration,
    /// The term whose leadership is being handed over; 0 for none.
    yielded_term: AtomicU64,
    /// When the leader was last heard.
    heard: Mutex<Option<clock::Instant>>,
    /// Ends once the log is closed; taken by whoever waits for that.
    writer: Mutex<Option<JoinHandle<()>>>,
    /// What the disk said when it failed.
    log_failure: Arc<OnceLock<String>>,
    /// What of a later release this one cannot follow.
    outdated: OnceLock<String>,
    /// Somebody stops the node.
    stopping: AtomicBool,
    /// Where other servers' snapshots come in.
    reception: Reception,
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

fn config(options: &Options) -> Result<Config, Error> {
    // n/5, never below 1.
    let scaled = |ms: u64| ms * u64::from(options.multiplier.max(5)) / 5;
    Config {
        cluster_name: "muster".to_owned(),
        // Also how long the answer to a heartbeat may take: a round trip of 100 ms has to fit.
        heartbeat_interval: scaled(120),
        election_timeout_min: scaled(250),
        election_timeout_max: scaled(500),
        install_snapshot_timeout: 30_000,
        max_payload_entries: 512,
        snapshot_policy: schedule::policy(options),
        max_in_snapshot_log_to_keep: options.trailing_logs,
        replication_lag_threshold: options.snapshot_threshold.saturating_mul(2).max(options.trailing_logs).max(1),
        // Whole segments go anyway; small steps only cost.
        purge_batch_size: options.snapshot_threshold.clamp(1, 1024),
        enable_pre_vote: Some(true),
        enable_leader_restore: Some(false),
        backoff: "100ms 200ms 400ms ...1s".to_owned(),
        ..Config::default()
    }
    .validate()
    .map_err(|error| Error::Storage(error.to_string()))
}

/// Nine tenths of the time in which a follower grants no vote after hearing the leader, for clocks that do not run alike.
fn lease(options: &Options) -> Duration {
    Duration::from_millis(450 * u64::from(options.multiplier.max(5)) / 5)
}

/// What a node keeps its state in.
struct Storage {
    log: LogStore,
    /// Ends once the log is closed; `None` in memory.
    writer: Option<JoinHandle<()>>,
    machine: Machine,
}

fn origin(options: &Options, runtime: &Runtime) -> Origin {
    Origin { server: options.node_name.clone(), clock: runtime.clock, tasks: runtime.tasks.clone() }
}

/// Opens the log and starts the node.
pub(super) async fn start(options: Options, store: Arc<Store>, runtime: Runtime, transport: Arc<dyn Transport>) -> Result<Node, Error> {
    let own = parse_id(&options.node_id)?;
    let origin = origin(&options, &runtime);
    let storage = match &options.data_dir {
        Some(dir) => open(&dir.join("raft"), own, &options.log_backend, store, origin).await.map_err(failed)?,
        None => Storage { log: LogStore::in_memory(), writer: None, machine: Machine::in_memory(store, origin) },
    };
    run(options, storage, runtime, transport).await
}

/// As [`start`], on a disk in memory.
#[cfg(any(test, feature = "sim"))]
pub(super) async fn start_on(
    options: Options,
    store: Arc<Store>,
    runtime: Runtime,
    transport: Arc<dyn Transport>,
    disk: &log::faulty::Disk,
) -> Result<Node, Error> {
    let (opened, place) = disk.open_log().map_err(failed)?;
    let (log, writer) = LogStore::on_disk(opened, &runtime.tasks, place).map_err(failed)?;
    let machine = Machine::resumed(store, origin(&options, &runtime), disk.newest());
    run(options, Storage { log, writer: Some(writer), machine }, runtime, transport).await
}

/// Starts the node on what it keeps its state in.
async fn run(options: Options, storage: Storage, runtime: Runtime, transport: Arc<dyn Transport>) -> Result<Node, Error> {
    let id = parse_id(&options.node_id)?;
    let config = config(&options)?;
    let log_failure = storage.log.failure();
    let (newest, archive, tasks) = (storage.machine.newest(), storage.machine.archive(), runtime.tasks);
    let (threshold, interval, progress) = (options.snapshot_threshold, options.snapshot_interval, storage.machine.progress());
    let snapshots = Snapshots { newest, archive: archive.clone(), tasks: tasks.clone(), threshold, interval, progress };
    let network = Network { transport, tasks: tasks.clone() };
    let raft = Raft::new(id, Arc::new(config), network, storage.log, storage.machine).await.map_err(fatal)?;
    let metrics = raft.metrics();
    schedule::run(&options, raft.clone(), raft.metrics(), runtime.rng.clone(), &tasks);
    let proposals = Proposals::start(&raft, &tasks);
    let (lease, yielded_term) = (lease(&options), AtomicU64::new(0));
    let (heard, writer, stopping) = (Mutex::new(None), Mutex::new(storage.writer), AtomicBool::new(false));
    let (reception, outdated) = (Reception::new(raft.clone(), archive, tasks), OnceLock::new());
    let node =
        Node { raft, id, metrics, proposals, lease, yielded_term, heard, writer, log_failure, outdated, stopping, reception, snapshots };
    let server = Server { name: options.node_name, address: options.address };
    node.form(server, options.bootstrap).await?;
    Ok(node)
}

pub(super) fn parse_id(id: &str) -> Result<NodeId, Error> {
    uuid::Uuid::parse_str(id).map(NodeId).map_err(|error| Error::Storage(format!("node id {id:?}: {error}")))
}

fn failed(error: io::Error) -> Error {
    match error.kind() {
        // What an operator has to change is no trouble of the disk.
        io::ErrorKind::InvalidInput => Error::Refused(error.to_string()),
        _ => Error::Storage(error.to_string()),
    }
}

/// Opens log and newest snapshot, off the async threads.
async fn open(dir: &Path, own: NodeId, backend: &str, store: Arc<Store>, origin: Origin) -> io::Result<Storage> {
    let (dir, backend, tasks) = (dir.to_owned(), backend.to_owned(), origin.tasks.clone());
    let opening = tasks.spawn_blocking(move || {
        let mut opened = log::open(&dir, &backend)?;
        let (mut machine, damaged) = Machine::on_disk(store, Archive::open(&dir.join("snapshots"))?, origin)?;
        // What a snapshot that cannot be read held, the one before and the log may hold too.
        if let Some(purged) = opened.head.purged.filter(|purged| machine.applied().is_none_or(|applied| applied < purged.index())) {
            let mut reason = format!("{}: no readable snapshot reaches entry {}, where the raft log begins", dir.display(), purged.index());
            damaged.iter().for_each(|damaged| reason += &format!("; {damaged}"));
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        recovery::explain(&dir);
        recovery::follow(&dir, own, &mut opened, &machine)?;
        opened.head.recovered.iter().for_each(|recovered| machine.recover(recovered));
        Ok((opened, machine))
    });
    let (opened, machine) = opening.await.map_err(io::Error::other)??;
    let (log, writer) = LogStore::on_disk(opened, &tasks, Place::Threads(tasks.clone()))?;
    Ok(Storage { log, writer: Some(writer), machine })
}

pub(super) fn fatal(error: Fatal<Types>) -> Error {
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
        self.failure(&self.metrics.borrow_watched().running_state).map_or(Error::Lost, Error::Storage)
    }

    /// Whether this server still takes itself for the leader although too few others have been heard for a while.
    fn has_lost_quorum(&self) -> bool {
        let metrics = self.metrics.borrow_watched();
        let heard = metrics.last_quorum_acked.is_some_and(|acked| acked.elapsed() < QUORUM_LOST);
        metrics.state == ServerState::Leader && !heard && !self.is_sole_voter(&metrics)
    }

    /// Every call comes by here: asked last, since it has to gather the voters.
    fn is_sole_voter(&self, metrics: &openraft::metrics::RaftMetrics<Types>) -> bool {
        metrics.membership_config.membership().voter_ids().eq([self.id])
    }

    /// Whether nothing that can be known here is recent: too few others are heard, or on a follower the leader is not.
    fn is_cut_off(&self) -> bool {
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
        self.holds_lease() && self.yielded_term.load(Ordering::SeqCst) != self.metrics.borrow_watched().current_term
    }

    /// As [`Node::leads`], whether or not leadership is being handed over.
    pub(super) fn holds_lease(&self) -> bool {
        let metrics = self.metrics.borrow_watched();
        if metrics.state != ServerState::Leader {
            return false;
        }
        if !has_caught_up(&metrics) {
            return false;
        }
        // Without a vote it hands leadership over by itself, in openraft, and that ends the others' patience.
        if !metrics.membership_config.membership().get_joint_config().iter().any(|voters| voters.contains(&self.id)) {
            return false;
        }
        metrics.last_quorum_acked.is_some_and(|acked| acked.elapsed() < self.lease) || self.is_sole_voter(&metrics)
    }

    pub(super) fn elsewhere(&self, to: ForwardToLeader<Types>) -> Error {
        match to.leader_id {
            Some(id) if id != self.id => Error::NotLeader { hint: to.leader_node.map(|server| server.address) },
            _ => Error::NoLeader,
        }
    }

    pub(super) fn contact(&self) -> Contact {
        let cut_off = self.is_cut_off();
        let metrics = self.metrics.borrow_watched();
        let leader = metrics.current_leader.filter(|_| !cut_off && metrics.running_state.is_ok());
        let known = leader.is_some_and(|id| metrics.membership_config.membership().get_node(&id).is_some());
        Contact { leader_known: known, last_ms: self.last_contact_ms(&metrics) }
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
            ServerState::Leader => metrics.last_quorum_acked.map(|acked| u64::try_from(acked.elapsed().as_millis()).unwrap_or(u64::MAX)),
            _ => None,
        };
        let replicas = metrics.replication.iter().flatten().map(|(id, matched)| Replica {
            id: id.to_string(),
            matched_index: index(*matched),
            last_contact_ms: if *id == self.id {
                Some(0)
            } else {
                heard(metrics.heartbeat.as_ref().and_then(|heard| heard.get(id)).copied().flatten())
            },
        });
        Status {
            replicas: replicas.collect(),
            failure: self.failure(&metrics.running_state),
            last_contact_ms: self.last_contact_ms(&metrics),
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

    /// What the disk said, if it failed.
    fn failure(&self, state: &Result<(), Fatal<Types>>) -> Option<String> {
        match state {
            Err(Fatal::StorageError(error)) => Some(self.log_failure.get().cloned().unwrap_or_else(|| error.to_string())),
            _ => None,
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
        let reason = self.outdated.get().cloned().or_else(|| self.failure(&state));
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

    /// Since when nothing was heard of the leader: 0 on the leader itself.
    fn last_contact_ms(&self, metrics: &openraft::metrics::RaftMetrics<Types>) -> Option<u64> {
        if metrics.state == ServerState::Leader {
            return Some(0);
        }
        let heard = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.map(|at| u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX))
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
fn has_caught_up(metrics: &openraft::metrics::RaftMetrics<Types>) -> bool {
    metrics.last_applied.is_some_and(|id| id.committed_leader_id().term == metrics.current_term)
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
