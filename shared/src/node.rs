//! A node of the catalog: a machine, with or without an agent.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    check::Check,
    decode::Decode,
    endpoint::{self, endpoint},
    health::Health,
    page::{Page, PageQuery},
    service::Service,
};

/// A node as the catalog stores and lists it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase", default)]
pub struct Node {
    /// UUID; empty for nodes registered without one.
    #[serde(rename = "ID")]
    pub id: String,
    /// Name, unique in its datacenter without regard to case.
    #[serde(rename = "Node")]
    pub name: String,
    /// IP address or host name.
    pub address: String,
    /// Datacenter the node belongs to.
    pub datacenter: String,
    /// Addresses by purpose: `lan`, `wan`, `lan_ipv4`, ...
    #[serde(with = "crate::go::null_map")]
    pub tagged_addresses: BTreeMap<String, String>,
    /// Metadata.
    #[serde(with = "crate::go::null_map")]
    pub meta: BTreeMap<String, String>,
    /// Raft index of its first registration.
    pub create_index: u64,
    /// Raft index of its last change.
    pub modify_index: u64,
}

/// `GET /v1/muster/catalog/nodes`: one row of the node list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodeRow {
    /// The node.
    pub node: Node,
    /// Worst of the node's own checks and of its services' checks, see [`Health::of_node`].
    pub health: Health,
    /// Whether gossip knows the node (it has check `serfHealth`); `false` for external nodes.
    pub agent: bool,
    /// `server` or `client` for nodes with an agent, else empty.
    pub role: String,
    /// Version of Muster its agent runs, as gossip knows it; empty for a node without one.
    pub version: String,
    /// Service instances on the node.
    pub services: u32,
    /// Checks on the node by state.
    pub checks: crate::health::Counts,
    /// When the row's health last changed, milliseconds since 1970; 0 when not recorded.
    pub changed_at_ms: u64,
    /// Output of the worst check, one line, when it is not passing.
    pub output: String,
}

/// A node with everything on it: `GET /v1/internal/ui/node/:name`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodeDump {
    /// UUID.
    #[serde(rename = "ID")]
    pub id: String,
    /// Name.
    #[serde(rename = "Node")]
    pub name: String,
    /// IP address or host name.
    pub address: String,
    /// Addresses by purpose.
    #[serde(with = "crate::go::null_map")]
    pub tagged_addresses: BTreeMap<String, String>,
    /// Metadata.
    #[serde(with = "crate::go::null_map")]
    pub meta: BTreeMap<String, String>,
    /// Service instances on the node.
    pub services: Vec<Service>,
    /// The node's checks and those of its services.
    pub checks: Vec<Check>,
}

/// `GET /v1/muster/catalog/nodes`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListNodes {
    /// Which rows; `of` is a service name.
    pub page: PageQuery,
    /// Datacenter; empty means the agent's own.
    pub dc: String,
}

endpoint!(ListNodes: "GET" -> Page<NodeRow>, this => "muster/catalog/nodes",
    query this.page.pairs().into_iter().chain(endpoint::dc(&this.dc)).collect());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_with_null_lists_is_read() {
        let text = r#"{"Node":"n","Meta":null,"Services":[{"ID":"consul","Tags":null,"Meta":null}],"Checks":[{"CheckID":"serfHealth","ServiceTags":null}]}"#;
        let dump: NodeDump = serde_json::from_str(text).expect("as the agent answers it");
        assert_eq!((dump.services[0].tags.len(), dump.checks[0].service_tags.len(), dump.meta.len()), (0, 0, 0));
    }
}
