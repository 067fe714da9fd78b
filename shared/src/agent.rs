//! Agent bodies: what `/v1/agent/*` reads and answers.

use std::{collections::BTreeMap, net::SocketAddr};

use serde::{Deserialize, Serialize};

use crate::{
    check::CheckDefinition,
    decode::Decode,
    endpoint::{self, endpoint, json, segment},
    go,
    health::{Health, Status},
    service::{Connect, Proxy, ServiceAddress, Weights},
};

/// Body of `PUT /v1/agent/service/register`, and `service` in a configuration file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase", default)]
pub struct ServiceRegistration {
    /// Kind.
    #[serde(skip_serializing_if = "go::is_default")]
    pub kind: String,
    /// Id; defaults to the name.
    #[serde(rename = "ID", skip_serializing_if = "go::is_default")]
    pub id: String,
    /// Name.
    pub name: String,
    /// Tags.
    #[serde(skip_serializing_if = "go::is_default")]
    pub tags: Vec<String>,
    /// Port.
    #[serde(skip_serializing_if = "go::is_default")]
    pub port: i64,
    /// Address; empty means the node's.
    #[serde(skip_serializing_if = "go::is_default")]
    pub address: String,
    /// Addresses by purpose.
    #[serde(skip_serializing_if = "go::is_default")]
    pub tagged_addresses: BTreeMap<String, ServiceAddress>,
    /// Metadata.
    #[serde(skip_serializing_if = "go::is_default")]
    pub meta: BTreeMap<String, String>,
    /// SRV weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<Weights>,
    /// Token used when the agent syncs the service.
    #[serde(skip_serializing_if = "go::is_default")]
    pub token: String,
    /// Tags may be changed in the catalog.
    #[serde(skip_serializing_if = "go::is_default")]
    pub enable_tag_override: bool,
    /// A check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check: Option<CheckDefinition>,
    /// More checks.
    #[serde(skip_serializing_if = "go::is_default")]
    pub checks: Vec<CheckDefinition>,
    /// Proxy definition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Proxy>,
    /// Mesh fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect: Option<Connect>,
}

/// A service the agent holds: values of `GET /v1/agent/services`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase", default)]
pub struct AgentService {
    /// Kind.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Id.
    #[serde(rename = "ID")]
    pub id: String,
    /// Name.
    #[serde(rename = "Service")]
    pub name: String,
    /// Tags.
    pub tags: Vec<String>,
    /// Metadata.
    pub meta: BTreeMap<String, String>,
    /// Port.
    pub port: i64,
    /// Address.
    pub address: String,
    /// Addresses by purpose.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tagged_addresses: BTreeMap<String, ServiceAddress>,
    /// SRV weights.
    pub weights: Weights,
    /// Tags may be changed in the catalog.
    pub enable_tag_override: bool,
    /// Hash of the definition, only for a single service.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub content_hash: String,
    /// Proxy definition, only for proxies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Proxy>,
    /// Mesh fields, when set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect: Option<Connect>,
    /// Datacenter.
    pub datacenter: String,
}

/// A check the agent holds: values of `GET /v1/agent/checks`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase", default)]
pub struct AgentCheck {
    /// Node name.
    pub node: String,
    /// Id.
    #[serde(rename = "CheckID")]
    pub id: String,
    /// Name.
    pub name: String,
    /// Status.
    pub status: Status,
    /// Notes.
    pub notes: String,
    /// Output of the last run.
    pub output: String,
    /// Its instance, empty for a node check.
    #[serde(rename = "ServiceID")]
    pub service_id: String,
    /// Name of that service.
    pub service_name: String,
    /// Tags of that service.
    pub service_tags: Vec<String>,
    /// `http`, `tcp`, ...
    #[serde(rename = "Type")]
    pub kind: String,
    /// Always empty here; the definition is at `/v1/muster/check/status`.
    pub definition: BTreeMap<String, String>,
    /// Always 0 here.
    pub create_index: u64,
    /// Always 0 here.
    pub modify_index: u64,
}

/// Answer of `GET /v1/agent/health/service/id/:id`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase", default)]
pub struct ServiceHealth {
    /// `passing`, `warning`, `critical` or `maintenance`.
    pub aggregated_status: String,
    /// The service.
    pub service: Option<AgentService>,
    /// Its checks and the node's.
    pub checks: Option<Vec<AgentCheck>>,
}

impl ServiceHealth {
    /// The word for a health: no checks count as passing.
    #[must_use]
    pub fn word(health: Health) -> &'static str {
        match health {
            Health::None => "passing",
            other => other.as_str(),
        }
    }
}

/// The tag by which a server tells the others why its disk failed: Raft says nothing any more then. Not there while all is well.
pub const FAILURE_TAG: &str = "failure";

/// Values of [`Member::status`].
pub mod status {
    /// Answers, or is believed to.
    pub const ALIVE: u8 = 1;
    /// Has said that it goes.
    pub const LEAVING: u8 = 2;
    /// Has gone as it said.
    pub const LEFT: u8 = 3;
    /// Answers no more.
    pub const FAILED: u8 = 4;

    /// As people and Consul's texts say it; `none` for any other number.
    #[must_use]
    pub fn word(status: u8) -> &'static str {
        match status {
            ALIVE => "alive",
            LEAVING => "leaving",
            LEFT => "left",
            FAILED => "failed",
            _ => "none",
        }
    }
}

/// A member of the gossip pool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase", default)]
pub struct Member {
    /// Name.
    pub name: String,
    /// IP address.
    pub addr: String,
    /// Gossip port.
    pub port: u16,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// One of [`status`]; 0 for none.
    pub status: u8,
    /// Lowest gossip protocol understood.
    pub protocol_min: u8,
    /// Highest gossip protocol understood.
    pub protocol_max: u8,
    /// Gossip protocol in use.
    pub protocol_cur: u8,
    /// Lowest delegate protocol understood.
    pub delegate_min: u8,
    /// Highest delegate protocol understood.
    pub delegate_max: u8,
    /// Delegate protocol in use.
    pub delegate_cur: u8,
}

impl Member {
    /// What a tag says.
    #[must_use]
    pub fn tag(&self, name: &str) -> Option<&str> {
        self.tags.get(name).map(String::as_str)
    }

    /// Whether it is a server, of whatever datacenter.
    #[must_use]
    pub fn is_server(&self) -> bool {
        self.tag("role") == Some("consul")
    }

    /// Whether it is a server of this datacenter.
    #[must_use]
    pub fn serves(&self, datacenter: &str) -> bool {
        self.is_server() && self.tag("dc") == Some(datacenter)
    }

    /// Where a server is called: the member's address with the port of its tags.
    #[must_use]
    pub fn rpc_address(&self) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.addr.parse().ok()?, self.tag("port")?.parse().ok()?))
    }
}

/// A network coordinate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase", default)]
pub struct Coordinate {
    /// Place in 8 dimensions, seconds.
    pub vec: Vec<f64>,
    /// Confidence, lower is better.
    pub error: f64,
    /// Adjustment, seconds.
    pub adjustment: f64,
    /// Height above the plane, seconds.
    pub height: f64,
}

/// Answer of `GET /v1/agent/self`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase", default)]
pub struct Info {
    /// The configuration clients read.
    pub config: serde_json::Value,
    /// The whole effective configuration, secrets hidden.
    pub debug_config: serde_json::Value,
    /// This agent's coordinate.
    pub coord: Option<Coordinate>,
    /// This agent as a member.
    pub member: Member,
    /// Statistics by section.
    pub stats: BTreeMap<String, BTreeMap<String, String>>,
    /// Node metadata.
    pub meta: BTreeMap<String, String>,
}

/// Body of `PUT /v1/agent/check/update/:id`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase", default)]
pub struct CheckUpdate {
    /// `passing`, `warning` or `critical`.
    pub status: String,
    /// Output.
    pub output: String,
}

/// `GET /v1/agent/self`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GetSelf;

endpoint!(GetSelf: "GET" -> Info, this => "agent/self");

/// `GET /v1/agent/members`; `None` for the WAN pool on a client.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GetMembers {
    /// The WAN pool.
    pub wan: bool,
    /// Network segment; empty for all.
    pub segment: String,
}

endpoint!(GetMembers: "GET" -> Option<Vec<Member>>, this => "agent/members", query
    [endpoint::optional("wan", if this.wan { "1" } else { "" }), endpoint::optional("segment", &this.segment)].concat());

/// `GET /v1/agent/services`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GetServices {
    /// Node whose agent does it; empty means the agent that is asked.
    pub node: String,
    /// Filter expression; empty keeps all. Only on the agent that is asked.
    pub filter: String,
}

endpoint!(GetServices: "GET" -> BTreeMap<String, AgentService>, this => at(&this.node, "services"), query endpoint::optional("filter", &this.filter));

/// `GET /v1/agent/service/:id`; status 404 when there is none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GetService {
    /// Instance id.
    pub id: String,
}

endpoint!(GetService: "GET" -> AgentService, this => format!("agent/service/{}", segment(&this.id)));

/// `GET /v1/agent/checks`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GetChecks {
    /// Filter expression; empty keeps all.
    pub filter: String,
}

endpoint!(GetChecks: "GET" -> BTreeMap<String, AgentCheck>, this => "agent/checks", query endpoint::optional("filter", &this.filter));

/// `PUT /v1/agent/service/register`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RegisterService {
    /// Node whose agent does it; empty means the agent that is asked.
    pub node: String,
    /// What to register.
    pub registration: ServiceRegistration,
    /// Remove the checks of the service that are not in the registration.
    pub replace_existing_checks: bool,
}

endpoint!(RegisterService: "PUT" -> (), this => at(&this.node, "service/register"),
    query if this.replace_existing_checks { vec![("replace-existing-checks", "true".to_owned())] } else { Vec::new() },
    body json(&this.registration));

/// `PUT /v1/agent/service/deregister/:id`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeregisterService {
    /// Node whose agent does it; empty means the agent that is asked.
    pub node: String,
    /// Instance id.
    pub id: String,
}

endpoint!(DeregisterService: "PUT" -> (), this => at(&this.node, &format!("service/deregister/{}", segment(&this.id))));

/// `PUT /v1/agent/service/maintenance/:id`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SetServiceMaintenance {
    /// Node whose agent does it; empty means the agent that is asked.
    pub node: String,
    /// Instance id.
    pub id: String,
    /// On or off.
    pub enable: bool,
    /// Why, for people.
    pub reason: String,
}

endpoint!(SetServiceMaintenance: "PUT" -> (), this => at(&this.node, &format!("service/maintenance/{}", segment(&this.id))),
    query maintenance(this.enable, &this.reason));

/// `PUT /v1/agent/maintenance`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SetNodeMaintenance {
    /// Node whose agent does it; empty means the agent that is asked.
    pub node: String,
    /// On or off.
    pub enable: bool,
    /// Why, for people.
    pub reason: String,
}

endpoint!(SetNodeMaintenance: "PUT" -> (), this => at(&this.node, "maintenance"), query maintenance(this.enable, &this.reason));

/// `PUT /v1/agent/check/register`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RegisterCheck {
    /// What to register.
    pub definition: CheckDefinition,
}

endpoint!(RegisterCheck: "PUT" -> (), this => "agent/check/register", body json(&this.definition));

/// `PUT /v1/agent/check/deregister/:id`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeregisterCheck {
    /// Check id.
    pub id: String,
}

endpoint!(DeregisterCheck: "PUT" -> (), this => format!("agent/check/deregister/{}", segment(&this.id)));

/// `PUT /v1/agent/check/update/:id`: reports on a TTL check.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UpdateCheck {
    /// Check id.
    pub id: String,
    /// The report.
    pub update: CheckUpdate,
}

endpoint!(UpdateCheck: "PUT" -> (), this => format!("agent/check/update/{}", segment(&this.id)), body json(&this.update));

/// `PUT /v1/agent/join/:address`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Join {
    /// Address, with or without port.
    pub address: String,
    /// Into the WAN pool.
    pub wan: bool,
}

endpoint!(Join: "PUT" -> (), this => format!("agent/join/{}", segment(&this.address)),
    query if this.wan { vec![("wan", "1".to_owned())] } else { Vec::new() });

/// `PUT /v1/agent/leave`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Leave;

endpoint!(Leave: "PUT" -> (), this => "agent/leave");

/// `PUT /v1/agent/force-leave/:node`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ForceLeave {
    /// Node name.
    pub node: String,
    /// Also forget it.
    pub prune: bool,
}

endpoint!(ForceLeave: "PUT" -> (), this => format!("agent/force-leave/{}", segment(&this.node)),
    query if this.prune { vec![("prune", String::new())] } else { Vec::new() });

/// `PUT /v1/agent/reload`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reload;

endpoint!(Reload: "PUT" -> (), this => "agent/reload");

/// A call to the agent that is asked, or through it to another node's.
fn at(node: &str, call: &str) -> String {
    if node.is_empty() { format!("agent/{call}") } else { format!("muster/agent/{}/{call}", segment(node)) }
}

fn maintenance(enable: bool, reason: &str) -> Vec<(&'static str, String)> {
    let mut pairs = vec![("enable", enable.to_string())];
    pairs.extend(endpoint::optional("reason", reason));
    pairs
}
