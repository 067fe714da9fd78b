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

/// Waits until the server at this place is the only one that changed among the voters, and in the catalog as it is now.
fn replaced(cluster: &Cluster, leader: usize, place: usize, before: &BTreeSet<(String, String, bool)>) {
    let name = format!("n{}", place + 1);
    let after = wait_within("three voters, one of them new", DEADLINE, || {
        let now = servers(&cluster.get(leader, "/v1/operator/raft/configuration"));
        (now.len() == 3 && now.iter().all(|(_, _, voter)| *voter) && now != *before).then_some(now)
    });
    assert_eq!(after.intersection(before).count(), 2, "only one has changed: {before:?} {after:?}");
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
}

#[test]
fn a_server_that_lost_its_disk_takes_its_former_selfs_place() {
    let mut cluster = Cluster::servers(3, &[QUICK.to_owned()]);
    let leader = cluster.leader();
    let before = servers(&cluster.get(leader, "/v1/operator/raft/configuration"));
    let (victim, third) = (cluster.others(leader)[0], cluster.others(leader)[1]);
    let registered = cluster.members[third].node().http.put("/v1/agent/service/register", r#"{"Name":"kept","Port":1}"#);
    assert_eq!(registered.status, 200, "{}", registered.text());
    let directory = |place: usize| cluster.directory().join(format!("n{}", place + 1));
    let (lost, damaged) = (directory(victim), directory(third).join("raft"));
    cluster.members[victim].kill();
    fs::remove_dir_all(lost).expect("the disk is gone");
    // Its id was on it.
    cluster.members[victim].start.id = "99999999-2222-4333-8444-555555555555".to_owned();
    cluster.members[victim].restart();
    replaced(&cluster, leader, victim, &before);
    // It counts as one: with another one gone there is a quorum.
    let before = servers(&cluster.get(leader, "/v1/operator/raft/configuration"));
    cluster.members[third].kill();
    let http = cluster.members[leader].node().http;
    wait_within("a write by two of three", DEADLINE, || {
        http.request("PUT", "/v1/kv/a", &[], b"1").ok().filter(|answer| answer.status == 200)
    });
    // What the doctor advises when a log is damaged: all but log and id is kept.
    fs::remove_dir_all(damaged).expect("removed");
    cluster.members[third].start.id = "99999999-3333-4333-8444-555555555555".to_owned();
    cluster.members[third].restart();
    replaced(&cluster, leader, third, &before);
    wait_within("the service of its agent", DEADLINE, || {
        let found = cluster.get(leader, "/v1/health/service/kept?passing");
        (found[0]["Node"]["ID"] == cluster.members[third].start.id.as_str()).then_some(())
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
    assert_eq!(http.get("/v1/kv/a").text(), "No cluster leader", "once it has waited, it knows");
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
    let log = wait_within("the log to say what is missing", DEADLINE, || {
        Some(node.log()).filter(|log| log.contains("no cluster leader is heard") && log.contains(" needed=2 missing="))
    });
    let noise: Vec<&str> = log.lines().filter(|line| line.contains("openraft")).collect();
    assert!(noise.is_empty(), "{noise:?}");
}

#[test]
fn metrics_and_stats_tell_what_operators_watch() {
    let mut cluster = Cluster::servers(3, &[]);
    let leader = cluster.leader();
    let follower = cluster.others(leader)[0];
    let (http, other) = (cluster.members[leader].node().http, cluster.members[follower].node().http);
    for number in 0..5 {
        assert_eq!(other.put(&format!("/v1/kv/{number}"), "x").status, 200);
    }
    assert_eq!(http.put("/v1/catalog/register", r#"{"Node":"ext","Address":"10.9.9.9"}"#).status, 200);
    let expected = [
        ("Gauges", vec!["raft.applied_index", "raft.last_index", "state.nodes", "state.kv_entries", "members.servers"]),
        ("Gauges", vec!["memberlist.health.score", "autopilot.healthy", "autopilot.failure_tolerance"]),
        ("Counters", vec!["raft.apply", "raft.state.leader", "serf.member.join", "rpc.request", "rpc.accept_conn", "memberlist.udp.sent"]),
        ("Samples", vec!["raft.commitTime", "raft.leader.lastContact", "kvs.apply", "catalog.register", "leader.reconcile"]),
    ];
    // An interval is told once it is over: what came in an earlier one may not be in it any more.
    let mut seen = BTreeSet::new();
    wait_within("every metric, with true values", DEADLINE, || {
        let now = http.get("/v1/agent/metrics").json();
        let rows = |kind: &str| now[kind].as_array().cloned().unwrap_or_default();
        for kind in ["Gauges", "Counters", "Samples"] {
            seen.extend(rows(kind).iter().filter_map(|row| Some((kind, row["Name"].as_str()?.to_owned()))));
        }
        let has = |(kind, names): &(&'static str, Vec<&str>)| names.iter().all(|name| seen.contains(&(*kind, format!("consul.{name}"))));
        let gauge = |name: &str| {
            let row = rows("Gauges").into_iter().find(|row| row["Name"] == format!("consul.{name}"));
            row.and_then(|row| row["Value"].as_f64())
        };
        let counts = (gauge("state.kv_entries"), gauge("state.nodes"), gauge("members.servers"));
        (expected.iter().all(has) && counts == (Some(5.0), Some(4.0), Some(3.0))).then_some(())
    });
    let stats = cluster.get(follower, "/v1/agent/self")["Stats"].clone();
    for (section, keys) in [
        (
            "raft",
            vec!["fsm_pending", "last_contact", "last_log_index", "latest_configuration", "num_peers", "protocol_version_max", "state"],
        ),
        ("runtime", vec!["arch", "cpu_count", "goroutines", "max_procs", "os"]),
        ("serf_lan", vec!["encrypted", "failed", "health_score", "left", "members"]),
        ("serf_wan", vec!["encrypted", "members"]),
    ] {
        for key in keys {
            assert!(stats[section][key].is_string(), "{section}.{key} in {stats}");
        }
    }
    let configuration = stats["raft"]["latest_configuration"].as_str().expect("just seen");
    assert!(
        configuration.starts_with("[{Suffrage:Voter ID:0000000") && configuration.matches("Suffrage:Voter").count() == 3,
        "{configuration}"
    );
}

#[test]
fn a_second_bootstrapped_server_is_refused_by_the_first_ones_cluster_from_the_start() {
    let mut cluster = Cluster::servers(1, &[]);
    let second = cluster.add_server(1, &["-retry-interval=1s".to_owned()]);
    let why = "is of another cluster: server ";
    for place in [second, 0] {
        wait_within("both sides to say why", DEADLINE, || cluster.members[place].node().log().contains(why).then_some(()));
    }
    for (place, name) in [(0, "n1"), (second, "n2")] {
        let members = cluster.get(place, "/v1/agent/members");
        let names: Vec<&str> = members.as_array().expect("a list").iter().filter_map(|member| member["Name"].as_str()).collect();
        assert_eq!(names, [name], "nobody is let in, not even for a moment");
        assert!(!cluster.members[place].node().log().contains("member joined"));
    }
}
