//! Every call there is: its parameters, its reply, and the two enums that carry them between agents.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use shared::{agent, catalog, check, gossip, health, kv, node, operator, page, raft, service, snapshot, ui};

/// How long a node's agent may take for a call. A check whose timeout is longer goes on after that: its status tells how it ended.
pub(super) const AGENT_CALL: Duration = Duration::from_secs(90);

/// Ties a call's parameters to its reply's type.
pub trait TypedOperation: Into<Operation> {
    /// What the call answers.
    type Reply;
    /// Takes the reply out of its envelope; `None` when the handler answered something else.
    fn unwrap(reply: OperationReply) -> Option<Self::Reply>;
}

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident $fields:tt -> $reply:ty;)*) => {
        $($(#[$doc])* #[derive(Clone, Debug, Serialize, Deserialize)] pub struct $name $fields)*

        /// A call's parameters, as carried between agents.
        #[allow(clippy::large_enum_variant, reason = "one at a time, and a registration is the one to be quick")]
        #[derive(Clone, Debug, Serialize, Deserialize)]
        pub enum Operation { $($(#[$doc])* $name($name),)* }

        /// A call's reply, as carried between agents.
        #[allow(clippy::large_enum_variant, reason = "one at a time")]
        #[derive(Clone, Debug, Serialize, Deserialize)]
        pub enum OperationReply { $($(#[$doc])* $name($reply),)* }

        impl Operation {
            /// What a caller may name.
            pub(super) const NAMES: &[&str] = &[$(stringify!($name)),*];
        }

        $(
            impl From<$name> for Operation { fn from(value: $name) -> Self { Self::$name(value) } }
            impl TypedOperation for $name {
                type Reply = $reply;
                fn unwrap(reply: OperationReply) -> Option<$reply> {
                    match reply { OperationReply::$name(value) => Some(value), _ => None }
                }
            }
        )*
    };
}

operations! {
    /// Address of the leader's RPC listener, `ip:port`; empty when nobody leads.
    Leader {} -> String;
    /// Addresses of all servers' RPC listeners.
    Peers {} -> Vec<String>;

    /// `PUT /v1/catalog/register`.
    Register {
        #[doc = "What to register."] pub registration: catalog::Registration,
        #[doc = "Transitions since the agent's last sync, by check id, oldest first; empty lets the store record what changed."]
        #[serde(default)] pub transitions: Vec<(String, check::Transition)>
    } -> ();
    /// `PUT /v1/catalog/deregister`.
    Deregister { #[doc = "What to remove."] pub deregistration: catalog::Deregistration } -> ();
    /// `GET /v1/catalog/datacenters`.
    Datacenters {} -> Vec<String>;
    /// `GET /v1/catalog/nodes`.
    Nodes {} -> Vec<node::Node>;
    /// `GET /v1/catalog/services`.
    Services {} -> catalog::Services;
    /// `GET /v1/catalog/service/:name`: rows in the order of [`HealthServiceNodes`].
    CatalogServiceNodes { #[doc = "Service name."] pub service: String, #[doc = "Tags it must all have."] pub tags: Vec<String> } -> Vec<catalog::CatalogService>;
    /// `GET /v1/catalog/node/:name` and `node-services`; `None` when there is no such node.
    NodeServices { #[doc = "Node name or UUID."] pub node: String } -> Option<catalog::NodeServices>;

    /// `GET /v1/health/node/:name`.
    NodeChecks { #[doc = "Node name."] pub node: String } -> Vec<check::Check>;
    /// `GET /v1/health/checks/:service`.
    ServiceChecks { #[doc = "Service name."] pub service: String } -> Vec<check::Check>;
    /// `GET /v1/health/service/:name` and every DNS service answer. Shared, because an unchanged answer is kept.
    HealthServiceNodes {
        #[doc = "Service name."] pub service: String,
        #[doc = "Tags it must all have."] pub tags: Vec<String>,
        #[doc = "Only instances whose every check passes."] pub passing: bool
    } -> Arc<Vec<health::ServiceNode>>;
    /// `GET /v1/health/state/:state`.
    Checks { #[doc = "A status word or `any`."] pub state: String } -> Vec<check::Check>;

    /// `GET /v1/kv/:key`.
    KvGet { #[doc = "The key."] pub key: String } -> Option<kv::Entry>;
    /// `GET /v1/kv/:prefix?recurse`.
    KvList { #[doc = "The prefix."] pub prefix: String } -> Vec<kv::Entry>;
    /// `GET /v1/kv/:prefix?keys`.
    KvKeys { #[doc = "The prefix."] pub prefix: String, #[doc = "Cut after the first of these past the prefix; empty does not cut."] pub separator: String } -> Vec<String>;
    /// `PUT` and `DELETE /v1/kv/:key`: whether it was done.
    KvWrite { #[doc = "The write."] pub write: kv::Write } -> bool;

    /// `GET /v1/internal/ui/nodes` and `node/:name` (one or none).
    UiNodes { #[doc = "Only this node; empty means all."] pub node: String } -> Vec<node::NodeDump>;
    /// `GET /v1/internal/ui/services`.
    UiServices {} -> Vec<ui::ServiceSummary>;

    /// `GET /v1/muster/overview`.
    Overview {} -> ui::Overview;
    /// `GET /v1/muster/catalog/services`.
    ListServices { #[doc = "Which rows."] pub page: page::PageQuery } -> page::Page<service::ServiceRow>;
    /// `GET /v1/muster/catalog/nodes`.
    ListNodes { #[doc = "Which rows."] pub page: page::PageQuery } -> page::Page<node::NodeRow>;
    /// `GET /v1/muster/catalog/checks`.
    ListChecks { #[doc = "Which rows; `of` is a service name."] pub page: page::PageQuery } -> page::Page<check::CheckRow>;
    /// `GET /v1/muster/check/history/:node/:id`; with an empty check id all checks of the node, with `service` those of a service.
    CheckHistory {
        #[doc = "Node name; empty for all nodes of the service."] pub node: String,
        #[doc = "Check id; empty for all."] pub check_id: String,
        #[doc = "Service name; empty for all."] pub service: String
    } -> Vec<check::History>;

    /// Whether a server may form a cluster, and with whom it would. Answered by every server itself.
    RaftState {} -> RaftStanding;
    /// `GET /v1/operator/raft/configuration`.
    RaftConfiguration {} -> operator::RaftConfiguration;
    /// `DELETE /v1/operator/raft/peer`: by UUID, or by address with an empty UUID.
    RemovePeer { #[doc = "UUID."] pub id: String, #[doc = "RPC address."] pub address: String } -> ();
    /// `POST /v1/operator/raft/transfer-leader`; an empty id takes the best one.
    TransferLeader { #[doc = "UUID."] pub id: String } -> ();
    /// `GET /v1/operator/autopilot/configuration`.
    Autopilot {} -> operator::AutopilotConfiguration;
    /// `PUT /v1/operator/autopilot/configuration`: whether it was done.
    SetAutopilot {
        #[doc = "The whole configuration."] pub configuration: operator::AutopilotConfiguration,
        #[doc = "Only if it was last changed at this index."] pub cas: Option<u64>
    } -> bool;
    /// `GET /v1/operator/autopilot/health` and `state`.
    AutopilotHealth {} -> operator::AutopilotHealth;
    /// `GET /v1/muster/raft`.
    Raft {} -> raft::Raft;
    /// `GET /v1/muster/gossip`.
    Gossip {} -> gossip::Pool;
    /// `GET /v1/muster/snapshots`.
    Snapshots {} -> snapshot::Archive;
    /// `POST /v1/muster/snapshots`.
    TakeSnapshot {} -> snapshot::Snapshot;
    /// `/v1/operator/keyring`: the verb (`list`, `install`, `use`, `remove`) and the key.
    Keyring { #[doc = "What to do."] pub verb: String, #[doc = "The key, base64."] pub key: String } -> gossip::Keyring;

    /// A call carried to one node's agent.
    AgentCall { #[doc = "Node name."] pub node: String, #[doc = "What that agent should do."] pub payload: Payload } -> AgentReply;
}

impl Operation {
    /// How long carrying it out may take in itself, on top of what every call may take.
    #[must_use]
    pub fn lasts(&self) -> Duration {
        match self {
            Self::AgentCall(_) => AGENT_CALL,
            Self::TakeSnapshot(_) => snapshot::TAKE_MAX,
            _ => Duration::ZERO,
        }
    }

    /// Whether it may change something: then it is never sent a second time when nobody knows what became of the first.
    #[must_use]
    pub fn writes(&self) -> bool {
        matches!(self, Self::Register(_) | Self::Deregister(_) | Self::KvWrite(_) | Self::AgentCall(_))
            || matches!(
                self,
                Self::RemovePeer(_) | Self::TransferLeader(_) | Self::SetAutopilot(_) | Self::Keyring(_) | Self::TakeSnapshot(_)
            )
    }
}

/// Where a server stands before there is a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RaftStanding {
    /// It never took part in one.
    pub is_pristine: bool,
    /// UUIDs of the servers it sees, sorted.
    pub servers: Vec<String>,
    /// UUIDs of the servers of the Raft configuration it knows.
    #[serde(default)]
    pub peers: Vec<String>,
}

/// What another node's agent is asked to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Payload {
    /// Run a check now.
    RunCheck { check_id: String },
    /// Tell a check's definition, last and next run.
    CheckStatus { check_id: String },
    /// Register a service.
    RegisterService { registration: Box<agent::ServiceRegistration>, replace_existing_checks: bool },
    /// Deregister a service.
    DeregisterService { service_id: String },
    /// Service maintenance on or off.
    ServiceMaintenance { service_id: String, enable: bool, reason: String },
    /// Node maintenance on or off.
    NodeMaintenance { enable: bool, reason: String },
    /// The agent's own services.
    Services,
    /// The gossip pool as the agent sees it.
    Gossip,
    /// Follow the agent's log from now on.
    OpenMonitor { level: String, json: bool },
    /// The next lines of a log that is followed, or a part of them once more; parts count from 1.
    ReadMonitor { id: u64, part: u64 },
}

/// What that agent answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum AgentReply {
    /// Done.
    Done,
    /// The outcome of a run.
    Run(Box<check::Run>),
    /// A check's status.
    CheckStatus(Box<check::CheckStatus>),
    /// Services by id.
    Services(BTreeMap<String, agent::AgentService>),
    /// The pool.
    Gossip(Box<gossip::Pool>),
    /// The number under which the log is followed.
    Monitor(u64),
    /// Lines of the log.
    LogLines(Vec<String>),
}
