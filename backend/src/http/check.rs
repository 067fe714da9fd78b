//! `/v1/muster/check/*`: run now, status and history of any node's checks. Beyond Consul; see `EXTENSIONS.md`.

use axum::response::Response;

use super::{error::Error, extract::Call, remote, respond};
use crate::rpc::{self, Payload};

/// Node and check id from the path.
fn target(call: &Call) -> Result<(&str, String), Error> {
    let (node, id) = call.rest.split_once('/').unwrap_or((&call.rest, ""));
    if node.is_empty() {
        return Err(Error::bad_request("Missing node name"));
    }
    if id.is_empty() {
        return Err(Error::bad_request("Missing check ID"));
    }
    Ok((node, id.to_owned()))
}

pub(super) async fn run(call: Call) -> Result<Response, Error> {
    let (node, check_id) = target(&call)?;
    let reply = remote::carry(&call, call.write()?, node, Payload::RunCheck { check_id }).await?;
    remote::answer(&call, reply)
}

pub(super) async fn status(call: Call) -> Result<Response, Error> {
    let (node, check_id) = target(&call)?;
    let reply = remote::carry(&call, call.write()?, node, Payload::CheckStatus { check_id }).await?;
    remote::answer(&call, reply)
}

pub(super) async fn history(call: Call) -> Result<Response, Error> {
    let request = call.read()?;
    let service = call.query.get("service").to_owned();
    let (node, check_id) = call.rest.split_once('/').unwrap_or((&call.rest, ""));
    if node.is_empty() && service.is_empty() {
        return Err(Error::bad_request("Missing node name or ?service"));
    }
    let operation = rpc::CheckHistory { node: node.to_owned(), check_id: check_id.to_owned(), service };
    let answer = call.context.router.call(request, operation).await?;
    respond::read(&call, &answer)
}
