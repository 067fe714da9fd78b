//! `/v1/muster/agent/:node/…`: an agent's own calls, carried to that node. Beyond Consul; see `EXTENSIONS.md`.

use axum::{
    http::{Method, StatusCode},
    response::Response,
};

use super::{agent::maintenance_query, agent_service::replaces_checks, error::Error, extract::Call, monitor, respond};
use crate::rpc::{self, AgentReply, Payload};

pub(super) async fn call(mut call: Call) -> Result<Response, Error> {
    let request = call.write()?;
    let rest = call.rest.clone();
    let (node, what) = rest.split_once('/').unwrap_or((&rest, ""));
    if node.is_empty() {
        return Err(Error::bad_request("Missing node name"));
    }
    if what == "monitor" {
        allowed(&call, &Method::GET)?;
        let node = node.to_owned();
        return monitor::remote(call, request, node).await;
    }
    let payload = payload(&mut call, what).await?;
    answer(&call, carry(&call, request, node, payload).await?)
}

async fn payload(call: &mut Call, what: &str) -> Result<Payload, Error> {
    let id = |prefix: &str| what.strip_prefix(prefix).map(str::to_owned);
    if what == "services" {
        return allowed(call, &Method::GET).map(|()| Payload::Services);
    }
    if what == "gossip" {
        return allowed(call, &Method::GET).map(|()| Payload::Gossip);
    }
    let wanted = if what == "service/register" {
        allowed(call, &Method::PUT)?;
        let replace_existing_checks = replaces_checks(call)?;
        Payload::RegisterService { registration: Box::new(call.decode().await?), replace_existing_checks }
    } else if let Some(service_id) = id("service/deregister/") {
        Payload::DeregisterService { service_id: named(service_id)? }
    } else if let Some(service_id) = id("service/maintenance/") {
        let (service_id, (enable, reason)) = (named(service_id)?, maintenance_query(call)?);
        Payload::ServiceMaintenance { service_id, enable, reason }
    } else if what == "maintenance" {
        let (enable, reason) = maintenance_query(call)?;
        Payload::NodeMaintenance { enable, reason }
    } else {
        return Err(Error::not_found(format!(
            "Unknown agent call {what:?}; there are: services, gossip, monitor, service/register, service/deregister/:id, service/maintenance/:id, maintenance"
        )));
    };
    allowed(call, &Method::PUT).map(|()| wanted)
}

fn named(id: String) -> Result<String, Error> {
    if id.is_empty() { Err(Error::bad_request("Missing service ID")) } else { Ok(id) }
}

fn allowed(call: &Call, method: &Method) -> Result<(), Error> {
    if call.method == *method {
        return Ok(());
    }
    Err(Error::new(StatusCode::METHOD_NOT_ALLOWED, format!("method {} not allowed", call.method)))
}

/// Has that node's agent do it; the servers know how to reach it, also when it is this one.
pub(super) async fn carry(call: &Call, request: rpc::Request, node: &str, payload: Payload) -> Result<AgentReply, Error> {
    let operation = rpc::AgentCall { node: node.to_owned(), payload };
    Ok(call.context.router.call(request, operation).await?.value)
}

/// What an agent's reply looks like to the client.
pub(super) fn answer(call: &Call, reply: AgentReply) -> Result<Response, Error> {
    match reply {
        AgentReply::Done => Ok(respond::empty()),
        AgentReply::Run(run) => respond::json(call, &run),
        AgentReply::CheckStatus(status) => respond::json(call, &status),
        AgentReply::Services(services) => respond::json(call, &services),
        AgentReply::Gossip(pool) => respond::json(call, &pool),
        AgentReply::Monitor(_) | AgentReply::LogLines(_) => Err(rpc::Error::unexpected_reply().into()),
    }
}
