//! Calls that the server carries to a node's agent. A single server reaches its own agent; other agents come with clusters.

use std::sync::OnceLock;

use crate::{
    local,
    rpc::{AgentReply, Error, Payload},
    server::AgentCalls,
};

/// This node's agent as the server sees it.
#[derive(Debug)]
pub(super) struct Calls {
    node_name: String,
    /// Filled once the local layer runs; it needs the server first.
    local: OnceLock<local::Handle>,
}

impl Calls {
    pub(super) fn new(node_name: &str) -> Self {
        Self { node_name: node_name.to_owned(), local: OnceLock::new() }
    }

    pub(super) fn plug(&self, local: local::Handle) {
        let _ = self.local.set(local);
    }
}

impl From<local::Error> for Error {
    fn from(error: local::Error) -> Self {
        match error {
            local::Error::BadRequest(text) => Self::BadRequest(text),
            local::Error::NotFound(text) => Self::NotFound(text),
            local::Error::Refused(text) => Self::Refused(text),
            local::Error::PermissionDenied => Self::PermissionDenied,
        }
    }
}

#[async_trait::async_trait]
impl AgentCalls for Calls {
    async fn call(&self, node: &str, payload: Payload, token: &str) -> Result<AgentReply, Error> {
        let local = match self.local.get() {
            Some(local) if node.eq_ignore_ascii_case(&self.node_name) => local,
            Some(_) => return Err(Error::Unreachable(format!("no agent of node {node:?} is connected to this server"))),
            None => return Err(Error::Unreachable(format!("the agent of node {node:?} is still starting"))),
        };
        Ok(match payload {
            Payload::RunCheck { check_id } => AgentReply::Run(Box::new(local.run_check(&check_id).await?)),
            Payload::CheckStatus { check_id } => {
                let unknown = || Error::NotFound(format!("Unknown check ID {check_id:?} on node {node:?}"));
                AgentReply::CheckStatus(Box::new(local.check_status(&check_id).ok_or_else(unknown)?))
            }
            Payload::RegisterService { registration, replace_existing_checks } => {
                local.register_service(*registration, replace_existing_checks, token).await?;
                AgentReply::Done
            }
            Payload::DeregisterService { service_id } => {
                local.deregister_service(&service_id).await?;
                AgentReply::Done
            }
            Payload::ServiceMaintenance { service_id, enable, reason } => {
                local.service_maintenance(&service_id, enable, &reason).await?;
                AgentReply::Done
            }
            Payload::NodeMaintenance { enable, reason } => {
                local.node_maintenance(enable, &reason).await?;
                AgentReply::Done
            }
            Payload::Services => AgentReply::Services(local.services("")?),
        })
    }
}
