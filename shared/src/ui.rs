//! `/v1/internal/ui/*`: what Consul's own UI reads, kept for tools that use it, and the overview's counts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    decode::Decode,
    endpoint::{Read, endpoint, segment},
    go,
    health::Counts,
    node::NodeDump,
};

/// A row of `GET /v1/internal/ui/services`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase", default)]
pub struct ServiceSummary {
    /// Kind.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Service name.
    pub name: String,
    /// Datacenter.
    pub datacenter: String,
    /// Union of the tags.
    #[serde(with = "crate::go::null_list")]
    pub tags: Vec<String>,
    /// Node names.
    pub nodes: Vec<String>,
    /// Instances.
    pub instance_count: u32,
    /// Checks that pass, node checks included.
    pub checks_passing: u32,
    /// Checks that warn.
    pub checks_warning: u32,
    /// Checks that are critical.
    pub checks_critical: u32,
    /// Values of meta `external-source`.
    #[serde(with = "crate::go::null_list")]
    pub external_sources: Vec<String>,
    /// Gateway details: always empty here.
    pub gateway_config: BTreeMap<String, String>,
    /// Has a mesh proxy.
    #[serde(skip_serializing_if = "go::is_default")]
    pub connected_with_proxy: bool,
}

/// `GET /v1/muster/overview`: the first screen's numbers, one read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase", default)]
pub struct Overview {
    /// Services by state.
    pub services: Counts,
    /// Instances by state.
    pub instances: Counts,
    /// Nodes by state.
    pub nodes: Counts,
    /// Checks by state.
    pub checks: Counts,
    /// Keys.
    pub keys: u64,
    /// Check transitions recorded in the last hour.
    pub changes_last_hour: u32,
    /// Every service as one mark, grouped; groups by name, services worst first.
    pub groups: Vec<Group>,
    /// Latest check transitions, newest first, at most 20.
    pub recent: Vec<Recent>,
    /// The server's clock, milliseconds since 1970.
    pub now_ms: u64,
}

/// One group of services on the overview.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase", default)]
pub struct Group {
    /// Name; empty for services without one.
    pub name: String,
    /// The services' states in name order, one character each: `p` passing, `w` warning, `c` critical,
    /// `m` maintenance, `n` no checks.
    pub marks: String,
    /// Names of the services that are not passing, with their place in `marks`.
    pub named: Vec<(u32, String)>,
}

/// A recent transition of some check.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase", default)]
pub struct Recent {
    /// Node name.
    pub node: String,
    /// Check id.
    #[serde(rename = "CheckID")]
    pub check_id: String,
    /// Check name.
    pub check_name: String,
    /// Service name, empty for a node check.
    pub service_name: String,
    /// What happened.
    pub transition: crate::check::Transition,
}

/// One row of [`CatalogOverview`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase", default)]
pub struct Tally {
    /// What is counted; empty for checks and nodes.
    pub name: String,
    /// All of them.
    pub total: u32,
    /// Passing.
    pub passing: u32,
    /// Warning.
    pub warning: u32,
    /// Critical.
    pub critical: u32,
}

/// `GET /v1/internal/ui/catalog-overview`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase", default)]
pub struct CatalogOverview {
    /// Nodes by state.
    pub nodes: Vec<Tally>,
    /// Service instances by state, one row a service.
    pub services: Vec<Tally>,
    /// Checks by state, one row a check name.
    pub checks: Vec<Tally>,
}

/// `GET /v1/muster/overview`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GetOverview {
    /// Where and how.
    pub read: Read,
}

endpoint!(GetOverview: "GET" -> Overview, this => "muster/overview", query this.read.pairs());

/// `GET /v1/internal/ui/services`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GetServices {
    /// Where and how.
    pub read: Read,
}

endpoint!(GetServices: "GET" -> Vec<ServiceSummary>, this => "internal/ui/services", query this.read.pairs());

/// `GET /v1/internal/ui/nodes`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GetNodes {
    /// Where and how.
    pub read: Read,
}

endpoint!(GetNodes: "GET" -> Vec<NodeDump>, this => "internal/ui/nodes", query this.read.pairs());

/// `GET /v1/internal/ui/node/:name`; status 404 when there is none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GetNode {
    /// Node name.
    pub node: String,
    /// Where and how.
    pub read: Read,
}

endpoint!(GetNode: "GET" -> NodeDump, this => format!("internal/ui/node/{}", segment(&this.node)), query this.read.pairs());

/// `GET /v1/internal/ui/catalog-overview`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GetCatalogOverview {
    /// Where and how.
    pub read: Read,
}

endpoint!(GetCatalogOverview: "GET" -> CatalogOverview, this => "internal/ui/catalog-overview", query this.read.pairs());
