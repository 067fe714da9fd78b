//! Starting and stopping an agent.

use std::time::Duration;

use tests::{
    node::{Node, Product, Start},
    wait::wait_until,
};

#[test]
fn a_dev_agent_leads_at_once_and_knows_itself() {
    let node = Node::dev();
    assert!(node.time_to_leader < Duration::from_secs(3), "a leader after {:?}", node.time_to_leader);
    let information = node.http.get("/v1/agent/self").json();
    assert_eq!(information["Config"]["Datacenter"], "dc1");
    assert_eq!(information["Config"]["NodeName"], "n1");
    assert_eq!(information["Member"]["Addr"], node.ip.to_string());
    let leader = node.http.get("/v1/status/leader").json();
    assert_eq!(leader, format!("{}:{}", node.ip, information["Member"]["Tags"]["port"].as_str().expect("a port tag")));
    let consul = node.http.get("/v1/health/service/consul").json();
    assert_eq!(consul[0]["Checks"][0]["CheckID"], "serfHealth");
    assert_eq!(consul[0]["Checks"][0]["Status"], "passing");
}

#[test]
fn a_stop_by_signal_is_clean_and_frees_the_ports() {
    let start = Start::dev(Product::Muster);
    for signal in ["INT", "TERM"] {
        let mut node = start.start();
        assert!(node.end_by(signal).is_some(), "ended by the signal itself, not by its handler:\n{}", node.log());
    }
    let node = start.start();
    assert_eq!(node.http.get("/v1/status/leader").status, 200);
}

#[test]
fn definitions_in_files_are_registered_and_a_bad_file_is_told() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let text = r#"
        node_meta { rack = "r1" }
        service { name = "from-file" port = 99 tags = ["a"] check { ttl = "1h" status = "passing" } }
    "#;
    let node = Start::dev(Product::Muster).with_config(directory.path(), "web.hcl", text).start();
    wait_until("the service in the catalog", || {
        let row = node.http.get("/v1/health/service/from-file?passing").json();
        (row[0]["Service"]["Port"] == 99 && row[0]["Node"]["Meta"]["rack"] == "r1").then_some(())
    });

    let mut node = Start::dev(Product::Muster).with_config(directory.path(), "bad.hcl", "foo = 1").spawn();
    assert_eq!(node.end(), Some(1), "{}", node.log());
    // Its last words may still be on their way.
    wait_until("the reason", || node.log().contains("invalid config key foo").then_some(()));
}

#[test]
fn a_taken_port_is_told_by_name() {
    let start = Start::dev(Product::Muster);
    let _first = start.start();
    let mut second = start.spawn();
    assert_eq!(second.end(), Some(1));
    assert!(second.log().contains(&start.ip.to_string()), "{}", second.log());
}
