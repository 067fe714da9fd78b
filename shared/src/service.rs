//! A service instance, as the catalog and the agent hold it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    decode::Decode,
    endpoint::{self, endpoint},
    go,
    health::{Counts, Health},
    page::{Page, PageQuery},
};

/// An address and port for one purpose.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase", default)]
pub struct ServiceAddress {
    /// IP address or host name.
    pub address: String,
    /// Port.
    pub port: i64,
}

/// DNS SRV weights. Left out they are 1 and 1; in an object that is given, what is left out is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase")]
pub struct Weights {
    /// Weight while all checks pass, 1 to 65535.
    #[serde(default)]
    pub passing: i64,
    /// Weight while any check warns, 0 to 65535.
    #[serde(default)]
    pub warning: i64,
}

impl Default for Weights {
    fn default() -> Self {
        Self { passing: 1, warning: 1 }
    }
}

/// Mesh fields are carried and echoed, not acted on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase", default)]
pub struct Connect {
    /// The service speaks mesh TLS itself.
    #[serde(skip_serializing_if = "go::is_default")]
    pub native: bool,
    /// A sidecar definition, as sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sidecar_service: Option<serde_json::Value>,
}

/// A proxy's definition: the fields Muster reads, the rest as sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase", default)]
pub struct Proxy {
    /// Service the proxy stands for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub destination_service_name: String,
    /// Instance the proxy stands for.
    #[serde(rename = "DestinationServiceID", skip_serializing_if = "String::is_empty")]
    pub destination_service_id: String,
    /// Where the local service listens.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub local_service_address: String,
    /// Its port.
    #[serde(skip_serializing_if = "go::is_default")]
    pub local_service_port: i64,
    /// Gateway mode, as sent.
    pub mesh_gateway: serde_json::Value,
    /// Exposed paths, as sent.
    pub expose: serde_json::Value,
    /// Opaque configuration, as sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<serde_json::Value>,
    /// Upstreams, as sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstreams: Option<serde_json::Value>,
}

impl Default for Proxy {
    /// No proxy: what has no fields is still written as an object.
    fn default() -> Self {
        let empty = || serde_json::Value::Object(serde_json::Map::new());
        Self {
            destination_service_name: String::new(),
            destination_service_id: String::new(),
            local_service_address: String::new(),
            local_service_port: 0,
            mesh_gateway: empty(),
            expose: empty(),
            config: None,
            upstreams: None,
        }
    }
}

/// A service instance on a node, as the catalog stores it (`NodeService`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase", default)]
pub struct Service {
    /// `connect-proxy`, `mesh-gateway`, ...; empty for an ordinary service.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Unique on its node.
    #[serde(rename = "ID")]
    pub id: String,
    /// Service name.
    #[serde(rename = "Service")]
    pub name: String,
    /// Tags, in the order given; a service without any is answered as `null` in places.
    #[serde(deserialize_with = "crate::go::null_list::deserialize")]
    pub tags: Vec<String>,
    /// Address; empty means the node's.
    pub address: String,
    /// Addresses by purpose.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tagged_addresses: BTreeMap<String, ServiceAddress>,
    /// Metadata.
    #[serde(with = "crate::go::null_map")]
    pub meta: BTreeMap<String, String>,
    /// Port; 0 when it has none.
    pub port: i64,
    /// SRV weights.
    pub weights: Weights,
    /// Tags may be changed in the catalog behind the agent's back.
    pub enable_tag_override: bool,
    /// Proxy definition.
    pub proxy: Proxy,
    /// Mesh fields.
    pub connect: Connect,
    /// Raft index of its first registration.
    pub create_index: u64,
    /// Raft index of its last change.
    pub modify_index: u64,
}

/// A stretch of a service's or check's recent past, for the trace in a list row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase")]
pub struct TracePoint {
    /// When this state began, milliseconds since 1970.
    pub at_ms: u64,
    /// The state from then on.
    pub health: Health,
}

/// `GET /v1/muster/catalog/services`: one row of the service list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase", default)]
pub struct ServiceRow {
    /// Service name.
    pub name: String,
    /// Kind, empty for an ordinary service.
    pub kind: String,
    /// Union of the instances' tags, sorted.
    pub tags: Vec<String>,
    /// Worst of its instances.
    pub health: Health,
    /// Instances by state.
    pub instances: Counts,
    /// Checks by state (node checks included).
    pub checks: Counts,
    /// Number of distinct nodes.
    pub nodes: u32,
    /// When `health` last changed, milliseconds since 1970; 0 when not recorded.
    pub changed_at_ms: u64,
    /// Who registered it: meta `external-source`, else empty.
    pub source: String,
    /// Meta `group`, else `team`, else the first tag, else empty.
    pub group: String,
    /// Output of the worst check, one line, when the service is not passing.
    pub output: String,
    /// Whether some agent can run at least one of its checks when asked.
    pub runnable: bool,
    /// The last hour's states, oldest first; the first point may lie before the hour.
    pub trace: Vec<TracePoint>,
}

/// `GET /v1/muster/catalog/services`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListServices {
    /// Which rows; `of` is a group.
    pub page: PageQuery,
    /// Datacenter; empty means the agent's own.
    pub dc: String,
}

endpoint!(ListServices: "GET" -> Page<ServiceRow>, this => "muster/catalog/services",
    query this.page.pairs().into_iter().chain(endpoint::dc(&this.dc)).collect());
