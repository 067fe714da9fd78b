//! `/v1/health/*`. Contract: HTTP API, section "Health".

use std::sync::Arc;

use axum::response::Response;
use shared::health::ServiceNode;

use super::{cache::Source, catalog::read_failed, error::Error, extract::Call, query::parse_bool, respond};
use crate::rpc::{self, Answer};

pub(super) async fn node(call: Call) -> Result<Response, Error> {
    let request = call.discovery_read()?;
    let node = call.name("Missing node name")?;
    let answer = call.context.router.call(request, rpc::NodeChecks { node }).await.map_err(read_failed)?;
    respond::consistent_read(&call, &answer)
}

pub(super) async fn checks(call: Call) -> Result<Response, Error> {
    let request = call.discovery_read()?;
    let service = call.name("Missing service name")?;
    let answer = call.context.router.call(request, rpc::ServiceChecks { service }).await.map_err(read_failed)?;
    respond::consistent_read(&call, &answer)
}

pub(super) async fn state(call: Call) -> Result<Response, Error> {
    let request = call.discovery_read()?;
    let state = call.name("Missing check state")?;
    let answer = call.context.router.call(request, rpc::Checks { state }).await.map_err(read_failed)?;
    respond::consistent_read(&call, &answer)
}

pub(super) async fn service(call: Call) -> Result<Response, Error> {
    let (answer, source) = instances(&call).await?;
    respond::cacheable_read(&call, &answer, source)
}

/// Mesh-capable instances: only those that speak mesh TLS themselves, as there is no mesh to have proxies.
pub(super) async fn connect(call: Call) -> Result<Response, Error> {
    let (answer, source) = instances(&call).await?;
    let native: Vec<&ServiceNode> = answer.value.iter().filter(|row| row.service.connect.native).collect();
    respond::cacheable_read(&call, &Answer { meta: answer.meta, value: native }, source)
}

/// Ingress gateways of a service: there are none.
pub(super) async fn ingress(call: Call) -> Result<Response, Error> {
    let (answer, source) = instances(&call).await?;
    respond::cacheable_read(&call, &Answer::<[ServiceNode; 0]> { meta: answer.meta, value: [] }, source)
}

async fn instances(call: &Call) -> Result<(Answer<Arc<Vec<ServiceNode>>>, Option<Source>), Error> {
    let request = call.discovery_read()?;
    let service = call.name("Missing service name")?;
    let passing = match call.query.find("passing") {
        None => false,
        Some("") => true,
        Some(value) => parse_bool(value).ok_or_else(|| Error::bad_request("Invalid value for ?passing"))?,
    };
    let tags = call.query.all("tag").map(str::to_owned).collect();
    call.cacheable(request, rpc::HealthServiceNodes { service, tags, passing }).await.map_err(read_failed)
}
