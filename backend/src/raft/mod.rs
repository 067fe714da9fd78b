//! Consensus: openraft glue. No openraft type leaves this module.

mod codec;
mod configuration;
mod executor;
mod inspect;
mod log;
mod logged;
mod machine;
mod membership;
mod network;
mod proposals;
mod reception;
mod recovery;
#[cfg(test)]
mod samples;
mod schedule;
mod service;
mod snapshot;
mod start;
mod status;
#[cfg(test)]
mod tests;
mod types;

use std::{path::PathBuf, sync::Arc, time::Duration};

pub use inspect::{Fault, Inspection, Part, inspect};
#[cfg(any(test, feature = "sim"))]
pub use log::{faulty, flaw::Flaw};
#[cfg(test)]
pub(crate) use logged::Value;
pub use network::{Lane, Transport, TransportError};
pub use recovery::read_peers;
use serde::{Deserialize, Serialize};

use crate::{
    rt::{Runtime, chunks::Chunks},
    store::{Command, Reply, Store},
};

/// How the Raft node is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// This server's UUID.
    pub node_id: String,
    /// This server's name.
    pub node_name: String,
    /// Address of its RPC listener, `ip:port`, as told to the others.
    pub address: String,
    /// Directory `raft/` goes into; `None` keeps everything in memory.
    pub data_dir: Option<PathBuf>,
    /// Which log store: `wal` or `sled`.
    pub log_backend: String,
    /// `performance.raft_multiplier`, 1 to 10.
    pub multiplier: u32,
    /// Form a cluster of this one server when there is none yet.
    pub bootstrap: bool,
    /// Entries after which a snapshot is taken.
    pub snapshot_threshold: u64,
    /// How often it is looked whether so many came, up to twice that by chance, so that servers do not all do it at once; 0 for always.
    pub snapshot_interval: Duration,
    /// Entries kept behind a snapshot.
    pub trailing_logs: u64,
}

/// Why a proposal or read was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nobody leads, or leadership is not confirmed.
    #[error("no leader")]
    NoLeader,
    /// Another server leads; its RPC address when known.
    #[error("not the leader")]
    NotLeader {
        /// RPC address of the leader.
        hint: Option<String>,
    },
    /// The disk failed; this server takes no writes until restarted.
    #[error("storage: {0}")]
    Storage(String),
    /// The change cannot be made; why.
    #[error("{0}")]
    Refused(String),
    /// It took too long: what became of it nobody knows.
    #[error("timed out enqueuing operation")]
    Timeout,
    /// Leadership went, or the node stopped, while the entry was being replicated: whether it counts nobody knows.
    #[error("leadership lost while committing log")]
    Lost,
    /// The Raft node has stopped, and did nothing of what was asked.
    #[error("raft is stopped")]
    Stopped,
}

/// A server of the Raft configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// UUID.
    pub id: String,
    /// Name.
    pub name: String,
    /// RPC address.
    pub address: String,
    /// Whether it votes, and nobody has still to agree to that.
    pub voter: bool,
}

/// How far another server is, as its leader sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replica {
    /// UUID.
    pub id: String,
    /// Last log index it is known to hold.
    pub matched_index: u64,
    /// Term of that entry.
    #[serde(default)]
    pub matched_term: u64,
    /// Milliseconds since it was last heard; `None` when it was not.
    pub last_contact_ms: Option<u64>,
}

/// Where this server stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// `leader`, `follower`, `candidate`, `learner` or `shutdown`.
    pub role: String,
    /// Current term.
    pub term: u64,
    /// The leader, when known.
    pub leader: Option<Peer>,
    /// Last log index.
    pub last_index: u64,
    /// Committed index.
    pub commit_index: u64,
    /// Applied index.
    pub applied_index: u64,
    /// Index of the last snapshot; 0 when there is none.
    pub snapshot_index: u64,
    /// The configuration; while a change of it is half done, everybody it named or will name.
    pub peers: Vec<Peer>,
    /// Ids of the voters of which a majority has to agree; two sets, of each of which one has to, while a change is half done.
    #[serde(default)]
    pub voter_sets: Vec<Vec<String>>,
    /// Milliseconds since a quorum last confirmed this leader; `None` when it does not lead.
    pub last_quorum_ms: Option<u64>,
    /// Every server of the configuration, only on the leader.
    #[serde(default)]
    pub replicas: Vec<Replica>,
    /// Milliseconds since the leader was heard, 0 on the leader; `None` when it never was.
    #[serde(default)]
    pub last_contact_ms: Option<u64>,
    /// Why this server's disk failed, if it did: it takes no part until it is restarted.
    #[serde(default)]
    pub failure: Option<String>,
}

/// How a node ended that nobody stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Its disk failed: what it knows can still be read, but nothing is added to it.
    Disk(String),
    /// Its core panicked or gave up: nothing it says counts any more.
    Core(String),
}

/// What a server knows of its leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contact {
    /// Whether there is one.
    pub leader_known: bool,
    /// Milliseconds since it was heard, 0 on the leader; `None` when it never was.
    pub last_ms: Option<u64>,
}

/// A snapshot this server keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Term of its last entry.
    pub term: u64,
    /// Index of its last entry.
    pub index: u64,
    /// Bytes of its contents.
    pub size_bytes: u64,
    /// When it was taken, milliseconds since 1970.
    pub taken_at_ms: u64,
    /// Name of the server that took it.
    pub server: String,
    /// Version of Muster that took it; empty when it was not noted.
    pub version: String,
}

/// What a server keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshots {
    /// Newest first.
    pub kept: Vec<Snapshot>,
    /// How many are kept at most.
    pub retained: usize,
    /// Entries after which the next one is taken by itself.
    pub threshold: u64,
    /// How often it is looked whether so many came, up to twice that; 0 for always.
    pub interval: Duration,
}

/// Clone-cheap handle to this server's Raft node.
#[derive(Clone)]
pub struct Handle {
    node: Arc<service::Node>,
    seen: service::Seen,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("raft::Handle")
    }
}

/// Opens the log, loads the newest snapshot and starts the node, which has nobody to talk to.
///
/// # Errors
/// A log or snapshot that cannot be read, naming file and offset.
pub async fn start(options: Options, store: Arc<Store>, runtime: Runtime) -> Result<Handle, Error> {
    start_with(options, store, runtime, Arc::new(network::Alone)).await
}

/// As [`start`], with a transport to other servers.
///
/// # Errors
/// As for [`start`].
pub async fn start_with(options: Options, store: Arc<Store>, runtime: Runtime, transport: Arc<dyn Transport>) -> Result<Handle, Error> {
    let node = Arc::new(start::node(options, store, runtime, transport).await?);
    Ok(Handle { seen: node.seen(), node })
}

/// As [`start_with`], on a disk in memory that can crash and fail; `data_dir` and `log_backend` of the options do not count.
///
/// # Errors
/// As for [`start`].
#[cfg(any(test, feature = "sim"))]
pub async fn start_on(
    options: Options,
    store: Arc<Store>,
    runtime: Runtime,
    transport: Arc<dyn Transport>,
    disk: &faulty::Disk,
) -> Result<Handle, Error> {
    let node = Arc::new(start::node_on(options, store, runtime, transport, disk).await?);
    Ok(Handle { seen: node.seen(), node })
}

impl Handle {
    /// Replicates a command and answers its index and reply once it is applied here, within 30 seconds; a proposal dropped half-way
    /// may still be applied.
    ///
    /// # Errors
    /// Nobody or somebody else leads, or the disk failed.
    pub async fn propose(&self, command: Command) -> Result<(u64, Reply), Error> {
        self.node.propose(command).await
    }

    /// Confirms leadership (by lease, or with `quorum` by asking the others) and waits until everything committed so far is applied.
    ///
    /// # Errors
    /// As for [`Handle::propose`].
    pub async fn confirm_leadership(&self, quorum: bool) -> Result<(), Error> {
        self.node.confirm_leadership(quorum).await
    }

    /// Where this server stands.
    #[must_use]
    pub fn status(&self) -> Status {
        self.node.status()
    }

    /// Whether this server leads, as far as it knows.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.node.is_leader()
    }

    /// Whether a leader is known, and how long ago it was heard; a part of [`Handle::status`] that costs nothing.
    #[must_use]
    pub fn contact(&self) -> Contact {
        self.node.contact()
    }

    /// Why this server's disk failed, if it did; a part of [`Handle::status`] that costs nothing.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.node.failure()
    }

    /// Resolves whenever the leader or the configuration changes, counted from this handle's making or the last call.
    pub async fn changed(&mut self) {
        self.seen = self.node.changed_from(&self.seen).await;
    }

    /// Waits until somebody leads, at most so long; answers whether somebody does. When this server leads, everything
    /// acknowledged before is applied then.
    pub async fn wait_for_leader(&self, longest: Duration) -> bool {
        self.node.wait_for_leader(longest).await
    }

    /// Whether this server leads and a read may be answered from its state at once: no quorum has to be asked, nobody else can have
    /// been elected meanwhile.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.node.leads()
    }

    /// As [`Handle::leads`], also while leadership is being handed over, when it must not be trusted.
    #[cfg(feature = "sim")]
    #[must_use]
    pub fn holds_lease(&self) -> bool {
        self.node.holds_lease()
    }

    /// Whether this server never took part in a cluster, so that it may form one.
    ///
    /// # Errors
    /// The node stopped.
    pub async fn is_pristine(&self) -> Result<bool, Error> {
        self.node.is_pristine().await
    }

    /// Forms a cluster of these servers; all have to be told the same. Does nothing when this one already belongs to a cluster.
    ///
    /// # Errors
    /// A bad id, or the disk.
    pub async fn bootstrap(&self, peers: Vec<Peer>) -> Result<(), Error> {
        self.node.bootstrap(peers).await
    }

    /// Adds a server without a vote, to be brought up to date in the background. Only the leader can.
    ///
    /// # Errors
    /// As for [`Handle::propose`], and [`Error::Refused`] while another change is under way.
    pub async fn add_learner(&self, peer: &Peer) -> Result<(), Error> {
        self.node.add_learner(peer).await
    }

    /// Gives a server of the configuration a vote.
    ///
    /// # Errors
    /// As for [`Handle::add_learner`].
    pub async fn promote(&self, id: &str) -> Result<(), Error> {
        self.node.promote(id).await
    }

    /// Takes a server's vote away.
    ///
    /// # Errors
    /// As for [`Handle::add_learner`]; the only voter keeps its vote.
    pub async fn demote(&self, id: &str) -> Result<(), Error> {
        self.node.demote(id).await
    }

    /// Takes a server out of the configuration.
    ///
    /// # Errors
    /// As for [`Handle::add_learner`]; the only voter stays.
    pub async fn remove(&self, id: &str) -> Result<(), Error> {
        self.node.remove(id).await
    }

    /// Finishes a change of the configuration that a former leader left half done; does nothing when there is none.
    ///
    /// # Errors
    /// As for [`Handle::add_learner`].
    pub async fn settle(&self) -> Result<(), Error> {
        self.node.settle().await
    }

    /// Notes a server's new name or address.
    ///
    /// # Errors
    /// As for [`Handle::add_learner`].
    pub async fn set_address(&self, peer: &Peer) -> Result<(), Error> {
        self.node.set_address(peer).await
    }

    /// Hands leadership over, to the server with this UUID or to the one most up to date; returns once this one leads no more.
    ///
    /// # Errors
    /// Nobody can take it, or does in time.
    pub async fn transfer_leader(&self, to: Option<&str>) -> Result<(), Error> {
        self.node.transfer_leader(to).await
    }

    /// Answers a message that another server's [`Transport`] brought here.
    pub async fn receive(&self, message: &[u8]) -> Vec<u8> {
        self.node.receive(message).await
    }

    /// Resolves once the node ended although nobody stopped it.
    pub async fn ended(&self) -> Ended {
        self.node.ended().await
    }

    /// Makes the core panic.
    #[cfg(test)]
    pub(crate) async fn break_core(&self) {
        self.node.break_core().await;
    }

    /// Takes a snapshot that another server's [`Transport::send_snapshot`] brought here.
    pub async fn receive_snapshot(&self, offer: &[u8], contents: Chunks) -> Vec<u8> {
        self.node.receive_snapshot(offer, contents).await
    }

    /// The snapshots kept here.
    ///
    /// # Errors
    /// The disk.
    pub async fn snapshots(&self) -> Result<Snapshots, Error> {
        self.node.snapshots().await
    }

    /// Takes a snapshot now and answers it; when nothing was applied since the last one, that one.
    ///
    /// # Errors
    /// The disk, or it takes too long.
    pub async fn take_snapshot(&self) -> Result<Snapshot, Error> {
        self.node.take_snapshot().await
    }

    /// Stops the node; the log is closed once this returns.
    pub async fn shutdown(&self) {
        self.node.shutdown().await;
    }
}
