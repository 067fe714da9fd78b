//! The command line against a running agent.

use std::process::{Command, Output};

use tests::node::{Node, Product, Start, muster};

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
