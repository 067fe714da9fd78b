//! `/v1/operator/*`, `/v1/muster/raft` and `/v1/muster/gossip`. Contract: HTTP API, section "Snapshot, operator".
//!
//! Asked of any agent: the servers answer, the leader what only it knows.

use axum::{
    http::{Method, StatusCode},
    response::Response,
};
use serde::Deserialize;
use shared::{
    gossip,
    operator::{AutopilotConfiguration, AutopilotHealth, AutopilotState, KeyringPool, ServerState, Transferred},
};

use super::{
    error::Error,
    extract::Call,
    query::{parse_bool, parse_uint},
    respond,
};
use crate::rpc;

pub(super) async fn raft_configuration(call: Call) -> Result<Response, Error> {
    let answer = call.context.router.call(call.read()?, rpc::RaftConfiguration {}).await?;
    respond::json(&call, &answer.value)
}

pub(super) async fn remove_peer(call: Call) -> Result<Response, Error> {
    let (id, address) = (call.query.get("id").to_owned(), call.query.get("address").to_owned());
    match (call.query.has("id"), call.query.has("address")) {
        (false, false) => {
            let text = "Bad request: Must specify either ?id with the server's ID or ?address with IP:port of peer to remove";
            return Err(Error::bad_request(text));
        }
        (true, true) => return Err(Error::bad_request("Bad request: Must specify only one of ?id or ?address")),
        (true, false) if id.is_empty() => return Err(Error::internal("id \"\" was not found in the Raft configuration")),
        (false, true) if address.is_empty() => return Err(Error::internal("address \"\" was not found in the Raft configuration")),
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
    let configuration = decoded.map_err(|why| {
        let why = why.text().trim_start_matches("Request decode failed: ");
        Error::bad_request(format!("Bad request: Error parsing autopilot config: {why}"))
    })?;
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

/// Muster has no WAN pool yet: it answers as Consul does with its WAN pool switched off (`ports.serf_wan = -1`), LAN only.
pub(super) async fn keyring(mut call: Call) -> Result<Response, Error> {
    let request = call.write()?;
    check_keyring_query(&call)?;
    let verb = match call.method {
        Method::POST => "install",
        Method::PUT => "use",
        Method::DELETE => "remove",
        _ => "list",
    };
    let key = if verb == "list" {
        String::new()
    } else {
        call.decode::<Key>().await.map_err(|why| Error::bad_request(format!("Bad request: {}", why.text())))?.key
    };
    let answer = call.context.router.call(request, rpc::Keyring { verb: verb.to_owned(), key }).await?;
    let (keyring, datacenter) = (answer.value, &call.context.options.datacenter);
    let problems = problems(datacenter, &keyring);
    if !problems.is_empty() {
        return Err(Error::internal(listed(&problems)));
    }
    if verb != "list" {
        return Ok(respond::empty());
    }
    let pool = KeyringPool {
        datacenter: datacenter.clone(),
        keys: keyring.keys,
        primary_keys: keyring.primary_keys,
        num_nodes: keyring.nodes,
        ..KeyringPool::default()
    };
    respond::json(&call, &[pool])
}

/// Any member that fails makes the whole call an error that names it.
fn problems(datacenter: &str, keyring: &gossip::Keyring) -> Vec<String> {
    let failed = keyring.messages.len();
    let whole = match (keyring.error.as_str(), failed) {
        ("", 0) => return Vec::new(),
        ("", _) => format!("{datacenter} (LAN) error: {failed}/{} nodes reported failure", keyring.nodes),
        (error, _) => format!("{datacenter} (LAN) error: {error}"),
    };
    [whole].into_iter().chain(keyring.messages.iter().map(|(node, why)| format!("{node}: {why}"))).collect()
}

/// Several errors as Go's multierror writes them.
fn listed(problems: &[String]) -> String {
    let noun = if problems.len() == 1 { "error" } else { "errors" };
    let list: String = problems.iter().map(|problem| format!("\t* {problem}\n")).collect();
    format!("{} {noun} occurred:\n{list}\n", problems.len())
}

fn check_keyring_query(call: &Call) -> Result<(), Error> {
    let bad = |why: String| Err(Error::bad_request(format!("Bad request: {why}")));
    let relay = call.query.get("relay-factor");
    if !relay.is_empty() {
        match relay.parse::<i64>() {
            Ok(0..=5) => {}
            Ok(_) => return bad("Invalid relay-factor: Relay factor must be in range: [0, 5]".to_owned()),
            Err(_) => return bad(format!("Error parsing relay factor: strconv.Atoi: parsing {relay:?}: invalid syntax")),
        }
    }
    let local = call.query.get("local-only");
    match parse_bool(local) {
        Some(true) if call.method != Method::GET => {
            bad("Invalid use of local-only: local-only can only be set for list requests".to_owned())
        }
        None if !local.is_empty() => bad(format!("Error parsing local-only: strconv.ParseBool: parsing {local:?}: invalid syntax")),
        _ => Ok(()),
    }
}

pub(super) async fn raft(call: Call) -> Result<Response, Error> {
    let answer = call.context.router.call(call.read()?, rpc::Raft {}).await?;
    respond::read(&call, &answer)
}

pub(super) async fn gossip(call: Call) -> Result<Response, Error> {
    let answer = call.context.router.call(call.read()?, rpc::Gossip {}).await?;
    respond::read(&call, &answer)
}
