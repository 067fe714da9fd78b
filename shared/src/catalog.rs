//! Catalog bodies: what `/v1/catalog/*` reads and answers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    check::Check,
    decode::Decode,
    endpoint::{Read, endpoint, json, segment},
    node::Node,
    service::{Connect, Proxy, Service, ServiceAddress, Weights},
};

/// Body of `PUT /v1/catalog/register`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase", default)]
pub struct Registration {
    /// Node UUID.
    #[serde(rename = "ID")]
    pub id: String,
    /// Node name.
    pub node: String,
    /// Node address.
    pub address: String,
    /// Datacenter; empty means the agent's.
    pub datacenter: String,
    /// Node addresses by purpose.
    pub tagged_addresses: BTreeMap<String, String>,
    /// Node metadata.
    pub node_meta: BTreeMap<String, String>,
    /// A service on the node.
    pub service: Option<Service>,
    /// A check.
    pub check: Option<Check>,
    /// More checks.
    pub checks: Vec<Check>,
    /// Leave an existing node record as it is.
    pub skip_node_update: bool,
}

/// Body of `PUT /v1/catalog/deregister`: with a service id the service, with a check id the check, else the node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase", default)]
pub struct Deregistration {
    /// Node name.
    pub node: String,
    /// Datacenter; empty means the agent's.
    pub datacenter: String,
    /// Instance to remove.
    #[serde(rename = "ServiceID")]
    pub service_id: String,
    /// Check to remove.
    #[serde(rename = "CheckID")]
    pub check_id: String,
}

/// A row of `GET /v1/catalog/service/:name`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase", default)]
pub struct CatalogService {
    /// Node UUID.
    #[serde(rename = "ID")]
    pub id: String,
    /// Node name.
    pub node: String,
    /// Node address.
    pub address: String,
    /// Datacenter.
    pub datacenter: String,
    /// Node addresses by purpose.
    #[serde(with = "crate::go::null_map")]
    pub tagged_addresses: BTreeMap<String, String>,
    /// Node metadata.
    #[serde(with = "crate::go::null_map")]
    pub node_meta: BTreeMap<String, String>,
    /// Kind.
    pub service_kind: String,
    /// Instance id.
    #[serde(rename = "ServiceID")]
    pub service_id: String,
    /// Service name.
    pub service_name: String,
    /// Tags.
    pub service_tags: Vec<String>,
    /// Service address; empty means the node's.
    pub service_address: String,
    /// Addresses by purpose.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub service_tagged_addresses: BTreeMap<String, ServiceAddress>,
    /// SRV weights.
    pub service_weights: Weights,
    /// Metadata.
    pub service_meta: BTreeMap<String, String>,
    /// Port.
    pub service_port: i64,
    /// See [`Service::enable_tag_override`].
    pub service_enable_tag_override: bool,
    /// Proxy definition.
    pub service_proxy: Proxy,
    /// Mesh fields.
    pub service_connect: Connect,
    /// Raft index of its first registration.
    pub create_index: u64,
    /// Raft index of its last change.
    pub modify_index: u64,
}

/// Answer of `GET /v1/catalog/node/:name`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodeServices {
    /// The node.
    pub node: Node,
    /// Its instances by id.
    pub services: BTreeMap<String, Service>,
}

/// Answer of `GET /v1/catalog/node-services/:name`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodeServiceList {
    /// The node, if it exists.
    pub node: Option<Node>,
    /// Its instances.
    pub services: Option<Vec<Service>>,
}

/// Answer of `GET /v1/catalog/services`: tags by service name.
pub type Services = BTreeMap<String, Vec<String>>;

/// `GET /v1/catalog/nodes`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GetNodes {
    /// Where and how.
    pub read: Read,
}

endpoint!(GetNodes: "GET" -> Vec<Node>, this => "catalog/nodes", query this.read.pairs());

/// `GET /v1/catalog/services`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GetServices {
    /// Where and how.
    pub read: Read,
}

endpoint!(GetServices: "GET" -> Services, this => "catalog/services", query this.read.pairs());

/// `GET /v1/catalog/datacenters`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GetDatacenters;

endpoint!(GetDatacenters: "GET" -> Vec<String>, this => "catalog/datacenters");

/// `GET /v1/catalog/service/:name`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GetService {
    /// Service name.
    pub service: String,
    /// Tags it must all have.
    pub tags: Vec<String>,
    /// Where and how.
    pub read: Read,
}

endpoint!(GetService: "GET" -> Vec<CatalogService>, this => format!("catalog/service/{}", segment(&this.service)),
    query this.tags.iter().map(|tag| ("tag", tag.clone())).chain(this.read.pairs()).collect());

/// `GET /v1/catalog/node/:name`; `None` when there is no such node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GetNode {
    /// Node name or UUID.
    pub node: String,
    /// Where and how.
    pub read: Read,
}

endpoint!(GetNode: "GET" -> Option<NodeServices>, this => format!("catalog/node/{}", segment(&this.node)), query this.read.pairs());

/// `GET /v1/catalog/node-services/:name`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GetNodeServices {
    /// Node name or UUID.
    pub node: String,
    /// Where and how.
    pub read: Read,
}

endpoint!(GetNodeServices: "GET" -> NodeServiceList, this => format!("catalog/node-services/{}", segment(&this.node)), query this.read.pairs());

/// `PUT /v1/catalog/register`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Register {
    /// What to register.
    pub registration: Registration,
}

endpoint!(Register: "PUT" -> bool, this => "catalog/register", body json(&this.registration));

/// `PUT /v1/catalog/deregister`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Deregister {
    /// What to remove.
    pub deregistration: Deregistration,
}

endpoint!(Deregister: "PUT" -> bool, this => "catalog/deregister", body json(&this.deregistration));
