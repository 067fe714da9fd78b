//! `/v1/operator/*`, `/v1/muster/raft` and `/v1/muster/gossip`. Contract: HTTP API, section "Snapshot, operator".
//!
//! Asked of any agent: the servers answer, the leader what only it knows.

use axum::{
    http::{Method, StatusCode},
    response::Response,
};
use serde::Deserialize;
use shared::operator::{AutopilotConfiguration, AutopilotHealth, AutopilotState, KeyringPool, ServerState, Transferred};

use super::{error::Error, extract::Call, query::parse_uint, respond};
use crate::rpc;

pub(super) async fn raft_configuration(call: Call) -> Result<Response, Error> {
    let answer = call.context.router.call(call.read()?, rpc::RaftConfiguration {}).await?;
    respond::json(&call, &answer.value)
}

pub(super) async fn remove_peer(call: Call) -> Result<Response, Error> {
    let (id, address) = (call.query.get("id").to_owned(), call.query.get("address").to_owned());
    match (id.is_empty(), address.is_empty()) {
        (true, true) => {
            let text = "Bad request: Must specify either ?id with the server's ID or ?address with IP:port of peer to remove";
            return Err(Error::bad_request(text));
        }
        (false, false) => return Err(Error::bad_request("Bad request: Must specify only one of ?id or ?address")),
        _ => {}
    }
    call.context.router.call(call.write()?, rpc::RemovePeer { id, address }).await?;
    Ok(respond::empty())
}

pub(super) async fn transfer_leader(call: Call) -> Result<Response, Error> {
    let id = call.query.get("id").to_owned();
    call.context.router.call(call.write()?, rpc::TransferLeader { id }).await?;
    respond::json(&call, &Transferred { success: true })
}

pub(super) async fn autopilot(call: Call) -> Result<Response, Error> {
    let answer = call.context.router.call(call.read()?, rpc::Autopilot {}).await?;
    respond::json(&call, &answer.value)
}

pub(super) async fn set_autopilot(mut call: Call) -> Result<Response, Error> {
    let request = call.write()?;
    let cas = match call.query.find("cas") {
        Some(text) => Some(parse_uint(text).map_err(|why| Error::bad_request(format!("Bad request: Error parsing cas value: {why}")))?),
        None => None,
    };
    let decoded = call.decode::<AutopilotConfiguration>().await;
    let configuration =
        decoded.map_err(|why| Error::bad_request(format!("Bad request: Error parsing autopilot config: {}", why.text())))?;
    let answer = call.context.router.call(request, rpc::SetAutopilot { configuration, cas }).await?;
    respond::json(&call, &answer.value)
}

pub(super) async fn autopilot_health(call: Call) -> Result<Response, Error> {
    let answer = call.context.router.call(call.read()?, rpc::AutopilotHealth {}).await?;
    let status = if answer.value.healthy { StatusCode::OK } else { StatusCode::TOO_MANY_REQUESTS };
    respond::json_with(&call, status, &answer.value)
}

pub(super) async fn autopilot_state(call: Call) -> Result<Response, Error> {
    let answer = call.context.router.call(call.read()?, rpc::AutopilotHealth {}).await?;
    respond::json(&call, &state(answer.value))
}

/// The newer shape of the same facts.
fn state(health: AutopilotHealth) -> AutopilotState {
    let role = |voter: bool| if voter { "voter" } else { "non-voter" }.to_owned();
    let leader = health.servers.iter().find(|server| server.leader).map(|server| server.id.clone()).unwrap_or_default();
    let voters = health.servers.iter().filter(|server| server.voter).map(|server| server.id.clone()).collect();
    let servers = health.servers.into_iter().map(|server| {
        let state = ServerState {
            id: server.id.clone(),
            name: server.name,
            address: server.address,
            node_status: server.serf_status,
            version: server.version,
            last_contact: server.last_contact,
            last_term: server.last_term,
            last_index: server.last_index,
            healthy: server.healthy,
            stable_since: server.stable_since,
            read_replica: false,
            status: if server.leader { "leader".to_owned() } else { role(server.voter) },
            node_type: role(server.voter),
            ..ServerState::default()
        };
        (server.id, state)
    });
    AutopilotState {
        servers: servers.collect(),
        healthy: health.healthy,
        failure_tolerance: health.failure_tolerance,
        optimistic_failure_tolerance: health.failure_tolerance,
        leader,
        voters,
    }
}

/// The body of a change of the keys.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Key {
    key: String,
}

pub(super) async fn keyring(mut call: Call) -> Result<Response, Error> {
    let request = call.write()?;
    check_keyring_query(&call)?;
    let verb = match call.method {
        Method::POST => "install",
        Method::PUT => "use",
        Method::DELETE => "remove",
        _ => "list",
    };
    let key = if verb == "list" { String::new() } else { call.decode::<Key>().await?.key };
    let answer = call.context.router.call(request, rpc::Keyring { verb: verb.to_owned(), key }).await?;
    let keyring = answer.value;
    // Any member that fails makes the whole call an error that names it.
    if !keyring.messages.is_empty() {
        let list: String = keyring.messages.iter().map(|(node, why)| format!("\t* {node}: {why}\n")).collect();
        let (failed, all) = (keyring.messages.len(), keyring.nodes);
        return Err(Error::internal(format!("{failed}/{all} nodes reported failure: 1 error occurred:\n{list}\n")));
    }
    if verb != "list" {
        return Ok(respond::empty());
    }
    let pool = KeyringPool {
        datacenter: call.context.options.datacenter.clone(),
        keys: keyring.keys,
        primary_keys: keyring.primary_keys,
        num_nodes: keyring.nodes,
        ..KeyringPool::default()
    };
    respond::json(&call, &[pool])
}

fn check_keyring_query(call: &Call) -> Result<(), Error> {
    let relay = call.query.get("relay-factor");
    if !relay.is_empty() && !relay.parse::<u8>().is_ok_and(|factor| factor <= 5) {
        let text = "Bad request: Invalid relay-factor: Relay factor must be in range: [0, 5]";
        return Err(Error::bad_request(text));
    }
    if call.query.has("local-only") && call.method != Method::GET {
        let text = "Bad request: Invalid use of local-only: local-only can only be set for list requests";
        return Err(Error::bad_request(text));
    }
    Ok(())
}

pub(super) async fn raft(call: Call) -> Result<Response, Error> {
    let answer = call.context.router.call(call.read()?, rpc::Raft {}).await?;
    respond::read(&call, &answer)
}

pub(super) async fn gossip(call: Call) -> Result<Response, Error> {
    let answer = call.context.router.call(call.read()?, rpc::Gossip {}).await?;
    respond::read(&call, &answer)
}
