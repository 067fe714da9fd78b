//! Checks: what the catalog stores, what a registration defines, and the history Muster keeps of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    decode::Decode,
    endpoint::{self, Read, endpoint, segment},
    go,
    health::Status,
    page::{Page, PageQuery},
};

/// The check every member of the gossip pool has.
pub const SERF_HEALTH: &str = "serfHealth";
/// Id of the check that puts a node into maintenance.
pub const NODE_MAINTENANCE: &str = "_node_maintenance";
/// Prefix of the check that puts a service instance into maintenance; its id follows.
pub const SERVICE_MAINTENANCE_PREFIX: &str = "_service_maintenance:";

/// A check as the catalog stores it (`HealthCheck`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase", default)]
pub struct Check {
    /// Name of its node.
    pub node: String,
    /// Unique on its node.
    #[serde(rename = "CheckID")]
    pub id: String,
    /// Name for people.
    pub name: String,
    /// `passing`, `warning` or `critical`; any other word is stored as given.
    pub status: Status,
    /// Notes for people.
    pub notes: String,
    /// What the last run said.
    pub output: String,
    /// Instance it belongs to; empty for a node check.
    #[serde(rename = "ServiceID")]
    pub service_id: String,
    /// Name of that service.
    pub service_name: String,
    /// Tags of that service; answered as `null` in places.
    #[serde(deserialize_with = "crate::go::null_list::deserialize")]
    pub service_tags: Vec<String>,
    /// `http`, `tcp`, `ttl`, ...
    #[serde(rename = "Type")]
    pub kind: String,
    /// What it does, as far as the registration told.
    pub definition: Definition,
    /// Raft index of its first registration.
    pub create_index: u64,
    /// Raft index of its last change.
    pub modify_index: u64,
}

impl Check {
    /// Whether this check means maintenance, of the node or of a service.
    #[must_use]
    pub fn is_maintenance(&self) -> bool {
        self.id == NODE_MAINTENANCE || self.id.starts_with(SERVICE_MAINTENANCE_PREFIX)
    }

    /// Whether it is one that an agent runs, and so can run when asked: not one that is reported, mirrored, set by hand, or
    /// only written into the catalog. Whether its node has an agent is another question.
    #[must_use]
    pub fn is_runnable(&self) -> bool {
        !matches!(self.kind.as_str(), "" | "ttl" | "alias") && self.id != SERF_HEALTH && !self.is_maintenance()
    }
}

/// What a catalog check does (`HealthCheckDefinition`). Empty fields are not written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase", default)]
pub struct Definition {
    /// URL.
    #[serde(rename = "HTTP", skip_serializing_if = "String::is_empty")]
    pub http: String,
    /// Server name for TLS.
    #[serde(rename = "TLSServerName", skip_serializing_if = "String::is_empty")]
    pub tls_server_name: String,
    /// Skip certificate verification.
    #[serde(rename = "TLSSkipVerify", skip_serializing_if = "go::is_default")]
    pub tls_skip_verify: bool,
    /// Request headers.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub header: BTreeMap<String, Vec<String>>,
    /// HTTP method.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub method: String,
    /// Request body.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub body: String,
    /// `host:port`.
    #[serde(rename = "TCP", skip_serializing_if = "String::is_empty")]
    pub tcp: String,
    /// `host:port`.
    #[serde(rename = "UDP", skip_serializing_if = "String::is_empty")]
    pub udp: String,
    /// `host:port[/service]`.
    #[serde(rename = "GRPC", skip_serializing_if = "String::is_empty")]
    pub grpc: String,
    /// TLS for gRPC.
    #[serde(rename = "GRPCUseTLS", skip_serializing_if = "go::is_default")]
    pub grpc_use_tls: bool,
    /// Time between runs.
    #[serde(skip_serializing_if = "go::Duration::is_zero")]
    pub interval: go::Duration,
    /// Longest run.
    #[serde(skip_serializing_if = "go::Duration::is_zero")]
    pub timeout: go::Duration,
    /// Deregister the service after being critical for so long.
    #[serde(skip_serializing_if = "go::Duration::is_zero")]
    pub deregister_critical_service_after: go::Duration,
}

/// A check in a registration body or a configuration file (`CheckDefinition`).
///
/// Keys are read in any case, with or without underscores; see [`crate::go::decode`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase", default)]
pub struct CheckDefinition {
    /// Id; defaults to the name.
    #[serde(rename = "ID", alias = "CheckID", skip_serializing_if = "go::is_default")]
    pub id: String,
    /// Name.
    #[serde(skip_serializing_if = "go::is_default")]
    pub name: String,
    /// Notes for people.
    #[serde(skip_serializing_if = "go::is_default")]
    pub notes: String,
    /// Instance it belongs to; empty for a node check.
    #[serde(rename = "ServiceID", skip_serializing_if = "go::is_default")]
    pub service_id: String,
    /// Token used when the agent syncs the check.
    #[serde(skip_serializing_if = "go::is_default")]
    pub token: String,
    /// First status.
    #[serde(skip_serializing_if = "go::is_default")]
    pub status: String,
    /// Program and arguments.
    #[serde(alias = "ScriptArgs", skip_serializing_if = "go::is_default")]
    pub args: Vec<String>,
    /// URL.
    #[serde(rename = "HTTP", skip_serializing_if = "go::is_default")]
    pub http: String,
    /// Request headers.
    #[serde(skip_serializing_if = "go::is_default")]
    pub header: BTreeMap<String, Vec<String>>,
    /// HTTP method.
    #[serde(skip_serializing_if = "go::is_default")]
    pub method: String,
    /// Request body.
    #[serde(skip_serializing_if = "go::is_default")]
    pub body: String,
    /// Do not follow redirects.
    #[serde(skip_serializing_if = "go::is_default")]
    pub disable_redirects: bool,
    /// `host:port`.
    #[serde(rename = "TCP", skip_serializing_if = "go::is_default")]
    pub tcp: String,
    /// TLS for the TCP check.
    #[serde(rename = "TCPUseTLS", skip_serializing_if = "go::is_default")]
    pub tcp_use_tls: bool,
    /// `host:port`.
    #[serde(rename = "UDP", skip_serializing_if = "go::is_default")]
    pub udp: String,
    /// `host:port[/service]`.
    #[serde(rename = "GRPC", skip_serializing_if = "go::is_default")]
    pub grpc: String,
    /// TLS for gRPC.
    #[serde(rename = "GRPCUseTLS", skip_serializing_if = "go::is_default")]
    pub grpc_use_tls: bool,
    /// `host:port`.
    #[serde(rename = "H2PING", skip_serializing_if = "go::is_default")]
    pub h2ping: String,
    /// TLS for the HTTP/2 ping; on unless told otherwise.
    #[serde(rename = "H2PingUseTLS", skip_serializing_if = "Option::is_none")]
    pub h2ping_use_tls: Option<bool>,
    /// Server name for TLS.
    #[serde(rename = "TLSServerName", skip_serializing_if = "go::is_default")]
    pub tls_server_name: String,
    /// Skip certificate verification.
    #[serde(rename = "TLSSkipVerify", skip_serializing_if = "go::is_default")]
    pub tls_skip_verify: bool,
    /// Container to run the script in.
    #[serde(rename = "DockerContainerID", skip_serializing_if = "go::is_default")]
    pub docker_container_id: String,
    /// Shell for that.
    #[serde(skip_serializing_if = "go::is_default")]
    pub shell: String,
    /// Operating system service.
    #[serde(rename = "OSService", skip_serializing_if = "go::is_default")]
    pub os_service: String,
    /// Node to follow.
    #[serde(skip_serializing_if = "go::is_default")]
    pub alias_node: String,
    /// Instance to follow.
    #[serde(skip_serializing_if = "go::is_default")]
    pub alias_service: String,
    /// How long a report stays valid.
    #[serde(rename = "TTL", skip_serializing_if = "go::is_default")]
    pub ttl: go::Duration,
    /// Time between runs.
    #[serde(skip_serializing_if = "go::is_default")]
    pub interval: go::Duration,
    /// Longest run.
    #[serde(skip_serializing_if = "go::is_default")]
    pub timeout: go::Duration,
    /// Successes in a row needed to leave critical.
    #[serde(skip_serializing_if = "go::is_default")]
    pub success_before_passing: i64,
    /// Failures in a row needed to show warning.
    #[serde(skip_serializing_if = "go::is_default")]
    pub failures_before_warning: i64,
    /// Failures in a row needed to become critical.
    #[serde(skip_serializing_if = "go::is_default")]
    pub failures_before_critical: i64,
    /// Deregister the service after being critical for so long.
    #[serde(skip_serializing_if = "go::is_default")]
    pub deregister_critical_service_after: go::Duration,
    /// Output kept, bytes; absent means 4096.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_max_size: Option<i64>,
}

/// One recorded change of a check's status.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase", default)]
pub struct Transition {
    /// When the agent saw it, milliseconds since 1970.
    pub at_ms: u64,
    /// Status before; empty for the first.
    pub from: Status,
    /// Status after; empty when the check was deregistered.
    pub to: Status,
    /// Output of the run that changed it.
    pub output: String,
    /// How long that run took, milliseconds; 0 when it was not a run.
    pub duration_ms: u64,
    /// Raft index of the change.
    pub index: u64,
}

/// `GET /v1/muster/check/history/:node/:id`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase", default)]
pub struct History {
    /// Node name.
    pub node: String,
    /// Check id.
    #[serde(rename = "CheckID")]
    pub check_id: String,
    /// Name of its service, empty for a node check.
    pub service_name: String,
    /// Oldest first.
    pub transitions: Vec<Transition>,
    /// When recording of this check began, milliseconds since 1970: before it nothing is known.
    pub since_ms: u64,
}

/// The outcome of a run: `PUT /v1/agent/check/run/:id`, `PUT /v1/muster/check/run/:node/:id`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase", default)]
pub struct Run {
    /// Node that ran it.
    pub node: String,
    /// Check id.
    #[serde(rename = "CheckID")]
    pub check_id: String,
    /// What this run found.
    pub result: Status,
    /// The check's status after it, thresholds applied.
    pub status: Status,
    /// What the run said.
    pub output: String,
    /// When it started, milliseconds since 1970.
    pub started_at_ms: u64,
    /// How long it took, milliseconds.
    pub duration_ms: u64,
}

/// `GET /v1/muster/check/status/:node/:id`: what only the owning agent knows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase", default)]
pub struct CheckStatus {
    /// Node that owns it.
    pub node: String,
    /// Check id.
    #[serde(rename = "CheckID")]
    pub check_id: String,
    /// `http`, `tcp`, ...
    #[serde(rename = "Type")]
    pub kind: String,
    /// Current status.
    pub status: Status,
    /// What it does, as registered (tokens left out).
    pub definition: CheckDefinition,
    /// Whether it can be run now.
    pub runnable: bool,
    /// Why not, when it cannot.
    pub reason: String,
    /// Last run, if there was one.
    pub last_run: Option<Run>,
    /// When the next run starts, milliseconds since 1970; 0 when none is planned.
    pub next_run_at_ms: u64,
    /// Runs in a row that found the same result.
    pub runs_in_a_row: u64,
    /// Whether a run is under way.
    pub running: bool,
}

/// `GET /v1/muster/catalog/checks`: one row of the check list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase", default)]
pub struct CheckRow {
    /// The check.
    pub check: Check,
    /// When its status last changed, milliseconds since 1970; 0 when not recorded.
    pub changed_at_ms: u64,
    /// Transitions recorded in the last hour.
    pub changes_last_hour: u32,
}

/// `GET /v1/muster/check/history/:node[/:id]` or `?service=`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GetHistory {
    /// Node name; empty for all nodes of the service.
    pub node: String,
    /// Check id; empty for all.
    pub id: String,
    /// Service name; empty for all.
    pub service: String,
    /// Where and how.
    pub read: Read,
}

endpoint!(GetHistory: "GET" -> Vec<History>, this => match (this.node.as_str(), this.id.as_str()) {
    ("", _) => "muster/check/history".to_owned(),
    (node, "") => format!("muster/check/history/{}", segment(node)),
    (node, id) => format!("muster/check/history/{}/{}", segment(node), segment(id)),
}, query endpoint::optional("service", &this.service).into_iter().chain(this.read.pairs()).collect());

/// `GET /v1/muster/check/status/:node/:id`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GetStatus {
    /// Node name.
    pub node: String,
    /// Check id.
    pub id: String,
}

endpoint!(GetStatus: "GET" -> CheckStatus, this => format!("muster/check/status/{}/{}", segment(&this.node), segment(&this.id)));

/// `PUT /v1/muster/check/run/:node/:id`, or without a node `PUT /v1/agent/check/run/:id`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunNow {
    /// Node that owns it; empty means the agent that is asked.
    pub node: String,
    /// Check id.
    pub id: String,
}

endpoint!(RunNow: "PUT" -> Run, this => if this.node.is_empty() {
    format!("agent/check/run/{}", segment(&this.id))
} else {
    format!("muster/check/run/{}/{}", segment(&this.node), segment(&this.id))
});

/// `GET /v1/muster/catalog/checks`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListChecks {
    /// Which rows; `of` is a service name.
    pub page: PageQuery,
    /// Datacenter; empty means the agent's own.
    pub dc: String,
}

endpoint!(ListChecks: "GET" -> Page<CheckRow>, this => "muster/catalog/checks",
    query this.page.pairs().into_iter().chain(endpoint::dc(&this.dc)).collect());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_checks_an_agent_runs_by_itself_can_be_run() {
        let check = |kind: &str, id: &str| Check { kind: kind.to_owned(), id: id.to_owned(), ..Check::default() };
        let cases = [
            ("http", "c", true),
            ("tcp", "c", true),
            ("ttl", "c", false),
            ("alias", "c", false),
            ("", "serfHealth", false),
            ("", "written by hand", false),
            ("http", "_node_maintenance", false),
            ("", "_service_maintenance:web", false),
        ];
        for (kind, id, expected) in cases {
            assert_eq!(check(kind, id).is_runnable(), expected, "{kind} {id}");
        }
    }
}
