//! `/v1/status/*`: plain JSON strings, so there is nothing to describe but the paths.

/// `GET /v1/status/leader`: `"ip:port"`, empty when there is no leader.
pub type Leader = String;
/// `GET /v1/status/peers`: `["ip:port"]` of every server.
pub type Peers = Vec<String>;
