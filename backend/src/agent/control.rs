//! What the agent as a whole offers to its surfaces: members, itself, reload, leave.
//!
//! Contract: HTTP API, section "Agent"; `GET /v1/agent/self` and `info` show the same statistics.

use std::collections::BTreeMap;

use serde_json::json;
use shared::agent::{Coordinate, Info, Member, status};
use tokio::sync::Notify;

use super::join::Joiner;
use crate::{
    config::Config,
    local::{self, Error},
    raft, rpc,
    rt::Runtime,
    telemetry,
};

/// The Consul version whose behaviour Muster has: clients decide by it what they may ask for.
pub(super) const CONSUL_VERSION: &str = "1.8.7";

/// The agent's control surface.
pub(super) struct Control {
    pub(super) config: Config,
    pub(super) node_id: String,
    pub(super) joiner: Joiner,
    /// `None` on a client.
    pub(super) raft: Option<raft::Handle>,
    pub(super) servers: rpc::Servers,
    pub(super) local: local::Handle,
    pub(super) limits: rpc::LimitsHandle,
    pub(super) leave: Notify,
    pub(super) started: crate::rt::clock::Instant,
    pub(super) runtime: Runtime,
}

type Section = BTreeMap<String, String>;

fn section<const N: usize>(pairs: [(&str, String); N]) -> Section {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

impl Control {
    pub(super) async fn leave_requested(&self) {
        self.leave.notified().await;
    }

    fn own_member(&self) -> Member {
        self.joiner.pool.members().iter().find(|member| member.name == self.config.node_name).cloned().unwrap_or_default()
    }

    async fn stats(&self) -> BTreeMap<String, Section> {
        let members = self.joiner.pool.members();
        let (checks, services) = (self.local.checks("").unwrap_or_default(), self.local.services("").unwrap_or_default());
        let ttls = checks.values().filter(|check| check.kind == "ttl").count();
        let count = |status| members.iter().filter(|member| member.status == status).count().to_string();
        let health = self.joiner.pool.detail().await.health.to_string();
        let encrypted = !self.joiner.pool.keys().borrow().is_empty();
        // What runs side by side here is tasks, and the threads they run on.
        let (alive, workers) =
            tokio::runtime::Handle::try_current().map_or((0, 0), |it| (it.metrics().num_alive_tasks(), it.metrics().num_workers()));
        let uptime = self.runtime.clock.now().duration_since(self.started).as_secs();
        let mut stats = BTreeMap::from([
            (
                "agent".to_owned(),
                section([
                    ("check_monitors", (checks.len() - ttls).to_string()),
                    ("check_ttls", ttls.to_string()),
                    ("checks", checks.len().to_string()),
                    ("services", services.len().to_string()),
                ]),
            ),
            (
                "build".to_owned(),
                section([
                    ("prerelease", String::new()),
                    ("revision", String::new()),
                    ("version", CONSUL_VERSION.to_owned()),
                    ("muster", env!("CARGO_PKG_VERSION").to_owned()),
                ]),
            ),
            (
                "runtime".to_owned(),
                section([
                    ("arch", architecture().to_owned()),
                    ("cpu_count", std::thread::available_parallelism().map_or(1, usize::from).to_string()),
                    ("goroutines", alive.to_string()),
                    ("max_procs", workers.to_string()),
                    ("os", std::env::consts::OS.to_owned()),
                    ("tasks", self.runtime.tasks.count().to_string()),
                    ("uptime_seconds", uptime.to_string()),
                ]),
            ),
            (
                "serf_lan".to_owned(),
                section([
                    ("encrypted", encrypted.to_string()),
                    ("failed", count(status::FAILED)),
                    ("health_score", health),
                    ("left", count(status::LEFT)),
                    ("members", members.len().to_string()),
                ]),
            ),
        ]);
        match &self.raft {
            Some(raft) => {
                stats.extend(self.server_stats(&raft.status()));
                // Until datacenters join, it is this server alone.
                let wan = [("encrypted", encrypted.to_string()), ("failed", "0".into()), ("left", "0".into()), ("members", "1".into())];
                stats.insert("serf_wan".to_owned(), section(wan));
            }
            None => drop(stats.insert("consul".to_owned(), self.client_stats())),
        }
        stats
    }

    fn client_stats(&self) -> Section {
        section([("acl", "disabled".to_owned()), ("known_servers", self.servers.list().len().to_string()), ("server", "false".to_owned())])
    }

    fn server_stats(&self, status: &raft::Status) -> [(String, Section); 2] {
        let leader = status.leader.as_ref().map(|peer| peer.address.clone()).unwrap_or_default();
        let last_contact = match status.last_contact_ms {
            _ if status.role == "leader" => "0".to_owned(),
            Some(ms) => format!("{ms}ms"),
            None => "never".to_owned(),
        };
        let consul = section([
            ("acl", "disabled".to_owned()),
            ("bootstrap", self.config.bootstrap.to_string()),
            ("known_datacenters", "1".to_owned()),
            ("leader", (status.role == "leader").to_string()),
            ("leader_addr", leader),
            ("server", "true".to_owned()),
        ]);
        let raft = section([
            ("applied_index", status.applied_index.to_string()),
            ("commit_index", status.commit_index.to_string()),
            ("fsm_pending", status.commit_index.saturating_sub(status.applied_index).to_string()),
            ("last_contact", last_contact),
            ("last_log_index", status.last_index.to_string()),
            ("last_snapshot_index", status.snapshot_index.to_string()),
            ("latest_configuration", configuration(&status.peers)),
            ("latest_configuration_index", "0".to_owned()),
            ("num_peers", status.peers.len().saturating_sub(1).to_string()),
            ("protocol_version", "3".to_owned()),
            ("protocol_version_max", "3".to_owned()),
            ("protocol_version_min", "3".to_owned()),
            ("snapshot_version_max", "1".to_owned()),
            ("snapshot_version_min", "1".to_owned()),
            ("state", capitalized(&status.role)),
            ("term", status.term.to_string()),
        ]);
        [("consul".to_owned(), consul), ("raft".to_owned(), raft)]
    }
}

/// The Raft configuration as Go prints it.
fn configuration(peers: &[raft::Peer]) -> String {
    let one = |peer: &raft::Peer| {
        let suffrage = if peer.voter { "Voter" } else { "Nonvoter" };
        format!("{{Suffrage:{suffrage} ID:{} Address:{}}}", peer.id, peer.address)
    };
    format!("[{}]", peers.iter().map(one).collect::<Vec<_>>().join(" "))
}

/// The processor by Go's name, which operators' scripts know.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

#[async_trait::async_trait]
impl local::Control for Control {
    fn members(&self, wan: bool) -> Option<Vec<Member>> {
        if !wan {
            return Some(self.joiner.pool.members().to_vec());
        }
        // Until datacenters join, the WAN pool of a server is itself, named with its datacenter.
        let mut member = self.own_member();
        member.name = format!("{}.{}", member.name, self.config.datacenter);
        member.port = self.config.ports.serf_wan.unwrap_or(0);
        self.config.server.then(|| vec![member])
    }

    async fn info(&self) -> Info {
        let config = &self.config;
        let session_ttl_min = config.session_ttl_min.to_string();
        Info {
            config: json!({
                "Datacenter": config.datacenter,
                "PrimaryDatacenter": config.primary_datacenter,
                "NodeName": config.node_name,
                "NodeID": self.node_id,
                "Revision": "",
                "Server": config.server,
                "Version": CONSUL_VERSION,
                "Muster": env!("CARGO_PKG_VERSION"),
                "SessionTTLMin": session_ttl_min,
            }),
            debug_config: debug_config(config, &self.node_id),
            coord: Some(Coordinate { vec: vec![0.0; 8], error: 1.5, adjustment: 0.0, height: 1e-5 }),
            member: self.own_member(),
            stats: self.stats().await,
            meta: config.node_meta.clone(),
        }
    }

    async fn reload(&self) -> Result<(), Error> {
        let loaded = self.config.invocation.load().map_err(|e| Error::Refused(e.to_string()))?;
        if let (Some(log), Ok(level)) = (telemetry::handle(), loaded.log_level.parse()) {
            log.set_level(level);
        }
        let metrics = telemetry::metrics();
        metrics.configure(telemetry::Options {
            allowed_prefixes: loaded.telemetry.allowed_prefixes.clone(),
            blocked_prefixes: loaded.telemetry.blocked_prefixes.clone(),
            filter_default: loaded.telemetry.filter_default,
            ..metrics.options()
        });
        self.limits.set(super::options::limits(&loaded));
        let definitions = local::Definitions { services: loaded.services, checks: loaded.checks };
        self.local.reload(definitions).await
    }

    async fn leave(&self) -> Result<(), Error> {
        self.leave.notify_one();
        Ok(())
    }

    async fn join(&self, address: &str, wan: bool) -> Result<usize, Error> {
        if wan && !self.config.server {
            return Err(Error::Refused("Must be a server to join WAN cluster".to_owned()));
        }
        if wan {
            return Err(Error::Refused("this version joins no other datacenters".to_owned()));
        }
        self.joiner.join(&[address.to_owned()]).await.map_err(Error::Refused)
    }

    async fn force_leave(&self, node: &str, prune: bool) -> Result<(), Error> {
        self.joiner.pool.force_leave(node, prune).await.map_err(Error::Refused)
    }
}

/// The effective configuration with the names clients look for; secrets are hidden by their type.
fn debug_config(config: &Config, node_id: &str) -> serde_json::Value {
    let mut all = serde_json::to_value(config).unwrap_or_default();
    if let Some(map) = all.as_object_mut() {
        map.insert("Datacenter".to_owned(), json!(config.datacenter));
        map.insert("NodeName".to_owned(), json!(config.node_name));
        map.insert("NodeID".to_owned(), json!(node_id));
        map.insert("ConnectEnabled".to_owned(), json!(false));
        map.insert("GRPCPort".to_owned(), json!(-1));
        map.insert("KVMaxValueSize".to_owned(), json!(config.limits.kv_max_value_size));
        map.insert("TxnMaxReqLen".to_owned(), json!(config.limits.txn_max_req_len));
        map.insert("SessionTTLMin".to_owned(), json!(config.session_ttl_min.to_string()));
        map.insert("UIConfig".to_owned(), json!({ "Enabled": config.ui.enabled }));
        map.insert("EnableDebug".to_owned(), json!(false));
    }
    all
}
