//! What an operator meets in a bad hour: a server that comes back without its disk, and a cluster without a quorum.

use std::{
    collections::BTreeSet,
    fs, thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tests::{
    cluster::{Cluster, DEADLINE},
    wait::wait_within,
};

const QUICK: &str = "-hcl=autopilot { server_stabilization_time = \"100ms\" }";

/// Name, id and vote of everybody in the Raft configuration.
fn servers(configuration: &Value) -> BTreeSet<(String, String, bool)> {
    let text = |server: &Value, field: &str| server[field].as_str().unwrap_or_default().to_owned();
    let rows = configuration["Servers"].as_array().cloned().unwrap_or_default();
    rows.iter().map(|server| (text(server, "Node"), text(server, "ID"), server["Voter"] == true)).collect()
}

#[test]
fn a_server_that_lost_its_disk_takes_its_former_selfs_place() {
    let mut cluster = Cluster::servers(3, &[QUICK.to_owned()]);
    let leader = cluster.leader();
    let before = servers(&cluster.get(leader, "/v1/operator/raft/configuration"));
    let victim = cluster.others(leader)[0];
    cluster.members[victim].kill();
    fs::remove_dir_all(cluster.directory().join(format!("n{}", victim + 1))).expect("the disk is gone");
    // Its id was on it.
    cluster.members[victim].start.id = "99999999-2222-4333-8444-555555555555".to_owned();
    cluster.members[victim].restart();
    let name = format!("n{}", victim + 1);
    let after = wait_within("three voters, one of them new", DEADLINE, || {
        let now = servers(&cluster.get(leader, "/v1/operator/raft/configuration"));
        (now.len() == 3 && now.iter().all(|(_, _, voter)| *voter) && now != before).then_some(now)
    });
    assert_eq!(after.intersection(&before).count(), 2, "only one has changed: {before:?} {after:?}");
    let id = &after.iter().find(|server| server.0 == name).expect("it is there").1;
    let in_catalog = wait_within("the catalog to have the new node", DEADLINE, || {
        let node = cluster.get(leader, &format!("/v1/catalog/node/{name}"));
        (node["Node"]["ID"] == id.as_str()).then_some(node)
    });
    assert_eq!(in_catalog["Services"]["consul"]["Port"], 8300);
    wait_within("its services and checks", DEADLINE, || {
        let checks = cluster.get(leader, &format!("/v1/health/node/{name}"));
        (checks[0]["CheckID"] == "serfHealth" && checks[0]["Status"] == "passing").then_some(())
    });
    // It counts as one: with another one gone there is a quorum.
    let third = *cluster.others(leader).iter().find(|place| **place != victim).expect("three servers");
    cluster.members[third].kill();
    let http = cluster.members[leader].node().http;
    wait_within("a write by two of three", DEADLINE, || {
        http.request("PUT", "/v1/kv/a", &[], b"1").ok().filter(|answer| answer.status == 200)
    });
}

#[test]
fn without_a_quorum_every_call_is_answered_in_time_and_the_log_says_what_is_missing() {
    let hold = "-hcl=performance { rpc_hold_timeout = \"2s\" }";
    let mut cluster = Cluster::servers(3, &[hold.to_owned()]);
    let leader = cluster.leader();
    let others = cluster.others(leader);
    for place in [leader, others[1]] {
        cluster.members[place].kill();
    }
    let left = others[0];
    let http = cluster.members[left].node().http;
    wait_within("no leader", DEADLINE, || (cluster.get(left, "/v1/status/leader") == "").then_some(()));
    let calls = [
        ("GET", "/v1/snapshot"),
        ("GET", "/v1/snapshot"),
        ("GET", "/v1/snapshot"),
        ("PUT", "/v1/snapshot"),
        ("PUT", "/v1/snapshot"),
        ("GET", "/v1/kv/a"),
        ("PUT", "/v1/kv/a"),
        ("GET", "/v1/operator/raft/configuration"),
        // What only a leader knows nobody else makes up.
        ("GET", "/v1/operator/autopilot/health?stale"),
    ];
    let asked: Vec<_> = calls
        .into_iter()
        .map(|(method, path)| {
            thread::spawn(move || {
                let began = Instant::now();
                (http.request(method, path, &[], b"x").map(|answer| (answer.status, answer.text())), began.elapsed())
            })
        })
        .collect();
    // Meanwhile the agent goes on with everything else: waiting costs no processor.
    let node = cluster.members[left].node();
    let (used, began) = (node.cpu_us(), Instant::now());
    while asked.iter().any(|call| !call.is_finished()) {
        let began = Instant::now();
        assert_eq!(http.get("/v1/agent/self").status, 200);
        assert_eq!(http.get("/v1/kv/?keys&stale").header("X-Consul-Knownleader"), Some("false"));
        assert!(began.elapsed() < Duration::from_secs(2), "took {:?}", began.elapsed());
    }
    for (call, (method, path)) in asked.into_iter().zip(calls) {
        let (answer, took) = call.join().expect("no panic");
        let (status, text) = answer.unwrap_or_else(|why| panic!("{method} {path}: {why}"));
        assert_eq!((status, text.as_str()), (500, "No cluster leader"), "{method} {path}");
        assert!(took < Duration::from_secs(8), "{method} {path} took {took:?}");
    }
    let (used, took) = (node.cpu_us() - used, began.elapsed());
    assert!(u128::from(used) < took.as_micros(), "{used} us of the processor in {took:?}");
    let log = node.log();
    assert!(log.contains("no cluster leader is heard") && log.contains(" needed=2 missing="), "{log}");
    assert!(!log.contains("openraft"), "{log}");
}
