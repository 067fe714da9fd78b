//! `operator raft …` and `operator autopilot …`: what operators see of the servers and change.
//!
//! Contract: command line, section "Operator".

use serde::Serialize as _;
use serde_json::ser::PrettyFormatter;
use shared::operator::{
    AutopilotConfiguration, AutopilotState, GetAutopilot, GetAutopilotState, GetRaftConfiguration, RaftConfiguration, RemoveRaftPeer,
    SetAutopilot, TransferRaftLeader,
};

use super::{
    args::Args,
    client::Client,
    print::{Print, table},
    read,
};

/// `operator raft list-peers`.
pub(super) async fn list_peers(args: &Args, client: &Client, print: &mut Print) -> u8 {
    match client.call(&GetRaftConfiguration { read: read(args) }).await {
        Ok(configuration) => {
            print.line(peers(&configuration));
            0
        }
        Err(why) => {
            print.say(format!("Error getting peers: Failed to retrieve raft configuration: {why}"));
            1
        }
    }
}

fn peers(configuration: &RaftConfiguration) -> String {
    let mut rows = vec![["Node", "ID", "Address", "State", "Voter", "RaftProtocol"].map(str::to_owned).to_vec()];
    rows.extend(configuration.servers.iter().map(|server| {
        let state = if server.leader { "leader" } else { "follower" };
        let voter = server.voter.to_string();
        vec![server.node.clone(), server.id.clone(), server.address.clone(), state.to_owned(), voter, server.protocol_version.clone()]
    }));
    table(&rows)
}

/// `operator raft remove-peer`.
pub(super) async fn remove_peer(args: &Args, client: &Client, print: &mut Print) -> u8 {
    let (id, address) = (args.text("id"), args.text("address"));
    let (problem, done) = match (id.is_empty(), address.is_empty()) {
        (true, true) => (Some("an address or id is required for the peer to remove"), String::new()),
        (false, false) => (Some("cannot give both an address and id"), String::new()),
        (false, true) => (None, format!("Removed peer with id \"{id}\"")),
        (true, false) => (None, format!("Removed peer with address \"{address}\"")),
    };
    let result = match problem {
        Some(problem) => Err(problem.to_owned()),
        None => client.call(&RemoveRaftPeer { id, address }).await.map_err(|why| why.to_string()),
    };
    told(result.map(|()| done), "Error removing peer", print)
}

/// `operator raft transfer-leader`.
pub(super) async fn transfer_leader(args: &Args, client: &Client, print: &mut Print) -> u8 {
    let result = client.call(&TransferRaftLeader { id: args.text("id") }).await.map_err(|why| why.to_string());
    told(result.map(|_| "Success".to_owned()), "Error transferring leadership", print)
}

fn told(result: Result<String, String>, failed: &str, print: &mut Print) -> u8 {
    match result {
        Ok(text) => {
            print.line(text);
            0
        }
        Err(why) => {
            print.say(format!("{failed}: {why}"));
            1
        }
    }
}

/// `operator autopilot get-config`.
pub(super) async fn get_autopilot(args: &Args, client: &Client, print: &mut Print) -> u8 {
    let result = client.call(&GetAutopilot { read: read(args) }).await.map_err(|why| why.to_string());
    told(result.map(|configuration| listed(&configuration)), "Error querying Autopilot configuration", print)
}

fn listed(configuration: &AutopilotConfiguration) -> String {
    let it = configuration;
    [
        format!("CleanupDeadServers = {}", it.cleanup_dead_servers),
        format!("LastContactThreshold = {}", it.last_contact_threshold),
        format!("MaxTrailingLogs = {}", it.max_trailing_logs),
        format!("MinQuorum = {}", it.min_quorum),
        format!("ServerStabilizationTime = {}", it.server_stabilization_time),
        format!("RedundancyZoneTag = {:?}", it.redundancy_zone_tag),
        format!("DisableUpgradeMigration = {}", it.disable_upgrade_migration),
        format!("UpgradeVersionTag = {:?}", it.upgrade_version_tag),
    ]
    .join("\n")
}

/// `operator autopilot set-config`: changes what is named and keeps the rest.
pub(super) async fn set_autopilot(args: &Args, client: &Client, print: &mut Print) -> u8 {
    let now = match client.call(&GetAutopilot { read: read(args) }).await {
        Ok(now) => now,
        Err(why) => {
            print.say(format!("Error querying Autopilot configuration: {why}"));
            return 1;
        }
    };
    let configuration = match changed(args, now) {
        Ok(configuration) => configuration,
        Err(why) => {
            print.say(why);
            return 1;
        }
    };
    // Conditional, so that two operators do not undo each other.
    let set = SetAutopilot { cas: Some(configuration.modify_index), configuration };
    match client.call(&set).await {
        Ok(true) => told(Ok("Configuration updated!".to_owned()), "", print),
        Ok(false) => told(Err("could not be updated, somebody else did so meanwhile: try again".to_owned()), "Configuration", print),
        Err(why) => told(Err(why.to_string()), "Error setting Autopilot configuration", print),
    }
}

/// `operator autopilot state`.
pub(super) async fn autopilot_state(args: &Args, client: &Client, print: &mut Print) -> u8 {
    let format = args.get("format").unwrap_or("pretty");
    if !matches!(format, "pretty" | "json") {
        return told(Err(format!("unknown format {format:?}")), "Error", print);
    }
    let state = match client.call(&GetAutopilotState { read: read(args) }).await {
        Ok(state) => state,
        Err(why) => return told(Err(why.to_string()), "Error querying Autopilot state", print),
    };
    let text = if format == "json" { indented(&state).map_err(|why| why.to_string()) } else { Ok(judged(&state)) };
    told(text, "Error formatting the state", print)
}

fn indented(state: &AutopilotState) -> Result<String, serde_json::Error> {
    let mut out = Vec::new();
    state.serialize(&mut serde_json::Serializer::with_formatter(&mut out, PrettyFormatter::with_indent(b"    ")))?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}

fn judged(state: &AutopilotState) -> String {
    let head = [
        ("Healthy:", state.healthy.to_string()),
        ("Failure Tolerance:", state.failure_tolerance.to_string()),
        ("Optimistic Failure Tolerance:", state.optimistic_failure_tolerance.to_string()),
        ("Leader:", state.leader.clone()),
    ];
    let mut text: String = head.map(|(name, value)| format!("{name:<29} {value}\n")).concat();
    text.push_str("Voters:\n");
    text.extend(state.voters.iter().map(|id| format!("   {id}\n")));
    text.push_str("Servers:\n");
    for (id, server) in &state.servers {
        text.push_str(&format!("   {id}\n"));
        let rows = [
            ("Name:", server.name.clone()),
            ("Address:", server.address.clone()),
            ("Version:", server.version.clone()),
            ("Status:", server.status.clone()),
            ("Node Type:", server.node_type.clone()),
            ("Node Status:", server.node_status.clone()),
            ("Healthy:", server.healthy.to_string()),
            ("Last Contact:", server.last_contact.to_string()),
            ("Last Term:", server.last_term.to_string()),
            ("Last Index:", server.last_index.to_string()),
        ];
        text.extend(rows.map(|(name, value)| format!("      {name:<16} {value}\n")));
    }
    text.trim_end().to_owned()
}

fn changed(args: &Args, mut configuration: AutopilotConfiguration) -> Result<AutopilotConfiguration, String> {
    let flag = |name: &str, now: bool| match args.get(name) {
        Some(text) => text.parse().map_err(|_| format!("invalid boolean value {text:?} for -{name}")),
        None => Ok(now),
    };
    let number = |name: &str, now: u64| match args.get(name) {
        Some(text) => text.parse().map_err(|_| format!("invalid value {text:?} for flag -{name}")),
        None => Ok(now),
    };
    let duration = |name: &str, now| match args.get(name) {
        Some(text) => text.parse().map_err(|why| format!("invalid value {text:?} for flag -{name}: {why}")),
        None => Ok(now),
    };
    configuration.cleanup_dead_servers = flag("cleanup-dead-servers", configuration.cleanup_dead_servers)?;
    configuration.max_trailing_logs = number("max-trailing-logs", configuration.max_trailing_logs)?;
    configuration.min_quorum = number("min-quorum", configuration.min_quorum)?;
    configuration.last_contact_threshold = duration("last-contact-threshold", configuration.last_contact_threshold)?;
    configuration.server_stabilization_time = duration("server-stabilization-time", configuration.server_stabilization_time)?;
    configuration.disable_upgrade_migration = flag("disable-upgrade-migration", configuration.disable_upgrade_migration)?;
    let tag = |name: &str, now: String| args.get(name).map_or(now, str::to_owned);
    configuration.redundancy_zone_tag = tag("redundancy-zone-tag", configuration.redundancy_zone_tag);
    configuration.upgrade_version_tag = tag("upgrade-version-tag", configuration.upgrade_version_tag);
    Ok(configuration)
}

#[cfg(test)]
mod tests {
    use shared::{
        go::Duration,
        operator::{RaftServer, ServerState},
    };

    use super::*;

    #[test]
    fn peers_are_listed_with_who_leads() {
        let server = |node: &str, leader| RaftServer {
            id: format!("id-{node}"),
            node: node.to_owned(),
            address: "10.0.0.1:8300".to_owned(),
            leader,
            protocol_version: "3".to_owned(),
            voter: true,
        };
        let listed = peers(&RaftConfiguration { servers: vec![server("a", true), server("b", false)], index: 0 });
        let lines: Vec<&str> = listed.lines().collect();
        assert_eq!(lines[0], "Node  ID    Address        State     Voter  RaftProtocol");
        assert_eq!(lines[1], "a     id-a  10.0.0.1:8300  leader    true   3");
        assert_eq!(lines[2], "b     id-b  10.0.0.1:8300  follower  true   3");
    }

    #[test]
    fn servers_are_listed_with_what_autopilot_thinks_of_them() {
        let server = ServerState { name: "a".to_owned(), last_contact: Duration::from_millis(5), ..ServerState::default() };
        let servers = [("id-a".to_owned(), server)].into();
        let state = AutopilotState { failure_tolerance: 1, leader: "id-a".to_owned(), servers, ..AutopilotState::default() };
        let text = judged(&state);
        assert!(text.starts_with("Healthy:                      false\nFailure Tolerance:            1\n"), "{text}");
        assert!(text.contains("\n   id-a\n      Name:            a\n"), "{text}");
        assert!(text.contains("\n      Last Contact:    5ms\n"), "{text}");
        assert!(indented(&state).expect("writes").contains("\n    \"FailureTolerance\": 1,\n"));
    }

    #[test]
    fn the_configuration_is_listed_as_operators_know_it() {
        let text = listed(&AutopilotConfiguration::default());
        assert!(text.starts_with("CleanupDeadServers = true\nLastContactThreshold = 200ms\nMaxTrailingLogs = 250\n"), "{text}");
        assert!(text.ends_with("RedundancyZoneTag = \"\"\nDisableUpgradeMigration = false\nUpgradeVersionTag = \"\""), "{text}");
    }
}
