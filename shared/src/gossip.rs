//! The gossip pool as one agent sees it: `GET /v1/muster/gossip`, and the keys it is encrypted with.

use std::collections::BTreeMap;

use crate::decode::Decode;
use serde::{Deserialize, Serialize};

use crate::endpoint::{Read, endpoint, segment};

/// A pool from one member's point of view.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase", default)]
pub struct Pool {
    /// The node whose view this is.
    pub node: String,
    /// Its datacenter.
    pub datacenter: String,
    /// Whether packets are encrypted.
    pub encrypted: bool,
    /// How many keys the ring holds.
    pub keys: usize,
    /// Id of the Raft cluster its servers form; empty before they do.
    pub cluster: String,
    /// How far behind its own timers this agent is: 0 is well, each step lets suspicions last longer.
    pub health: u32,
    /// Members this agent accused since it started.
    pub accusations: u64,
    /// Those of them that were alive after all.
    pub refuted: u64,
    /// How long a suspicion lasts before the member is declared failed, milliseconds.
    pub suspicion_ms: u64,
    /// How long a failed member is remembered, milliseconds.
    pub failed_kept_ms: u64,
    /// How long one that left is remembered, milliseconds.
    pub left_kept_ms: u64,
    /// Everybody known, by name.
    pub members: Vec<Member>,
}

/// A member as one agent sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase", default)]
pub struct Member {
    /// Node name.
    pub name: String,
    /// UUID.
    #[serde(rename = "ID")]
    pub id: String,
    /// Gossip address, `ip:port`.
    pub address: String,
    /// `alive`, `suspect`, `leaving`, `left` or `failed`.
    pub status: String,
    /// For how long it has had this status, milliseconds.
    pub since_ms: u64,
    /// When the member started, milliseconds since 1970, and one more for each time it refuted an accusation.
    pub incarnation: u64,
    /// The last exchange with it, there and back, microseconds; `None` when there was none.
    pub round_trip_us: Option<u64>,
    /// `server` or `client`.
    pub role: String,
    /// Version it runs.
    pub version: String,
    /// Who accuses it, by name, as far as this agent has heard: while it is `suspect`, and when it was declared `failed`.
    pub accused_by: Vec<String>,
}

/// What became of an operation on the keys, over the whole pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Decode)]
#[serde(default)]
pub struct Keyring {
    /// Members asked.
    pub nodes: usize,
    /// How many members hold each key, base64.
    pub keys: BTreeMap<String, usize>,
    /// How many members use each key to encrypt.
    pub primary_keys: BTreeMap<String, usize>,
    /// What went wrong, by node.
    pub messages: BTreeMap<String, String>,
    /// Why nobody was asked; empty when everybody was.
    pub error: String,
}

/// `GET /v1/muster/gossip`, or `GET /v1/muster/agent/:node/gossip`: the pool as that node's agent sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GetGossip {
    /// Whose view; empty for that of the answering server.
    pub node: String,
    /// Where and how to read.
    pub read: Read,
}
endpoint!(GetGossip: "GET" -> Pool, this => match this.node.as_str() {
    "" => "muster/gossip".to_owned(),
    node => format!("muster/agent/{}/gossip", segment(node)),
}, query this.read.pairs());
