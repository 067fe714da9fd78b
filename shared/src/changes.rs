//! The change stream: `GET /v1/muster/changes`.

use crate::decode::Decode;
use serde::{Deserialize, Serialize};

use crate::endpoint;

/// What kind of thing changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Decode)]
#[serde(rename_all = "lowercase")]
pub enum Topic {
    /// A node record. `name` is the node.
    #[default]
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

impl Topic {
    /// All topics.
    pub const ALL: [Self; 6] = [Self::Node, Self::Service, Self::Check, Self::Kv, Self::Session, Self::Raft];

    /// The word, as in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Service => "service",
            Self::Check => "check",
            Self::Kv => "kv",
            Self::Session => "session",
            Self::Raft => "raft",
        }
    }
}

/// Whether the thing is still there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, Decode)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Created or changed.
    #[default]
    Set,
    /// Gone.
    Delete,
}

/// One change, coalesced per object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, Decode)]
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
    /// Last event: the stream cannot go on, and why.
    pub const REFUSED: &str = "refused";
}

/// Data of the event that ends a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Refusal {
    /// Why it cannot go on.
    pub reason: String,
}

/// Data of the events that carry only a position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase")]
pub struct Position {
    /// The store's index.
    pub index: u64,
}

/// `GET /v1/muster/changes`: an endless stream of server-sent events, so no [`crate::endpoint::Endpoint`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Watch {
    /// Only these; empty means all.
    pub topics: Vec<Topic>,
    /// Only this name; empty means all.
    pub name: String,
    /// Continue after this index; 0 starts now.
    pub index: u64,
    /// Datacenter; empty means the agent's own.
    pub dc: String,
}

impl Watch {
    /// Path and query from `/v1/`, encoded.
    #[must_use]
    pub fn url(&self) -> String {
        let mut pairs: Vec<_> = self.topics.iter().map(|topic| ("topic", topic.as_str().to_owned())).collect();
        pairs.extend(endpoint::optional("name", &self.name));
        if self.index > 0 {
            pairs.push(("index", self.index.to_string()));
        }
        pairs.extend(endpoint::dc(&self.dc));
        let query = endpoint::encode_query(&pairs);
        if query.is_empty() { "muster/changes".to_owned() } else { format!("muster/changes?{query}") }
    }
}
