//! openraft's type parameters, bound to ours. Never leaves `raft`.
//!
//! Leader ids are the standard ones: at most one leader a term, as the API shows it.

use openraft::type_config::alias;
use serde::{Deserialize, Serialize};

use super::{logged::Logged, snapshot::Image};
use crate::store::Reply;

/// A server's id in the Raft configuration: its UUID.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct NodeId(pub(super) uuid::Uuid);

impl std::fmt::Display for NodeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// openraft's own test suite numbers its nodes.
#[cfg(test)]
impl From<u64> for NodeId {
    fn from(number: u64) -> Self {
        Self(uuid::Uuid::from_u128(number.into()))
    }
}

/// What the Raft configuration holds about a server, besides its id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Server {
    /// Name.
    pub(super) name: String,
    /// RPC address, `ip:port`.
    pub(super) address: String,
}

openraft::declare_raft_types!(
    /// The type parameters.
    pub(super) Types:
        D = Logged,
        R = Reply,
        NodeId = NodeId,
        Node = Server,
        Term = u64,
        LeaderId = openraft::impls::leader_id_std::LeaderId<Self::Term, Self::NodeId>,
        AsyncRuntime = super::executor::Executor,
);

pub(super) type Entry = alias::EntryOf<Types>;
pub(super) type LogId = alias::LogIdOf<Types>;
pub(super) type Vote = alias::VoteOf<Types>;
pub(super) type Configuration = openraft::Membership<NodeId, Server>;
pub(super) type Membership = alias::StoredMembershipOf<Types>;
pub(super) type SnapshotMeta = alias::SnapshotMetaOf<Types>;
pub(super) type Snapshot = alias::SnapshotOf<Types, Image>;
pub(super) type Raft = openraft::Raft<Types, super::machine::Machine>;
