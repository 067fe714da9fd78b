//! What the agent as a whole offers to its surfaces: members, itself, reload, leave.
//!
//! Contract: HTTP API, section "Agent"; `GET /v1/agent/self` and `info` show the same statistics.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::json;
use shared::agent::{Coordinate, Info, Member};
use tokio::sync::Notify;

use crate::{
    config::Config,
    gossip,
    local::{self, Error},
    raft, rpc,
    rt::Runtime,
    telemetry,
};

/// The Consul version whose behaviour Muster has: clients decide by it what they may ask for.
pub(super) const CONSUL_VERSION: &str = "1.8.7";

/// The agent's control surface.
pub(super) struct Control {
    config: Config,
    node_id: String,
    pool: gossip::Handle,
    raft: raft::Handle,
    local: local::Handle,
    limits: rpc::LimitsHandle,
    leave: Arc<Notify>,
    started: crate::rt::clock::Instant,
    runtime: Runtime,
}

type Section = BTreeMap<String, String>;

fn section<const N: usize>(pairs: [(&str, String); N]) -> Section {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

impl Control {
    pub(super) fn new(
        config: &Config,
        node_id: &str,
        pool: gossip::Handle,
        raft: raft::Handle,
        local: local::Handle,
        limits: rpc::LimitsHandle,
        runtime: &Runtime,
    ) -> Self {
        let started = runtime.clock.now();
        let (config, node_id, runtime) = (config.clone(), node_id.to_owned(), runtime.clone());
        Self { config, node_id, pool, raft, local, limits, leave: Arc::new(Notify::new()), started, runtime }
    }

    pub(super) async fn leave_requested(&self) {
        self.leave.notified().await;
    }

    fn own_member(&self) -> Member {
        self.pool.members().iter().find(|member| member.name == self.config.node_name).cloned().unwrap_or_default()
    }

    fn stats(&self) -> BTreeMap<String, Section> {
        let status = self.raft.status();
        let members = self.pool.members();
        let (checks, services) = (self.local.checks("").unwrap_or_default(), self.local.services("").unwrap_or_default());
        let ttls = checks.values().filter(|check| check.kind == "ttl").count();
        let count = |status| members.iter().filter(|member| member.status == status).count().to_string();
        let leader = status.leader.as_ref().map(|peer| peer.address.clone()).unwrap_or_default();
        let uptime = self.runtime.clock.now().duration_since(self.started).as_secs();
        BTreeMap::from([
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
                "consul".to_owned(),
                section([
                    ("acl", "disabled".to_owned()),
                    ("bootstrap", self.config.bootstrap.to_string()),
                    ("known_datacenters", "1".to_owned()),
                    ("leader", (status.role == "leader").to_string()),
                    ("leader_addr", leader),
                    ("server", self.config.server.to_string()),
                ]),
            ),
            (
                "raft".to_owned(),
                section([
                    ("applied_index", status.applied_index.to_string()),
                    ("commit_index", status.commit_index.to_string()),
                    ("last_contact", if status.role == "leader" { "0".to_owned() } else { "never".to_owned() }),
                    ("last_log_index", status.last_index.to_string()),
                    ("last_snapshot_index", status.snapshot_index.to_string()),
                    ("num_peers", status.peers.len().saturating_sub(1).to_string()),
                    ("protocol_version", "3".to_owned()),
                    ("state", capitalized(&status.role)),
                    ("term", status.term.to_string()),
                ]),
            ),
            (
                "runtime".to_owned(),
                section([
                    ("arch", std::env::consts::ARCH.to_owned()),
                    ("cpu_count", std::thread::available_parallelism().map_or(1, usize::from).to_string()),
                    ("os", std::env::consts::OS.to_owned()),
                    ("tasks", self.runtime.tasks.count().to_string()),
                    ("uptime_seconds", uptime.to_string()),
                ]),
            ),
            (
                "serf_lan".to_owned(),
                section([
                    ("encrypted", "false".to_owned()),
                    ("failed", count(4)),
                    ("left", count(3)),
                    ("members", members.len().to_string()),
                ]),
            ),
        ])
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
            return Some(self.pool.members().to_vec());
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
            stats: self.stats(),
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

    async fn join(&self, address: &str, _wan: bool) -> Result<usize, Error> {
        Err(Error::Refused(format!("1 error occurred:\n\t* Failed to join {address}: this version forms no clusters yet\n\n")))
    }

    async fn force_leave(&self, node: &str, _prune: bool) -> Result<(), Error> {
        Err(Error::Refused(format!("agent: No node found with name '{node}'")))
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
