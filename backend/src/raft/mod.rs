//! Consensus: openraft glue. No openraft type leaves this module.

use std::{path::PathBuf, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    rt::Runtime,
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
    /// Entries between snapshots.
    pub snapshot_threshold: u64,
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
    /// The Raft node stopped.
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
    /// Whether it votes.
    pub voter: bool,
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
    /// The configuration.
    pub peers: Vec<Peer>,
    /// Milliseconds since a quorum last confirmed this leader; `None` when it does not lead.
    pub last_quorum_ms: Option<u64>,
}

/// Clone-cheap handle to this server's Raft node.
#[derive(Clone, Debug)]
pub struct Handle(());

/// Opens the log, loads the newest snapshot and starts the node.
///
/// # Errors
/// A log or snapshot that cannot be read, naming file and offset.
pub async fn start(_options: Options, _store: Arc<Store>, _runtime: Runtime) -> Result<Handle, Error> {
    Ok(Handle(()))
}

impl Handle {
    /// Replicates a command and answers its index and reply once it is applied here.
    ///
    /// # Errors
    /// Nobody or somebody else leads, or the disk failed.
    pub async fn propose(&self, _command: Command) -> Result<(u64, Reply), Error> {
        Err(Error::NoLeader)
    }

    /// Confirms leadership (by lease, or with `quorum` by asking the others) and waits until everything committed so far is applied.
    ///
    /// # Errors
    /// As for [`Handle::propose`].
    pub async fn confirm_leadership(&self, _quorum: bool) -> Result<(), Error> {
        Err(Error::NoLeader)
    }

    /// Where this server stands.
    #[must_use]
    pub fn status(&self) -> Status {
        Status::default()
    }

    /// Resolves whenever the leader or the configuration changes.
    pub async fn changed(&mut self) {}

    /// Waits until somebody leads, at most so long; answers whether somebody does.
    pub async fn wait_for_leader(&self, _longest: std::time::Duration) -> bool {
        false
    }

    /// Stops the node; the log is closed once this returns.
    pub async fn shutdown(&self) {}
}
