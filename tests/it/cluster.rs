//! Clusters of real processes: they form, lose servers, come back, and lose nothing that was acknowledged.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tests::{
    cluster::{Cluster, DEADLINE},
    dns,
    http::Client,
    wait::{wait_until, wait_within},
    workload::{Workload, agents, agree},
};

#[test]
fn servers_form_one_cluster_only_when_all_are_there() {
    let mut cluster = Cluster::empty();
    cluster.add_server(3, &[]);
    let first = cluster.members[0].node().http;
    wait_until("the first one to listen", || first.request("GET", "/v1/status/leader", &[], &[]).ok());
    cluster.add_server(3, &[]);
    wait_until("two to see each other", || (cluster.get(0, "/v1/agent/members").as_array()?.len() == 2).then_some(()));
    assert_eq!(first.get("/v1/status/leader").text().trim(), "\"\"", "two of three form nothing");
    let early = first.get("/v1/kv/a?stale");
    assert_eq!((early.status, early.text().as_str()), (500, "No cluster leader"));

    cluster.add_server(3, &[]);
    let leader = cluster.settled(3);
    let configuration = cluster.get(leader, "/v1/operator/raft/configuration");
    let servers = configuration["Servers"].as_array().expect("a list");
    assert_eq!(servers.len(), 3);
    assert!(servers.iter().all(|server| server["Voter"] == true && server["ProtocolVersion"] == "3"));
    assert_eq!(servers.iter().filter(|server| server["Leader"] == true).count(), 1);
    // Every server answers for all of them, and reads its own writes through any.
    for (place, member) in cluster.members.iter().enumerate() {
        let http = member.node().http;
        assert_eq!(http.put(&format!("/v1/kv/from/{place}"), "x").status, 200);
        assert_eq!(http.get(&format!("/v1/kv/from/{place}?raw")).text(), "x");
        assert_eq!(http.get("/v1/catalog/nodes").json().as_array().map(Vec::len), Some(3));
        assert_eq!(http.get("/v1/kv/from/0?consistent&raw").text(), "x");
    }
    // One more that expects another number is added, not asked.
    let health = wait_within("everybody to be healthy", DEADLINE, || {
        let health = cluster.get(leader, "/v1/operator/autopilot/health");
        (health["Healthy"] == true).then_some(health)
    });
    assert_eq!(health["FailureTolerance"], 1);
    let raft = cluster.get(leader, "/v1/muster/raft");
    assert_eq!((raft["Quorum"].as_u64(), raft["Servers"].as_array().map(Vec::len)), (Some(2), Some(3)));
    assert_eq!(cluster.get(leader, "/v1/muster/gossip")["Members"].as_array().map(Vec::len), Some(3));
}

/// Reads and looks up again and again; answers how often and how long the longest read took. Whoever stands between the reader and the
/// servers has to find another one by itself.
fn read_until(agent: &Client, done: &AtomicBool) -> (u32, Duration) {
    let (mut reads, mut longest) = (0, Duration::ZERO);
    while !done.load(Ordering::Relaxed) {
        let asked = Instant::now();
        let answer = agent.get("/v1/kv/?keys&separator=/");
        assert!(answer.status == 200 || answer.status == 404, "after {:?}: {} {}", asked.elapsed(), answer.status, answer.text());
        (reads, longest) = (reads + 1, longest.max(asked.elapsed()));
        let resolver = SocketAddr::new(agent.address.ip(), 8600);
        let found = dns::ask(resolver, "consul.service.consul", "A", Some(4096)).expect("an answer");
        assert!(found.rcode == 0 && !found.answers.is_empty(), "{found:?}");
    }
    (reads, longest)
}

#[test]
fn killed_servers_lose_nothing_under_load() {
    let mut cluster = Cluster::servers(3, &[]);
    let client = cluster.add_client();
    cluster.settled(4);
    let load = Workload::start(agents(&cluster));
    let (through_client, done) = (agents(&cluster)[client], Arc::new(AtomicBool::new(false)));
    let readers_done = done.clone();
    let reader = thread::spawn(move || read_until(&through_client, &readers_done));
    load.more("writes before anything happens", 50);

    let leader = cluster.leader();
    cluster.members[leader].kill();
    let survivors: Vec<_> = cluster.others(leader).into_iter().filter(|place| *place != client).collect();
    let failover = Instant::now();
    wait_within("another leader", DEADLINE, || {
        let put = cluster.members[survivors[0]].node().http.request("PUT", "/v1/kv/after", &[], b"x").ok()?;
        (put.status == 200).then_some(())
    });
    println!("first write {} ms after the leader was killed", failover.elapsed().as_millis());
    load.more("writes without it", 50);
    cluster.members[leader].restart();
    cluster.settled(4);

    // One after the other: whichever the client agent has its connection to.
    let leader = cluster.leader();
    for follower in (0..3).filter(|place| *place != leader) {
        cluster.members[follower].kill();
        load.more("writes without a follower", 50);
        cluster.members[follower].restart();
        cluster.settled(4);
    }

    // A leader that stands still is replaced, and follows once it wakes.
    let leader = cluster.leader();
    cluster.members[leader].node().signal("STOP");
    let survivors = cluster.others(leader);
    wait_within("another leader than the one that stands still", DEADLINE, || {
        let put = cluster.members[survivors[0]].node().http.request("PUT", "/v1/kv/still", &[], b"x").ok()?;
        (put.status == 200).then_some(())
    });
    cluster.members[leader].node().signal("CONT");
    load.more("writes with everybody", 50);
    cluster.settled(4);
    done.store(true, Ordering::Relaxed);
    let (reads, longest) = reader.join().expect("every read and look-up through the client agent is answered");
    println!("{reads} reads through the client agent, the longest took {} ms", longest.as_millis());
    assert!(reads > 50, "{reads} reads prove nothing");
    let http = cluster.members[0].node().http;
    load.check(&http);
    agree(&cluster);
}

#[test]
fn a_cluster_that_was_killed_as_a_whole_comes_back_with_everything() {
    let mut cluster = Cluster::servers(3, &[]);
    let load = Workload::start(agents(&cluster));
    load.more("writes", 100);
    cluster.members.iter_mut().for_each(tests::cluster::Member::kill);
    cluster.members.iter_mut().for_each(tests::cluster::Member::restart);
    cluster.settled(3);
    load.more("writes after the restart", 50);
    let http = cluster.members[1].node().http;
    load.check(&http);
    agree(&cluster);
}

#[test]
fn without_a_quorum_only_stale_reads_are_answered() {
    let mut cluster = Cluster::servers(3, &["-hcl=discovery_max_stale = \"10m\"".to_owned()]);
    let leader = cluster.leader();
    let lost = cluster.others(leader);
    assert_eq!(cluster.members[leader].node().http.put("/v1/kv/a", "1").status, 200);
    lost.iter().for_each(|place| cluster.members[*place].kill());
    let http = cluster.members[leader].node().http;
    // Within its lease it may still answer.
    wait_within("default reads to be refused", DEADLINE, || {
        let answer = http.request("GET", "/v1/kv/a", &[], &[]).ok()?;
        (answer.status == 500 && answer.text() == "No cluster leader").then_some(())
    });
    let refused = http.put("/v1/kv/a", "2");
    assert_eq!((refused.status, refused.text().as_str()), (500, "No cluster leader"));
    let stale = http.get("/v1/kv/a?stale&raw");
    assert_eq!((stale.status, stale.text().as_str(), stale.header("X-Consul-Knownleader")), (200, "1", Some("false")));
    // Of the catalog whatever is young enough will do, unless the leader is asked for.
    for target in ["/v1/catalog/nodes", "/v1/health/service/consul"] {
        let (found, refused) = (http.get(target), http.get(&format!("{target}?leader")));
        assert_eq!((found.status, found.header("X-Consul-Knownleader")), (200, Some("false")), "{target}");
        assert_eq!(found.json().as_array().map(Vec::len), Some(3), "{target}");
        assert_eq!((refused.status, refused.text().as_str()), (500, "No cluster leader"), "{target}");
    }
    assert_eq!(http.get("/v1/status/leader").text().trim(), "\"\"");
    let doctor =
        std::process::Command::new(tests::node::muster()).arg("doctor").arg(format!("-http-addr=http://{}", http.address)).output();
    let doctor = doctor.expect("it runs");
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert_eq!(doctor.status.code(), Some(2), "{said}");
    assert!(said.contains("PROBLEM") && said.contains("quorum"), "{said}");
    cluster.members[lost[0]].restart();
    wait_within("writes again", DEADLINE, || (http.request("PUT", "/v1/kv/a", &[], b"3").ok()?.status == 200).then_some(()));
    assert_eq!(http.get("/v1/kv/a?raw").text(), "3");
}

#[test]
fn servers_leave_and_join_and_the_configuration_follows() {
    let mut cluster = Cluster::servers(3, &[]);
    let leader = cluster.leader();
    let quick = r#"{"CleanupDeadServers":true,"LastContactThreshold":"200ms","MaxTrailingLogs":250,"ServerStabilizationTime":"100ms"}"#;
    assert_eq!(cluster.members[leader].node().http.put("/v1/operator/autopilot/configuration", quick).status, 200);
    let stored = cluster.get(leader, "/v1/operator/autopilot/configuration");
    assert_eq!(stored["ServerStabilizationTime"], "100ms");
    let load = Workload::start(agents(&cluster));
    load.more("writes with three", 30);

    // The leader itself goes: leadership first, then the server.
    assert_eq!(cluster.members[leader].node().http.put("/v1/agent/leave", "").status, 200);
    let mut leaving = cluster.members[leader].node.take().expect("it runs");
    assert_eq!(leaving.end(), Some(0), "{}", leaving.log());
    wait_within("it to have handed over", DEADLINE, || leaving.log().contains("leadership transferred").then_some(()));
    let next = cluster.leader();
    wait_within("two servers in the configuration", DEADLINE, || {
        (cluster.get(next, "/v1/operator/raft/configuration")["Servers"].as_array()?.len() == 2).then_some(())
    });
    let members = cluster.get(next, "/v1/agent/members");
    let left = members.as_array().expect("a list").iter().find(|member| member["Name"] == cluster.members[leader].start.name.as_str());
    assert_eq!(left.map(|member| member["Status"].as_u64()), Some(Some(3)), "left, not failed");

    let new = cluster.add_server(3, &[]);
    wait_within("the new server to vote", DEADLINE, || {
        let servers = cluster.get(next, "/v1/operator/raft/configuration");
        let name = &cluster.members[new].start.name;
        servers["Servers"].as_array()?.iter().any(|server| server["Node"] == name.as_str() && server["Voter"] == true).then_some(())
    });
    load.more("writes with the new one", 30);

    // Two of the three are enough, whichever they are: the change of voters is finished.
    for place in cluster.others(new) {
        cluster.members[place].kill();
        load.more("writes without one of the former servers", 20);
        cluster.members[place].restart();
        cluster.settled(3);
    }

    // Hand over on request.
    let before = cluster.leader();
    let answer = cluster.members[before].node().http.request("POST", "/v1/operator/raft/transfer-leader", &[], &[]).expect("answers");
    assert_eq!((answer.status, answer.json()["Success"].as_bool()), (200, Some(true)));
    wait_within("another one to lead", DEADLINE, || (cluster.leader() != before).then_some(()));
    let http = cluster.members[new].node().http;
    load.check(&http);
    cluster.members.retain(|member| member.node.is_some());
    agree(&cluster);
}

#[test]
fn gossip_is_encrypted_and_its_keys_are_rolled_on_a_running_cluster() {
    let (old, new) = ("AQEBAQEBAQEBAQEBAQEBAQ==", "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=");
    let mut cluster = Cluster::servers(3, &[format!("-encrypt={old}")]);
    let http = cluster.members[0].node().http;
    let body = |key: &str| format!("{{\"Key\":\"{key}\"}}");
    let change = |method: &str, key: &str| http.request(method, "/v1/operator/keyring", &[], body(key).as_bytes()).expect("answers");
    assert_eq!(http.get("/v1/operator/keyring").json()[0]["Keys"][old], 3);
    assert_eq!(change("PUT", new).status, 500, "not installed yet");
    for method in ["POST", "PUT"] {
        let answer = change(method, new);
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert_eq!(change("DELETE", new).status, 500, "the primary key stays");
    assert_eq!(change("DELETE", old).status, 200);
    let listed = http.get("/v1/operator/keyring").json();
    assert_eq!((&listed[0]["Keys"][new], &listed[0]["PrimaryKeys"][new], &listed[0]["NumNodes"]), (&3.into(), &3.into(), &3.into()));
    // The file has it too: a server comes back with the new key, whatever it was started with.
    cluster.members[2].kill();
    cluster.members[2].restart();
    cluster.settled(3);
    // Somebody with another key stays outside.
    let stranger = cluster.add_server(3, &["-encrypt=AwMDAwMDAwMDAwMDAwMDAw==".to_owned()]);
    wait_within("the stranger to be told", DEADLINE, || cluster.members[stranger].node().log().contains("join failed").then_some(()));
    assert_eq!(cluster.get(0, "/v1/agent/members").as_array().map(Vec::len), Some(3));
}
