//! Calls carried to a node's agent. What nobody could do is refused here, with the reason.

use shared::{
    check::{Check, NODE_MAINTENANCE, SERF_HEALTH},
    health::Status,
};

use super::Call;
use crate::{
    acl::Access,
    rpc::{AgentCall, AgentReply, Answer, Error, Payload},
    store::State,
};

/// What carries a call to the agent of a node; `agent` plugs it in.
#[async_trait::async_trait]
pub trait AgentCalls: Send + Sync + 'static {
    /// Makes the call with the caller's token, which the target checks again; one that was `forwarded` is not passed on to
    /// another server.
    ///
    /// # Errors
    /// [`Error::Unreachable`] with the reason, or whatever that agent answers.
    async fn call(&self, node: &str, payload: Payload, token: &str, forwarded: bool) -> Result<AgentReply, Error>;
}

pub(super) async fn call(call: Call<'_>, asked: AgentCall) -> Result<Answer<AgentReply>, Error> {
    let AgentCall { node, payload } = asked;
    let name = {
        let state = call.server.store.state();
        permit(call, &state, &node, &payload)?;
        reachable(&state, &node, &payload)?
    };
    let reply = call.server.agent_calls.call(&name, payload, &call.request.token, call.request.forwarded).await?;
    Ok(call.answer(0, reply))
}

fn permit(call: Call<'_>, state: &State, node: &str, payload: &Payload) -> Result<(), Error> {
    let allows = |access: Access<'_>| call.authorizer.allows(access);
    let service = |id: &str| state.service_on(node, id).map_or_else(|| id.to_owned(), |instance| instance.service.name.clone());
    let of_check = |id: &str| state.check(node, id).map(|check| check.service_name.clone()).filter(|name| !name.is_empty());
    let allowed = match payload {
        Payload::RunCheck { check_id } => match of_check(check_id) {
            Some(service) => allows(Access::ServiceWrite(&service)),
            None => allows(Access::NodeWrite(node)),
        },
        Payload::CheckStatus { check_id } => match of_check(check_id) {
            Some(service) => allows(Access::ServiceRead(&service)),
            None => allows(Access::NodeRead(node)),
        },
        Payload::RegisterService { registration, .. } => allows(Access::ServiceWrite(&registration.name)),
        Payload::DeregisterService { service_id } | Payload::ServiceMaintenance { service_id, .. } => {
            allows(Access::ServiceWrite(&service(service_id)))
        }
        Payload::NodeMaintenance { .. } => allows(Access::NodeWrite(node)),
        Payload::Services => allows(Access::NodeRead(node)),
        Payload::Gossip => allows(Access::OperatorRead),
        Payload::OpenMonitor { .. } | Payload::ReadMonitor { .. } => allows(Access::AgentRead(node)),
    };
    if allowed { Ok(()) } else { Err(Error::PermissionDenied) }
}

/// The node's name as registered, if an agent there can be asked.
fn reachable(state: &State, node: &str, payload: &Payload) -> Result<String, Error> {
    let record = state.node(node).ok_or_else(|| Error::NotFound(format!("Unknown node \"{node}\"")))?;
    let name = record.node.name.clone();
    if let Payload::RunCheck { check_id } | Payload::CheckStatus { check_id } = payload {
        let check = state.check(&name, check_id);
        let check = check.ok_or_else(|| Error::NotFound(format!("Unknown check ID \"{check_id}\" on node \"{name}\"")))?;
        if let (Payload::RunCheck { .. }, Some(reason)) = (payload, not_runnable(check)) {
            return Err(Error::BadRequest(format!("Check \"{check_id}\" cannot be run: {reason}")));
        }
    }
    match state.check(&name, SERF_HEALTH) {
        None => Err(Error::BadRequest(format!("Node \"{name}\" has no agent: nobody owns its services and checks"))),
        Some(alive) if alive.status != Status::PASSING => {
            Err(Error::Unreachable(format!("The agent of node \"{name}\" cannot be reached: {}", alive.output)))
        }
        Some(_) => Ok(name),
    }
}

/// Why a check is not one that runs.
fn not_runnable(check: &Check) -> Option<&'static str> {
    match check.kind.as_str() {
        _ if check.id == SERF_HEALTH => Some("it follows the gossip pool"),
        _ if check.id == NODE_MAINTENANCE || check.is_maintenance() => Some("it stands for maintenance mode"),
        "ttl" => Some("its application reports it (TTL)"),
        "alias" => Some("it follows another service or node (alias)"),
        _ => None,
    }
}
