//! This agent's own services and checks, and keeping the catalog in step with them.

use std::collections::BTreeMap;

use shared::{
    agent::{AgentCheck, AgentService, CheckUpdate, Info, Member, ServiceHealth, ServiceRegistration},
    check::{CheckDefinition, CheckStatus, Run},
};

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

/// Clone-cheap handle to the agent's local state. Every method is safe to call at any time.
#[derive(Clone, Debug)]
pub struct Handle(());

impl Handle {
    /// All services by id. `filter` is a filter expression.
    ///
    /// # Errors
    /// A bad filter.
    pub fn services(&self, filter: &str) -> Result<BTreeMap<String, AgentService>, Error> {
        Err(Error::Refused(format!("not built {filter}")))
    }

    /// One service with its content hash.
    #[must_use]
    pub fn service(&self, _id: &str) -> Option<AgentService> {
        None
    }

    /// Waits until the service's content hash differs from `hash`, the service goes, or `wait` passes.
    pub async fn service_changed(&self, _id: &str, _hash: &str, _wait: std::time::Duration) {}

    /// All checks by id. `filter` is a filter expression.
    ///
    /// # Errors
    /// A bad filter.
    pub fn checks(&self, filter: &str) -> Result<BTreeMap<String, AgentCheck>, Error> {
        Err(Error::Refused(format!("not built {filter}")))
    }

    /// Health of one service by id.
    #[must_use]
    pub fn service_health(&self, _id: &str) -> Option<ServiceHealth> {
        None
    }

    /// Health of every local instance of a service.
    #[must_use]
    pub fn service_health_by_name(&self, _name: &str) -> Vec<ServiceHealth> {
        Vec::new()
    }

    /// Registers or replaces a service with its checks; durable once it returns.
    ///
    /// # Errors
    /// A bad definition, or the disk.
    pub async fn register_service(
        &self,
        _registration: ServiceRegistration,
        _replace_existing_checks: bool,
        _token: &str,
    ) -> Result<(), Error> {
        Ok(())
    }

    /// Removes a service and its checks.
    ///
    /// # Errors
    /// No such service.
    pub async fn deregister_service(&self, _id: &str) -> Result<(), Error> {
        Ok(())
    }

    /// Registers or replaces a check.
    ///
    /// # Errors
    /// A bad definition, or the disk.
    pub async fn register_check(&self, _definition: CheckDefinition, _token: &str) -> Result<(), Error> {
        Ok(())
    }

    /// Removes a check.
    ///
    /// # Errors
    /// No such check.
    pub async fn deregister_check(&self, _id: &str) -> Result<(), Error> {
        Ok(())
    }

    /// Reports on a TTL check.
    ///
    /// # Errors
    /// No such check, not a TTL check, a bad status.
    pub async fn update_ttl(&self, _id: &str, _update: CheckUpdate) -> Result<(), Error> {
        Ok(())
    }

    /// Maintenance of one service on or off; idempotent.
    ///
    /// # Errors
    /// No such service.
    pub async fn service_maintenance(&self, _id: &str, _enable: bool, _reason: &str) -> Result<(), Error> {
        Ok(())
    }

    /// Maintenance of the node on or off; idempotent.
    ///
    /// # Errors
    /// The disk.
    pub async fn node_maintenance(&self, _enable: bool, _reason: &str) -> Result<(), Error> {
        Ok(())
    }

    /// Runs a check now and answers with its outcome; presses at the same time share one run. The catalog has the result
    /// before this returns, if a server can be reached.
    ///
    /// # Errors
    /// No such check, or one that cannot be run and why.
    pub async fn run_check(&self, _id: &str) -> Result<Run, Error> {
        Err(Error::NotFound(String::new()))
    }

    /// What only the owning agent knows about a check.
    #[must_use]
    pub fn check_status(&self, _id: &str) -> Option<CheckStatus> {
        None
    }
}
