//! `/v1/agent/check*`: this agent's own checks. Contract: HTTP API, section "Status, agent". Never leaves this agent.

use axum::response::Response;
use shared::{agent::CheckUpdate, check::CheckDefinition};

use super::{error::Error, extract::Call, respond};

pub(super) async fn list(call: Call) -> Result<Response, Error> {
    call.refuse_namespaces()?;
    let checks = call.context.local.checks(call.query.get("filter"))?;
    respond::json(&call, &checks)
}

pub(super) async fn register(mut call: Call) -> Result<Response, Error> {
    let token = call.write()?.token;
    let definition: CheckDefinition = call.decode().await?;
    call.context.local.register_check(definition, &token).await?;
    Ok(respond::empty())
}

pub(super) async fn deregister(call: Call) -> Result<Response, Error> {
    call.write()?;
    if call.rest.is_empty() {
        return Err(Error::internal("CheckID missing"));
    }
    call.context.local.deregister_check(&call.rest).await?;
    Ok(respond::empty())
}

pub(super) async fn pass(call: Call) -> Result<Response, Error> {
    report(call, "passing").await
}

pub(super) async fn warn(call: Call) -> Result<Response, Error> {
    report(call, "warning").await
}

pub(super) async fn fail(call: Call) -> Result<Response, Error> {
    report(call, "critical").await
}

async fn report(call: Call, status: &str) -> Result<Response, Error> {
    call.write()?;
    let update = CheckUpdate { status: status.to_owned(), output: call.query.get("note").to_owned() };
    call.context.local.update_ttl(&call.rest, update).await?;
    Ok(respond::empty())
}

pub(super) async fn update(mut call: Call) -> Result<Response, Error> {
    call.write()?;
    let update: CheckUpdate = call.decode().await?;
    if !matches!(update.status.as_str(), "passing" | "warning" | "critical") {
        return Err(Error::bad_request(format!("Invalid check status: '{}'", update.status)));
    }
    call.context.local.update_ttl(&call.rest, update).await?;
    Ok(respond::empty())
}

/// Beyond Consul: runs the check now and answers its outcome.
pub(super) async fn run(call: Call) -> Result<Response, Error> {
    call.write()?;
    let id = call.name("Missing check ID")?;
    let run = call.context.local.run_check(&id).await?;
    respond::json(&call, &run)
}
