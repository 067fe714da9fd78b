//! The change stream: `GET /v1/muster/changes`.

use serde::{Deserialize, Serialize};

/// What kind of thing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Topic {
    /// A node record. `name` is the node.
    Node,
    /// A service, one of its instances or one of their checks. `name` is the service.
    Service,
    /// A check. `name` is the check id, `node` its node.
    Check,
    /// A key. `name` is the key.
    Kv,
    /// A session. `name` is its id.
    Session,
    /// Who leads, or which servers there are.
    Raft,
}

/// Whether the thing is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Created or changed.
    Set,
    /// Gone.
    Delete,
}

/// One change, coalesced per object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Change {
    /// What kind of thing.
    pub topic: Topic,
    /// Which one.
    pub name: String,
    /// On which node, where that applies.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub node: String,
    /// Raft index of the change.
    pub index: u64,
    /// Whether it is still there.
    pub kind: Kind,
}

/// The `event:` names of the stream. Data of `changes` is a JSON list of [`Change`]; `hello`, `beat` and `reset`
/// carry `{"Index": n}`.
pub mod event {
    /// First event of every stream: where it starts.
    pub const HELLO: &str = "hello";
    /// Changes since the last event.
    pub const CHANGES: &str = "changes";
    /// Nothing happened for 5 s.
    pub const BEAT: &str = "beat";
    /// The reader is too far behind or a snapshot was installed: read everything again.
    pub const RESET: &str = "reset";
}

/// Data of the events that carry only a position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Position {
    /// The store's index.
    pub index: u64,
}
