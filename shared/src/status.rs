//! `/v1/status/*`: plain JSON strings, so there is nothing to describe but the paths.

use crate::endpoint::{self, endpoint};

/// `GET /v1/status/leader`: `"ip:port"`, empty when there is no leader.
pub type Leader = String;
/// `GET /v1/status/peers`: `["ip:port"]` of every server.
pub type Peers = Vec<String>;

/// `GET /v1/status/leader`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GetLeader {
    /// Datacenter; empty means the agent's own.
    pub dc: String,
}

endpoint!(GetLeader: "GET" -> Leader, this => "status/leader", query endpoint::dc(&this.dc));

/// `GET /v1/status/peers`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GetPeers {
    /// Datacenter; empty means the agent's own.
    pub dc: String,
}

endpoint!(GetPeers: "GET" -> Peers, this => "status/peers", query endpoint::dc(&this.dc));
