//! `/v1/catalog/*`. Contract: HTTP API, section "Catalog".

use axum::response::Response;
use shared::catalog::{CatalogService, Deregistration, NodeServiceList, Registration};

use super::{cache::Source, error::Error, extract::Call, respond};
use crate::rpc::{self, Answer};

pub(super) async fn register(mut call: Call) -> Result<Response, Error> {
    let mut request = call.write()?;
    let mut registration: Registration = call.decode().await?;
    target(&mut request, &mut registration.datacenter);
    call.context.router.call(request, rpc::Register { registration, transitions: Vec::new() }).await?;
    respond::json(&call, &true)
}

pub(super) async fn deregister(mut call: Call) -> Result<Response, Error> {
    let mut request = call.write()?;
    let mut deregistration: Deregistration = call.decode().await?;
    target(&mut request, &mut deregistration.datacenter);
    call.context.router.call(request, rpc::Deregister { deregistration }).await?;
    respond::json(&call, &true)
}

/// The body's datacenter decides; without one the query's is the body's.
fn target(request: &mut rpc::Request, datacenter: &mut String) {
    if datacenter.is_empty() {
        datacenter.clone_from(&request.datacenter);
    } else {
        request.datacenter.clone_from(datacenter);
    }
}

pub(super) async fn datacenters(call: Call) -> Result<Response, Error> {
    let (answer, source) = call.cacheable(call.discovery_read()?, rpc::Datacenters {}).await?;
    let mut response = respond::json(&call, &answer.value)?;
    respond::set_source(response.headers_mut(), source);
    Ok(response)
}

pub(super) async fn nodes(call: Call) -> Result<Response, Error> {
    let request = call.discovery_read()?;
    let answer = call.context.router.call(request, rpc::Nodes {}).await.map_err(read_failed)?;
    respond::consistent_read(&call, &answer)
}

pub(super) async fn services(call: Call) -> Result<Response, Error> {
    let request = call.discovery_read()?;
    let (answer, source) = call.cacheable(request, rpc::Services {}).await.map_err(read_failed)?;
    respond::cacheable_read(&call, &answer, source)
}

pub(super) async fn service(call: Call) -> Result<Response, Error> {
    let (answer, source) = instances(&call).await?;
    respond::cacheable_read(&call, &answer, source)
}

/// Mesh-capable instances: only those that speak mesh TLS themselves, as there is no mesh to have proxies.
pub(super) async fn connect(call: Call) -> Result<Response, Error> {
    let (mut answer, source) = instances(&call).await?;
    answer.value.retain(|row| row.service_connect.native);
    respond::cacheable_read(&call, &answer, source)
}

async fn instances(call: &Call) -> Result<(Answer<Vec<CatalogService>>, Option<Source>), Error> {
    let request = call.discovery_read()?;
    let service = call.name("Missing service name")?;
    let tags = call.query.all("tag").map(str::to_owned).collect();
    call.cacheable(request, rpc::CatalogServiceNodes { service, tags }).await.map_err(read_failed)
}

pub(super) async fn node(call: Call) -> Result<Response, Error> {
    let request = call.discovery_read()?;
    let node = call.name("Missing node name")?;
    let answer = call.context.router.call(request, rpc::NodeServices { node }).await.map_err(read_failed)?;
    respond::consistent_read(&call, &answer)
}

pub(super) async fn node_services(call: Call) -> Result<Response, Error> {
    let request = call.discovery_read()?;
    let node = call.name("Missing node name")?;
    let answer = call.context.router.call(request, rpc::NodeServices { node }).await.map_err(read_failed)?;
    let value = answer.value.map_or_else(NodeServiceList::default, |found| NodeServiceList {
        node: Some(found.node),
        services: Some(found.services.into_values().collect()),
    });
    respond::consistent_read(&call, &Answer { meta: answer.meta, value })
}

/// Services behind a gateway: there are no gateways, so `null`, as Consul answers for an unknown one.
pub(super) async fn gateway_services(call: Call) -> Result<Response, Error> {
    let request = call.discovery_read()?;
    let service = call.name("Missing gateway name")?;
    let call_known = rpc::CatalogServiceNodes { service, tags: Vec::new() };
    let answer = call.context.router.call(request, call_known).await.map_err(read_failed)?;
    respond::consistent_read(&call, &Answer { meta: answer.meta, value: () })
}

/// Catalog and health reads carry index headers even when they fail.
pub(super) fn read_failed(error: rpc::Error) -> Error {
    Error::from(error).of_read()
}
