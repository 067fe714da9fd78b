//! What every read may ask for and what every read answers beside its body.
//!
//! Contract: query parameters `index wait stale consistent max_stale dc near filter node-meta`, and the
//! `X-Consul-*` response headers.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::go;

/// How fresh an answer must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Consistency {
    /// The leader answers under its lease.
    #[default]
    Default,
    /// Any server answers.
    Stale,
    /// The leader asks a quorum first.
    Consistent,
}

impl Consistency {
    /// The word of `X-Consul-Effective-Consistency`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "leader",
            Self::Stale => "stale",
            Self::Consistent => "consistent",
        }
    }
}

/// Options of a read. All of them optional; the default reads at once from the leader.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct QueryOptions {
    /// Return only once the result's index exceeds this; 0 returns at once.
    pub index: u64,
    /// How long to wait for that; absent means the agent's default (5 min).
    pub wait: Option<go::Duration>,
    /// How fresh the answer must be.
    pub consistency: Consistency,
    /// With [`Consistency::Stale`]: the oldest acceptable age of the server's data.
    pub max_stale: Option<go::Duration>,
    /// Sort by round trip from this node.
    pub near: String,
    /// A filter expression over the result's rows; empty keeps all.
    pub filter: String,
    /// `key, value` pairs a node's metadata must contain, all of them.
    pub node_meta: Vec<(String, String)>,
}

impl QueryOptions {
    /// How long a blocking read waits on purpose, before the spread: `default` unless it names a wait, and never longer than `longest`.
    #[must_use]
    pub fn waits(&self, default: Duration, longest: Duration) -> Duration {
        let asked = self.wait.map(|wait| wait.as_std()).filter(|wait| !wait.is_zero());
        asked.unwrap_or(default).min(longest)
    }

    /// As query parameters; defaults are left out.
    #[must_use]
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        let mut pairs = Vec::new();
        if self.index > 0 {
            pairs.push(("index", self.index.to_string()));
        }
        if let Some(wait) = self.wait {
            pairs.push(("wait", wait.to_string()));
        }
        match self.consistency {
            Consistency::Default => {}
            Consistency::Stale => pairs.push(("stale", String::new())),
            Consistency::Consistent => pairs.push(("consistent", String::new())),
        }
        if let Some(age) = self.max_stale {
            pairs.push(("max_stale", age.to_string()));
        }
        for (name, value) in [("near", &self.near), ("filter", &self.filter)] {
            if !value.is_empty() {
                pairs.push((name, value.clone()));
            }
        }
        pairs.extend(self.node_meta.iter().map(|(key, value)| ("node-meta", format!("{key}:{value}"))));
        pairs
    }
}

/// What a read says about itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct QueryMeta {
    /// `X-Consul-Index`: at least 1 on the wire.
    pub index: u64,
    /// `X-Consul-Knownleader`.
    pub known_leader: bool,
    /// `X-Consul-Lastcontact`, milliseconds; 0 on the leader.
    pub last_contact_ms: u64,
    /// The consistency the answer was really read with.
    pub consistency: Consistency,
}
