//! `/v1/agent/*` about the agent itself. Contract: HTTP API, section "Status, agent". Never leaves this agent.

use axum::response::Response;
use serde_json::json;

use super::{error::Error, extract::Call, query::parse_bool, respond};

pub(super) async fn info(call: Call) -> Result<Response, Error> {
    let info = call.context.control.info().await;
    respond::json(&call, &info)
}

pub(super) async fn version(call: Call) -> Result<Response, Error> {
    let version = env!("CARGO_PKG_VERSION");
    respond::json(&call, &json!({"SHA": "", "BuildDate": "1970-01-01T00:00:00Z", "HumanVersion": version, "FIPS": ""}))
}

pub(super) async fn members(call: Call) -> Result<Response, Error> {
    // There is but one, which has no name.
    if !matches!(call.query.get("segment"), "" | "_all") {
        return Err(Error::internal("Network segments are not supported in this version of Consul"));
    }
    let members = call.context.control.members(call.query.has("wan"));
    respond::json(&call, &members)
}

pub(super) async fn maintenance(call: Call) -> Result<Response, Error> {
    let (enable, reason) = maintenance_query(&call)?;
    call.context.local.node_maintenance(enable, &reason).await?;
    Ok(respond::empty())
}

/// `enable` and `reason` of a maintenance call.
pub(super) fn maintenance_query(call: &Call) -> Result<(bool, String), Error> {
    let Some(enable) = call.query.find("enable") else { return Err(Error::bad_request("Missing value for enable")) };
    let enable = parse_bool(enable).ok_or_else(|| Error::bad_request(format!("Invalid value for enable: {enable:?}")))?;
    Ok((enable, call.query.get("reason").to_owned()))
}

pub(super) async fn join(call: Call) -> Result<Response, Error> {
    let address = call.name("Missing address to join")?;
    call.context.control.join(&address, call.query.has("wan")).await?;
    Ok(respond::empty())
}

pub(super) async fn leave(call: Call) -> Result<Response, Error> {
    call.context.control.leave().await?;
    Ok(respond::empty())
}

pub(super) async fn force_leave(call: Call) -> Result<Response, Error> {
    let node = call.name("Missing node name")?;
    call.context.control.force_leave(&node, call.query.has("prune")).await?;
    Ok(respond::empty())
}

pub(super) async fn reload(call: Call) -> Result<Response, Error> {
    call.context.control.reload().await?;
    Ok(respond::empty())
}
