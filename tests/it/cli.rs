//! The command line against a running agent.

use std::{
    process::{Command, Output},
    time::Duration,
};

use serde_json::Value;
use tests::{
    cluster::{Cluster, DEADLINE},
    node::{Node, Product, Start, muster},
    wait::wait_within,
};

fn run(node: &Node, arguments: &[&str]) -> Output {
    Command::new(muster()).args(arguments).env("CONSUL_HTTP_ADDR", node.http.address.to_string()).output().expect("the command runs")
}

fn expect(node: &Node, arguments: &[&str], code: i32, out: &str) {
    let output = run(node, arguments);
    let text = String::from_utf8_lossy(if code == 0 { &output.stdout } else { &output.stderr }).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
    assert!(text.contains(out), "{arguments:?}: expected {out:?} in {text:?}");
}

#[test]
fn keys_services_and_members_by_command() {
    let node = Node::dev();
    expect(&node, &["kv", "put", "a/b", "hello"], 0, "Success! Data written to: a/b");
    expect(&node, &["kv", "get", "a/b"], 0, "hello");
    expect(&node, &["kv", "get", "-detailed", "a/b"], 0, "ModifyIndex");
    expect(&node, &["kv", "get", "-recurse", "a/"], 0, "a/b:hello");
    expect(&node, &["kv", "get", "nope"], 1, "Error! No key exists at: nope");
    expect(&node, &["kv", "put", "-cas", "-modify-index=999999", "a/b", "x"], 1, "Error! Did not write to a/b: CAS failed");
    expect(&node, &["kv", "delete", "a/b"], 0, "Success! Deleted key: a/b");
    expect(&node, &["services", "register", "-name=web", "-port=80"], 0, "Registered service: web");
    expect(&node, &["maint", "-enable", "-service=web", "-reason=why"], 0, "Service maintenance is now enabled for \"web\"");
    expect(&node, &["maint"], 0, "why");
    expect(&node, &["maint", "-disable", "-service=web"], 0, "Service maintenance is now disabled for \"web\"");
    expect(&node, &["services", "deregister", "-id=web"], 0, "Deregistered service: web");
    expect(&node, &["members"], 0, "n1");
    expect(&node, &["catalog", "services"], 0, "consul");
    expect(&node, &["catalog", "nodes"], 0, "n1");
    expect(&node, &["catalog", "datacenters"], 0, "dc1");
    expect(&node, &["info"], 0, "raft:");
    expect(&node, &["version"], 0, "Muster v");
    assert_eq!(run(&node, &["members", "-status=failed"]).status.code(), Some(2));
    assert_eq!(run(&node, &["nonsense"]).status.code(), Some(127));
    assert_eq!(String::from_utf8_lossy(&run(&node, &["keygen"]).stdout).trim().len(), 44);
}

#[test]
fn keys_of_gossip_by_command() {
    let (old, new) = ("AQEBAQEBAQEBAQEBAQEBAQ==", "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=");
    let node = Start::dev(Product::Muster).with(format!("-encrypt={old}")).start();
    let one = format!("==> Gathering installed encryption keys...\n\ndc1 (LAN):\n  {old} [1/1]\n");
    assert_eq!(String::from_utf8_lossy(&run(&node, &["keyring", "-list"]).stdout), one);
    let not_there = "error: Unexpected response code: 500 (2 errors occurred:\n\t* dc1 (LAN) error: 1/1 nodes reported failure\n\t* n1: ";
    expect(&node, &["keyring", "-use", new], 1, &format!("{not_there}Requested key is not in the keyring"));
    expect(&node, &["keyring", "-install", new], 0, "==> Installing new gossip encryption key...\n");
    expect(&node, &["keyring", "-remove", old], 1, &format!("{not_there}Removing the primary key is not allowed"));
    expect(&node, &["keyring", "-use", new], 0, "==> Changing primary gossip encryption key...\n");
    expect(&node, &["keyring", "-list-primary", "-local-only"], 0, &format!("\ndc1 (LAN):\n  {new} [1/1]\n"));
    expect(&node, &["keyring", "-remove", old], 0, "==> Removing gossip encryption key...\n");
    expect(&node, &["keyring", "-list", "-relay-factor=5"], 0, &format!("\ndc1 (LAN):\n  {new} [1/1]\n"));
}

/// Whoever is killed is missed soon.
const QUICK: &str = "-hcl=gossip_lan { probe_interval = \"400ms\" probe_timeout = \"200ms\" }";

/// What a command prints, which has to succeed.
fn said(node: &Node, arguments: &[&str]) -> String {
    let output = run(node, arguments);
    let (out, error) = (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned());
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {out}{error}");
    out
}

/// Waits until a list has as many rows as that, each with all of these words.
fn rows(node: &Node, arguments: &[&str], words: &[&str], count: usize) {
    wait_within(&format!("{count} rows of {arguments:?} with {words:?}"), DEADLINE, || {
        let output = run(node, arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (text.lines().skip(1).filter(|row| words.iter().all(|word| row.contains(word))).count() == count).then_some(())
    });
}

/// The state without what another moment has otherwise.
fn lasting(state: &Value) -> Value {
    let mut state = state.clone();
    for server in state["Servers"].as_object_mut().into_iter().flat_map(|servers| servers.values_mut()) {
        for field in ["LastContact", "LastIndex"] {
            server[field] = Value::Null;
        }
    }
    state
}

#[test]
fn servers_are_seen_handed_over_to_and_removed_by_command() {
    let mut cluster = Cluster::servers(3, &[QUICK.to_owned()]);
    let leader = cluster.leader();
    let (asked, third) = (cluster.others(leader)[0], cluster.others(leader)[1]);
    let start = |place: usize| cluster.members[place].start.clone();
    let ids = [leader, asked, third].map(|place| start(place).id);
    let address = format!("{}:8300", start(third).ip);
    let names = [leader, asked, third].map(|place| start(place).name);
    let node = cluster.members[asked].node();
    let peers = &["operator", "raft", "list-peers"];
    rows(node, peers, &["true", "3"], 3);
    rows(node, peers, &[&names[0], &ids[0], "leader"], 1);
    rows(node, peers, &["follower"], 2);

    let config = &["operator", "autopilot", "get-config"];
    assert!(said(node, config).starts_with("CleanupDeadServers = true\nLastContactThreshold = 200ms\nMaxTrailingLogs = 250\n"));
    let set = ["operator", "autopilot", "set-config", "-cleanup-dead-servers=false", "-server-stabilization-time=100ms"];
    expect(node, &set, 0, "Configuration updated!");
    let now = said(node, config);
    assert!(now.contains("CleanupDeadServers = false\n") && now.contains("ServerStabilizationTime = 100ms\n"), "{now}");
    assert!(now.contains("MaxTrailingLogs = 250\n"), "what is not named stays: {now}");
    expect(node, &["operator", "autopilot", "set-config", "-max-trailing-logs=many"], 1, "max-trailing-logs");

    expect(node, &["operator", "raft", "transfer-leader", "-id=nobody"], 1, "Error transferring leadership: ");
    expect(node, &["operator", "raft", "transfer-leader", &format!("-id={}", ids[1])], 0, "Success");
    assert_eq!(cluster.leader(), asked, "the one that was named leads");
    let node = cluster.members[asked].node();
    rows(node, peers, &[&names[1], &ids[1], "leader"], 1);

    let state = wait_within("everybody to be healthy", DEADLINE, || {
        let state: Value = serde_json::from_str(&said(node, &["operator", "autopilot", "state", "-format=json"])).ok()?;
        (state["Healthy"] == true).then_some(state)
    });
    let told = cluster.get(asked, "/v1/operator/autopilot/state");
    assert_eq!(lasting(&state), lasting(&told), "the command shows what the API answers");
    assert_eq!((&state["FailureTolerance"], &state["Leader"]), (&1.into(), &Value::from(ids[1].as_str())));
    assert_eq!(state["Voters"].as_array().map(Vec::len), Some(3));
    let seen = &state["Servers"][&ids[2]];
    assert_eq!((&seen["Name"], &seen["Address"]), (&names[2].as_str().into(), &address.as_str().into()), "{state}");
    assert_eq!((&seen["Status"], &seen["NodeStatus"], &seen["Healthy"]), (&"voter".into(), &"alive".into(), &true.into()), "{state}");
    assert_eq!(state["Servers"][&ids[1]]["Status"], "leader");
    expect(node, &["operator", "autopilot", "state"], 0, &format!("   {}\n      Name:            {}\n", ids[2], names[2]));

    // One is lost for good, and autopilot was told to leave it alone.
    expect(node, &["operator", "raft", "remove-peer", "-id=nobody"], 1, "id \"nobody\" was not found in the Raft configuration");
    cluster.members[third].kill();
    let follower = cluster.members[leader].node();
    // As long as it is taken for alive it would be added again.
    rows(follower, &["members"], &[&names[2], "failed"], 1);
    let remove = ["operator", "raft", "remove-peer", &format!("-id={}", ids[2])];
    expect(follower, &remove, 0, &format!("Removed peer with id \"{}\"", ids[2]));
    rows(follower, peers, &["true"], 2);
    rows(follower, peers, &[&ids[2]], 0);
    // It was not: it is taken in again, and removed over the API.
    cluster.members[third].restart();
    rows(cluster.members[leader].node(), peers, &[&ids[2], "true"], 1);
    cluster.members[third].kill();
    let http = cluster.members[leader].node().http;
    let removed = http.delete(&format!("/v1/operator/raft/peer?address={address}"));
    assert_eq!((removed.status, removed.text().as_str()), (200, ""), "{}", removed.text());
    rows(cluster.members[asked].node(), peers, &["true"], 2);
    assert_eq!(http.put("/v1/kv/a", "1").status, 200, "two of two");
}

#[test]
fn agents_join_leave_stay_away_and_are_forgotten_by_command() {
    let cluster = Cluster::servers(2, &[QUICK.to_owned()]);
    let server = &cluster.members[0];
    let node = server.node();
    let data = format!("-data-dir={}", cluster.directory().join("guest").display());
    let guest = Start::numbered(Product::Muster, 9, vec![data, QUICK.to_owned()]);
    let begin = |start: &Start| {
        let node = start.spawn();
        wait_within("the guest to listen", DEADLINE, || node.http.request("GET", "/v1/agent/members", &[], &[]).ok());
        node
    };
    let mut running = begin(&guest);
    expect(&running, &["join", "127.0.0.1:1"], 1, "Error joining address '127.0.0.1:1': ");
    expect(&running, &["join", "127.0.0.1:1"], 1, "Failed to join any nodes.");
    let address = server.start.ip.to_string();
    expect(&running, &["join", &address], 0, "Successfully joined cluster by contacting 1 nodes.");
    rows(&running, &["members"], &["alive"], 3);
    rows(node, &["members"], &["n9", "alive", "client"], 1);
    rows(node, &["catalog", "nodes"], &["n9"], 1);

    // Its check changes all the time, until it is gone.
    let http = running.http;
    let body = r#"{"Name":"guest","Check":{"CheckID":"flaps","TTL":"10m"}}"#;
    assert_eq!(http.put("/v1/agent/service/register", body).status, 200);
    let reports = std::thread::spawn(move || {
        let report = |word: &&str| http.request("PUT", &format!("/v1/agent/check/{word}/flaps"), &[], b"").is_ok();
        ["pass", "fail"].iter().cycle().take_while(|word| report(word)).count()
    });
    rows(node, &["catalog", "services"], &[], 1);
    expect(&running, &["leave"], 0, "Graceful leave complete");
    assert_eq!(running.end(), Some(0), "{}", running.log());
    assert!(reports.join().expect("ends") > 1);
    rows(node, &["members", "-status=^left$"], &["n9"], 1);
    // At once, and not when everything is next compared with the pool: none of the reports brought it back.
    wait_within("the node to go", Duration::from_secs(30), || (cluster.get(0, "/v1/catalog/nodes").as_array()?.len() == 2).then_some(()));
    rows(node, &["catalog", "nodes"], &["n9"], 0);
    // Who has left stays away: the exchange that is asked for is over after those of its start.
    let mut alone = begin(&guest);
    expect(&alone, &["join", "127.0.0.1:1"], 1, "Failed to join any nodes.");
    rows(&alone, &["members"], &[], 1);
    rows(node, &["members", "-status=^left$"], &["n9"], 1);
    expect(&alone, &["leave"], 0, "Graceful leave complete");
    assert_eq!(alone.end(), Some(0), "{}", alone.log());
    // Unless it is told to come back, to those it knew.
    let mut back = begin(&guest.clone().with("-rejoin"));
    rows(&back, &["members"], &["alive"], 3);
    rows(node, &["members"], &["n9", "alive"], 1);
    rows(node, &["catalog", "nodes"], &["n9"], 1);

    back.kill();
    rows(node, &["members"], &["n9", "failed"], 1);
    expect(node, &["force-leave", "nobody"], 1, "No node found with name 'nobody'");
    assert_eq!(said(node, &["force-leave", "n9"]), "");
    for place in [0, 1] {
        rows(cluster.members[place].node(), &["members"], &["n9", "left"], 1);
    }
    rows(node, &["catalog", "nodes"], &["n9"], 0);
    let mut back = begin(&guest.with("-rejoin"));
    rows(node, &["catalog", "nodes"], &["n9"], 1);
    back.kill();
    rows(node, &["members"], &["n9", "failed"], 1);
    // Whoever is asked: everybody forgets it.
    assert_eq!(said(cluster.members[1].node(), &["force-leave", "-prune", "n9"]), "");
    for place in [0, 1] {
        rows(cluster.members[place].node(), &["members"], &[], 2);
    }
    rows(node, &["catalog", "nodes"], &["n9"], 0);
}
