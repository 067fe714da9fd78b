//! This agent's own services and checks, and keeping the catalog in step with them.
//!
//! The only place that knows what this agent holds; the catalog only follows. Contract: health checks, sections "Maintenance mode"
//! and "Anti-entropy" to "Reload", and HTTP API, section "Status, agent".

mod alias;
mod definition;
mod diff;
mod persist;
mod register;
mod service;
mod state;
mod sync;
mod view;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use shared::{
    agent::{AgentCheck, AgentService, CheckUpdate, Info, Member, ServiceHealth, ServiceRegistration},
    check::{CheckDefinition, CheckStatus, Run},
};

use service::Inner;
pub use service::Service;

/// Why the agent refused. The texts are Consul's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Status 400.
    #[error("{0}")]
    BadRequest(String),
    /// Status 404.
    #[error("{0}")]
    NotFound(String),
    /// Status 500.
    #[error("{0}")]
    Refused(String),
    /// Status 403.
    #[error("Permission denied")]
    PermissionDenied,
}

/// What the agent as a whole offers to its local surfaces; `agent` fills it in.
#[async_trait::async_trait]
pub trait Control: Send + Sync + 'static {
    /// Members of the LAN pool, or with `wan` of the WAN pool (`None` on a client).
    fn members(&self, wan: bool) -> Option<Vec<Member>>;
    /// What `GET /v1/agent/self` answers.
    async fn info(&self) -> Info;
    /// Loads the configuration files again.
    async fn reload(&self) -> Result<(), Error>;
    /// Leaves the cluster and ends the agent, after answering.
    async fn leave(&self) -> Result<(), Error>;
    /// Joins other agents; answers how many were reached.
    async fn join(&self, address: &str, wan: bool) -> Result<usize, Error>;
    /// Declares a failed member left.
    async fn force_leave(&self, node: &str, prune: bool) -> Result<(), Error>;
}

/// What the agent is told at its start.
#[derive(Clone, Debug)]
pub struct Options {
    /// This node's name.
    pub node_name: String,
    /// This node's UUID.
    pub node_id: String,
    /// This agent's datacenter.
    pub datacenter: String,
    /// The address others reach this node at.
    pub address: String,
    /// The same by purpose.
    pub tagged_addresses: BTreeMap<String, String>,
    /// Node metadata.
    pub meta: BTreeMap<String, String>,
    /// Checks from any source may run programs.
    pub enable_script_checks: bool,
    /// Checks from configuration files may run programs.
    pub enable_local_script_checks: bool,
    /// How long a change of a check's output alone may wait; zero syncs it at once.
    pub check_update_interval: Duration,
    /// Output kept of a check, bytes.
    pub check_output_max_size: usize,
    /// Keep no output of checks at all.
    pub discard_check_output: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            node_name: String::new(),
            node_id: String::new(),
            datacenter: String::new(),
            address: String::new(),
            tagged_addresses: BTreeMap::new(),
            meta: BTreeMap::new(),
            enable_script_checks: false,
            enable_local_script_checks: false,
            check_update_interval: Duration::from_secs(300),
            check_output_max_size: crate::checks::OUTPUT_SIZE_MAX,
            discard_check_output: false,
        }
    }
}

/// What the configuration files define.
#[derive(Clone, Debug, Default)]
pub struct Definitions {
    /// Services with their checks.
    pub services: Vec<ServiceRegistration>,
    /// Checks of the node, or of a service by its id.
    pub checks: Vec<CheckDefinition>,
}

/// Clone-cheap handle to the agent's local state. Every method is safe to call at any time.
#[derive(Clone, Debug)]
pub struct Handle(Arc<Inner>);

impl Handle {
    /// All services by id. `filter` is a filter expression.
    ///
    /// # Errors
    /// A bad filter.
    pub fn services(&self, filter: &str) -> Result<BTreeMap<String, AgentService>, Error> {
        self.0.services(filter)
    }

    /// One service with its content hash.
    #[must_use]
    pub fn service(&self, id: &str) -> Option<AgentService> {
        self.0.service(id)
    }

    /// Waits until the service's content hash differs from `hash`, the service goes, or `wait` passes.
    pub async fn service_changed(&self, id: &str, hash: &str, wait: Duration) {
        self.0.service_changed(id, hash, wait).await;
    }

    /// All checks by id. `filter` is a filter expression.
    ///
    /// # Errors
    /// A bad filter.
    pub fn checks(&self, filter: &str) -> Result<BTreeMap<String, AgentCheck>, Error> {
        self.0.checks(filter)
    }

    /// Health of one service by id.
    #[must_use]
    pub fn service_health(&self, id: &str) -> Option<ServiceHealth> {
        self.0.service_health(id)
    }

    /// Health of every local instance of a service.
    #[must_use]
    pub fn service_health_by_name(&self, name: &str) -> Vec<ServiceHealth> {
        self.0.service_health_by_name(name)
    }

    /// Registers or replaces a service with its checks; durable once it returns.
    ///
    /// # Errors
    /// A bad definition, or the disk.
    pub async fn register_service(
        &self,
        mut registration: ServiceRegistration,
        replace_existing_checks: bool,
        token: &str,
    ) -> Result<(), Error> {
        if registration.token.is_empty() {
            token.clone_into(&mut registration.token);
        }
        self.0.register_service(registration, replace_existing_checks).await
    }

    /// Removes a service and its checks.
    ///
    /// # Errors
    /// No such service.
    pub async fn deregister_service(&self, id: &str) -> Result<(), Error> {
        self.0.deregister_service(id).await
    }

    /// Registers or replaces a check.
    ///
    /// # Errors
    /// A bad definition, or the disk.
    pub async fn register_check(&self, mut definition: CheckDefinition, token: &str) -> Result<(), Error> {
        if definition.token.is_empty() {
            token.clone_into(&mut definition.token);
        }
        self.0.register_check(definition).await
    }

    /// Removes a check.
    ///
    /// # Errors
    /// No such check.
    pub async fn deregister_check(&self, id: &str) -> Result<(), Error> {
        self.0.deregister_check(id).await
    }

    /// Reports on a TTL check.
    ///
    /// # Errors
    /// No such check, not a TTL check, a bad status.
    pub async fn update_ttl(&self, id: &str, update: CheckUpdate) -> Result<(), Error> {
        self.0.update_ttl(id, update).await
    }

    /// Maintenance of one service on or off; idempotent.
    ///
    /// # Errors
    /// No such service.
    pub async fn service_maintenance(&self, id: &str, enable: bool, reason: &str) -> Result<(), Error> {
        self.0.service_maintenance(id, enable, reason).await
    }

    /// Maintenance of the node on or off; idempotent.
    ///
    /// # Errors
    /// The disk.
    pub async fn node_maintenance(&self, enable: bool, reason: &str) -> Result<(), Error> {
        self.0.maintenance("", enable, reason).await
    }

    /// Runs a check now and answers with its outcome; presses at the same time share one run. The catalog has the result
    /// before this returns, if a server can be reached.
    ///
    /// # Errors
    /// No such check, or one that cannot be run and why.
    pub async fn run_check(&self, id: &str) -> Result<Run, Error> {
        self.0.run_check(id).await
    }

    /// What only the owning agent knows about a check.
    #[must_use]
    pub fn check_status(&self, id: &str) -> Option<CheckStatus> {
        self.0.check_status(id)
    }

    /// Puts other file definitions in the place of those loaded so far. What was registered over the API stays, unless a file
    /// now defines the same id; status and output stay by check id. A bad definition changes nothing.
    ///
    /// # Errors
    /// A bad definition.
    pub async fn reload(&self, definitions: Definitions) -> Result<(), Error> {
        self.0.reload(definitions).await
    }

    /// A server joined, or can be reached again: everything is compared with the catalog soon.
    pub fn server_joined(&self) {
        self.0.wake_full.notify_one();
    }

    /// This agent leaves: the catalog is told nothing more. What it heard after this node went would bring the node back.
    pub fn stop_syncing(&self) {
        self.0.stop_syncing();
    }

    /// How many nodes the cluster has: the more, the less often everything is compared with the catalog.
    pub fn set_cluster_size(&self, nodes: usize) {
        self.0.cluster_size.store(nodes, std::sync::atomic::Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
