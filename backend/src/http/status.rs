//! `/v1/status/*`. Contract: HTTP API, section "Status, agent".

use axum::response::Response;

use super::{error::Error, extract::Call, respond};
use crate::rpc;

pub(super) async fn leader(call: Call) -> Result<Response, Error> {
    let answer = call.context.router.call(call.write()?, rpc::Leader {}).await?;
    respond::json(&call, &answer.value)
}

pub(super) async fn peers(call: Call) -> Result<Response, Error> {
    let answer = call.context.router.call(call.write()?, rpc::Peers {}).await?;
    respond::json(&call, &answer.value)
}
