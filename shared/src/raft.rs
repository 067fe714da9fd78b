//! Consensus as an operator sees it: `GET /v1/muster/raft`.

use crate::decode::Decode;
use serde::{Deserialize, Serialize};

use crate::endpoint::{Read, endpoint};

/// One server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase", default)]
pub struct Server {
    /// UUID.
    #[serde(rename = "ID")]
    pub id: String,
    /// Node name.
    pub name: String,
    /// RPC address, `ip:port`.
    pub address: String,
    /// `leader`, `voter` or `non-voter`.
    pub role: String,
    /// What gossip says: `alive`, `leaving`, `left`, `failed`; empty when it knows nothing.
    pub gossip: String,
    /// For how long gossip has said so, milliseconds.
    pub gossip_ms: u64,
    /// Last log index it is known to hold.
    pub last_index: u64,
    /// Term of that entry; 0 when the answering server does not know it.
    pub last_term: u64,
    /// Entries behind the leader.
    pub lag: u64,
    /// Milliseconds since it was last heard by the leader; `None` when it was not.
    pub last_contact_ms: Option<u64>,
    /// Whether autopilot finds it healthy.
    pub healthy: bool,
    /// For how long it has been so, milliseconds.
    pub stable_ms: u64,
    /// Whether the cluster goes on without it.
    pub can_be_lost: bool,
    /// Version it runs.
    pub version: String,
    /// Why it takes no part although it runs: its disk failed. Empty when it did not.
    pub failure: String,
}

/// A change of leadership as the answering server saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase", default)]
pub struct Election {
    /// The term in which it happened.
    pub term: u64,
    /// UUID of who leads from then on; empty when nobody did.
    pub leader: String,
    /// Its name.
    pub name: String,
    /// When, milliseconds since 1970.
    pub at_ms: u64,
}

/// The cluster, as the leader sees it; without one, as the server that answers does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase", default)]
pub struct Raft {
    /// The server that answers.
    pub node: String,
    /// Its role.
    pub state: String,
    /// Why it takes no part although it runs: its disk failed. Empty when it did not.
    pub failure: String,
    /// Current term.
    pub term: u64,
    /// UUID of the leader; empty when there is none.
    pub leader: String,
    /// Last log index here.
    pub last_index: u64,
    /// Committed index here.
    pub commit_index: u64,
    /// Applied index here.
    pub applied_index: u64,
    /// Index of the last snapshot here.
    pub snapshot_index: u64,
    /// How many voters have to agree.
    pub quorum: usize,
    /// How many healthy voters can be lost.
    pub failure_tolerance: u64,
    /// Everybody in the configuration.
    pub servers: Vec<Server>,
    /// The latest changes of leadership since this server started, newest first, 64 at most. The first one tells since when things
    /// are as they are.
    pub elections: Vec<Election>,
    /// This server's clock, milliseconds since 1970.
    pub now_ms: u64,
}

/// `GET /v1/muster/raft`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GetRaft {
    /// Where and how to read.
    pub read: Read,
}
endpoint!(GetRaft: "GET" -> Raft, this => "muster/raft", query this.read.pairs());
