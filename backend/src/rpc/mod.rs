//! Calls between agents, and from every surface to the servers. Contract: cluster, section "Forwarding and consistency".
//!
//! [`Router::call`] is the deepest seam of the agent: HTTP, DNS and anti-entropy only ever speak to it. In a
//! server it reaches [`Handler`] in process; in a client it forwards to a server. Never knows what a call means.

mod call;
mod forward;
mod limits;
mod link;
mod listener;
mod operation;
mod pool;
mod protocol;
mod router;
#[cfg(test)]
mod samples;
mod servers;
mod snapshot;
mod stream;
#[cfg(test)]
mod tests;
mod tls;
mod wire;

pub use forward::Forwarder;
pub use listener::{Admit, Inbound, Patience, RaftReceiver, Receiving, serve};

pub use limits::{Bucket, Limited, Limits, LimitsHandle, Mode};
pub use operation::{
    AgentCall, AgentReply, Autopilot, AutopilotHealth, CatalogServiceNodes, CheckHistory, Checks, Datacenters, Deregister, Gossip,
    HealthServiceNodes, Keyring, KvGet, KvKeys, KvList, KvWrite, Leader, ListChecks, ListNodes, ListServices, NodeChecks, NodeServices,
    Nodes, Operation, OperationReply, Overview, Payload, Peers, Raft, RaftConfiguration, RaftStanding, RaftState, Register, RemovePeer,
    ServiceChecks, Services, SetAutopilot, Snapshots, TakeSnapshot, TransferLeader, TypedOperation, UiNodes, UiServices,
};
pub use pool::{Failure, Options, Pool};
pub use protocol::PROTOCOL;
pub use router::{Answer, Batch, Changes, Handler, Load, Request, Router};
pub use servers::{Server, Servers};
pub use stream::{AgentCallee, AgentStreams, Greeting, attach};
pub use tls::Wrap;

/// Why a call failed. The texts are Consul's, since clients match on them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, serde::Serialize, serde::Deserialize)]
pub enum Error {
    /// Nobody leads, even after waiting.
    #[error("No cluster leader")]
    NoLeader,
    /// A client that knows no server.
    #[error("No known Consul servers")]
    NoServers,
    /// A datacenter nobody has heard of.
    #[error("No path to datacenter")]
    NoPathToDatacenter,
    /// The authorizer said no.
    #[error("Permission denied")]
    PermissionDenied,
    /// The caller's request is wrong in itself: status 400.
    #[error("{0}")]
    BadRequest(String),
    /// The server refused it: status 500 with this text.
    #[error("{0}")]
    Refused(String),
    /// What was asked for does not exist: status 404 with this text.
    #[error("{0}")]
    NotFound(String),
    /// The agent that had to act cannot be reached: status 502.
    #[error("{0}")]
    Unreachable(String),
    /// This client agent sends more calls than it may: status 429.
    #[error("rate limit exceeded")]
    RateLimited,
    /// This server answers more calls than it may: status 429.
    #[error("rate limit exceeded, try again later or against a different server")]
    RetryElsewhere,
    /// The leader takes more writes than it may, and nobody else can: status 503.
    #[error("rate limit exceeded for operation that can only be performed by the leader, try again later")]
    RetryLater,
    /// The request's deadline passed.
    #[error("rpc error making call: i/o deadline reached")]
    Timeout,
    /// The agent stops.
    #[error("agent is shutting down")]
    Stopping,
    /// This server's disk failed before anything was done: status 500 with this text, unless another server answers.
    #[error("{0}")]
    Disk(String),
}

impl Error {
    /// The answer is another call's.
    #[must_use]
    pub fn unexpected_reply() -> Self {
        Self::Refused("rpc error making call: unexpected reply".to_owned())
    }
}
