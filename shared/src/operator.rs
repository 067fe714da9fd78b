//! What operators see and change: the Raft configuration, autopilot, the gossip keys. Contract: HTTP API, section "Snapshot, operator".

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    decode::Decode,
    endpoint::{self, Read, endpoint},
    go::Duration,
};

/// One server of the Raft configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase", default)]
pub struct RaftServer {
    /// UUID.
    #[serde(rename = "ID")]
    pub id: String,
    /// Node name.
    pub node: String,
    /// RPC address, `ip:port`.
    pub address: String,
    /// Whether it leads.
    pub leader: bool,
    /// Always `3`: servers are known by their UUIDs.
    pub protocol_version: String,
    /// Whether it votes.
    pub voter: bool,
}

/// `GET /v1/operator/raft/configuration`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase", default)]
pub struct RaftConfiguration {
    /// Everybody in it.
    pub servers: Vec<RaftServer>,
    /// Kept for clients; 0 since Raft protocol 3.
    pub index: u64,
}

/// What autopilot does by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase", default)]
pub struct AutopilotConfiguration {
    /// Remove failed servers once replacements are there.
    pub cleanup_dead_servers: bool,
    /// Longest silence of a healthy server.
    pub last_contact_threshold: Duration,
    /// How many entries a healthy server may trail.
    pub max_trailing_logs: u64,
    /// Never go below so many servers.
    pub min_quorum: u64,
    /// How long a new server has to be healthy before it votes.
    pub server_stabilization_time: Duration,
    /// Kept for clients; has no effect.
    pub redundancy_zone_tag: String,
    /// Kept for clients; has no effect.
    pub disable_upgrade_migration: bool,
    /// Kept for clients; has no effect.
    pub upgrade_version_tag: String,
    /// When it was first written.
    pub create_index: u64,
    /// When it was last written.
    pub modify_index: u64,
}

impl Default for AutopilotConfiguration {
    fn default() -> Self {
        Self {
            cleanup_dead_servers: true,
            last_contact_threshold: Duration(200_000_000),
            max_trailing_logs: 250,
            min_quorum: 0,
            server_stabilization_time: Duration(10_000_000_000),
            redundancy_zone_tag: String::new(),
            disable_upgrade_migration: false,
            upgrade_version_tag: String::new(),
            create_index: 0,
            modify_index: 0,
        }
    }
}

/// One server as autopilot judges it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase", default)]
pub struct ServerHealth {
    /// UUID.
    #[serde(rename = "ID")]
    pub id: String,
    /// Node name.
    pub name: String,
    /// RPC address, `ip:port`.
    pub address: String,
    /// `alive`, `leaving`, `left` or `failed`.
    pub serf_status: String,
    /// Version it runs.
    pub version: String,
    /// Whether it leads.
    pub leader: bool,
    /// Since it was last heard.
    pub last_contact: Duration,
    /// Term of its last entry.
    pub last_term: u64,
    /// Its last entry.
    pub last_index: u64,
    /// Whether it is alive, heard and not far behind.
    pub healthy: bool,
    /// Whether it votes.
    pub voter: bool,
    /// Since when it has been as healthy as it is now, RFC 3339.
    pub stable_since: String,
}

/// `GET /v1/operator/autopilot/health`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase", default)]
pub struct AutopilotHealth {
    /// Whether every server is.
    pub healthy: bool,
    /// How many healthy voters can be lost without losing the quorum.
    pub failure_tolerance: u64,
    /// Everybody in the Raft configuration.
    pub servers: Vec<ServerHealth>,
}

/// One server in `GET /v1/operator/autopilot/state`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase", default)]
pub struct ServerState {
    /// UUID.
    #[serde(rename = "ID")]
    pub id: String,
    /// Node name.
    pub name: String,
    /// RPC address, `ip:port`.
    pub address: String,
    /// `alive`, `leaving`, `left` or `failed`.
    pub node_status: String,
    /// Version it runs.
    pub version: String,
    /// Since it was last heard.
    pub last_contact: Duration,
    /// Term of its last entry.
    pub last_term: u64,
    /// Its last entry.
    pub last_index: u64,
    /// Whether it is alive, heard and not far behind.
    pub healthy: bool,
    /// Since when it has been as healthy as it is now, RFC 3339.
    pub stable_since: String,
    /// Whether it never votes.
    pub read_replica: bool,
    /// `leader`, `voter`, `non-voter` or `staging`.
    pub status: String,
    /// Tags it was started with; none.
    pub meta: BTreeMap<String, String>,
    /// Same as the status without leadership.
    pub node_type: String,
}

/// `GET /v1/operator/autopilot/state`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase", default)]
pub struct AutopilotState {
    /// Whether every server is healthy.
    pub healthy: bool,
    /// How many healthy voters can be lost without losing the quorum.
    pub failure_tolerance: u64,
    /// The same, counting those that could be promoted.
    pub optimistic_failure_tolerance: u64,
    /// By UUID.
    pub servers: BTreeMap<String, ServerState>,
    /// UUID of the leader.
    pub leader: String,
    /// UUIDs of those that vote.
    pub voters: Vec<String>,
}

/// The keys of one pool: `GET /v1/operator/keyring`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Decode)]
#[serde(default)]
pub struct KeyringPool {
    /// Whether it is the WAN pool.
    #[serde(rename = "WAN")]
    pub wan: bool,
    /// Whose.
    #[serde(rename = "Datacenter")]
    pub datacenter: String,
    /// Always empty.
    #[serde(rename = "Segment")]
    pub segment: String,
    /// What went wrong, by node.
    #[serde(rename = "Messages", skip_serializing_if = "BTreeMap::is_empty")]
    pub messages: BTreeMap<String, String>,
    /// How many members hold each key.
    #[serde(rename = "Keys")]
    pub keys: BTreeMap<String, usize>,
    /// How many use it.
    #[serde(rename = "PrimaryKeys")]
    pub primary_keys: BTreeMap<String, usize>,
    /// Members of the pool.
    #[serde(rename = "NumNodes")]
    pub num_nodes: usize,
}

/// `GET /v1/operator/raft/configuration`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GetRaftConfiguration {
    /// Where and how to read.
    pub read: Read,
}
endpoint!(GetRaftConfiguration: "GET" -> RaftConfiguration, this => "operator/raft/configuration", query this.read.pairs());

/// `DELETE /v1/operator/raft/peer`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RemoveRaftPeer {
    /// Its UUID; empty to name it by its address.
    pub id: String,
    /// Its RPC address; empty to name it by its id.
    pub address: String,
}
endpoint!(RemoveRaftPeer: "DELETE" -> (), this => "operator/raft/peer", query
    [endpoint::optional("id", &this.id), endpoint::optional("address", &this.address)].concat());

/// The answer to a transfer of leadership.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase", default)]
pub struct Transferred {
    /// Whether another server leads.
    pub success: bool,
}

/// `POST /v1/operator/raft/transfer-leader`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TransferRaftLeader {
    /// To whom; empty for the one most up to date.
    pub id: String,
}
endpoint!(TransferRaftLeader: "POST" -> Transferred, this => "operator/raft/transfer-leader", query endpoint::optional("id", &this.id));

/// `GET /v1/operator/autopilot/configuration`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GetAutopilot {
    /// Where and how to read.
    pub read: Read,
}
endpoint!(GetAutopilot: "GET" -> AutopilotConfiguration, this => "operator/autopilot/configuration", query this.read.pairs());

/// `PUT /v1/operator/autopilot/configuration`: whether it was done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SetAutopilot {
    /// The whole configuration.
    pub configuration: AutopilotConfiguration,
    /// Only if it was last changed at this index.
    pub cas: Option<u64>,
}
endpoint!(SetAutopilot: "PUT" -> bool, this => "operator/autopilot/configuration", query
    this.cas.map(|cas| ("cas", cas.to_string())).into_iter().collect(), body serde_json::to_vec(&this.configuration).ok());

/// `GET /v1/operator/autopilot/state`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GetAutopilotState {
    /// Where and how to read.
    pub read: Read,
}
endpoint!(GetAutopilotState: "GET" -> AutopilotState, this => "operator/autopilot/state", query this.read.pairs());

/// `GET /v1/operator/keyring`: one entry for each pool. Status 500 names every member that could not tell.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GetKeyring {
    /// Where and how to read.
    pub read: Read,
}
endpoint!(GetKeyring: "GET" -> Vec<KeyringPool>, this => "operator/keyring", query this.read.pairs());

/// `POST /v1/operator/keyring`: gives every member a key more.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InstallKey {
    /// 16, 24 or 32 bytes, base64.
    pub key: String,
}
endpoint!(InstallKey: "POST" -> (), this => "operator/keyring", body key(&this.key));

/// `PUT /v1/operator/keyring`: every member encrypts with an installed key from now on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UseKey {
    /// Base64.
    pub key: String,
}
endpoint!(UseKey: "PUT" -> (), this => "operator/keyring", body key(&this.key));

/// `DELETE /v1/operator/keyring`: takes a key that is not in use from every member.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RemoveKey {
    /// Base64.
    pub key: String,
}
endpoint!(RemoveKey: "DELETE" -> (), this => "operator/keyring", body key(&this.key));

fn key(key: &str) -> Option<Vec<u8>> {
    endpoint::json(&BTreeMap::from([("Key", key)]))
}
