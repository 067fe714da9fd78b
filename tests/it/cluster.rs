//! Clusters of real processes: they form, lose servers, come back, and lose nothing that was acknowledged.

use std::{thread, time::Instant};

use tests::{
    cluster::{Cluster, DEADLINE},
    node::free_address,
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

#[test]
fn killed_servers_lose_nothing_under_load() {
    let mut cluster = Cluster::servers(3, &[]);
    let load = Workload::start(agents(&cluster));
    load.more("writes before anything happens", 50);

    let leader = cluster.leader();
    cluster.members[leader].kill();
    let survivors = cluster.others(leader);
    let failover = Instant::now();
    wait_within("another leader", DEADLINE, || {
        let put = cluster.members[survivors[0]].node().http.request("PUT", "/v1/kv/after", &[], b"x").ok()?;
        (put.status == 200).then_some(())
    });
    println!("first write {} ms after the leader was killed", failover.elapsed().as_millis());
    load.more("writes without it", 50);
    cluster.members[leader].restart();
    cluster.settled(3);

    let leader = cluster.leader();
    let follower = cluster.others(leader)[0];
    cluster.members[follower].kill();
    load.more("writes without a follower", 50);
    cluster.members[follower].restart();
    cluster.settled(3);

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
    cluster.settled(3);
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
    let mut cluster = Cluster::servers(3, &[]);
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
fn a_client_agent_forwards_everything_and_is_reached_from_everywhere() {
    let mut cluster = Cluster::empty();
    let first = free_address();
    let early = cluster.add_client();
    // Started before there is anybody, knowing only where somebody will be.
    cluster.members[early].kill();
    cluster.members[early].start = cluster.members[early].start.clone().with(format!("-retry-join={first}"));
    cluster.members[early].restart();
    let http = cluster.members[early].node().http;
    wait_until("the client to listen", || http.request("GET", "/v1/status/leader", &[], &[]).ok());
    let alone = http.get("/v1/kv/a");
    assert_eq!((alone.status, alone.text().as_str()), (500, "No known Consul servers"));
    assert_eq!(http.put("/v1/agent/service/register", r#"{"Name":"early","Port":1}"#).status, 200, "kept until a server comes");

    for _ in 0..3 {
        let place = cluster.add_server(3, &[]);
        if place == 1 {
            cluster.members[place].kill();
            cluster.members[place].start.ip = first;
            cluster.members[place].restart();
        } else {
            cluster.members[place].kill();
            cluster.members[place].start = cluster.members[place].start.clone().with(format!("-retry-join={first}"));
            cluster.members[place].restart();
        }
    }
    cluster.settled(4);
    let servers = [1, 2, 3];
    wait_within("its service in the catalog", DEADLINE, || (cluster.get(2, "/v1/catalog/service/early")[0]["Node"] == "n1").then_some(()));

    assert_eq!(http.put("/v1/kv/through", "client").status, 200);
    assert_eq!(http.get("/v1/kv/through?raw").text(), "client");
    let missing = http.get("/v1/kv/nothing");
    assert_eq!((missing.status, missing.header("X-Consul-Knownleader")), (404, Some("true")));

    // Its check runs when somebody asks for it at any other agent.
    let target = format!("http://{}:8500/v1/status/leader", cluster.members[1].start.ip);
    let body = format!(r#"{{"Name":"web","Port":80,"Check":{{"HTTP":"{target}","Interval":"10m"}}}}"#);
    assert_eq!(http.put("/v1/agent/service/register", &body).status, 200);
    for place in servers {
        let run = wait_within("the check to run", DEADLINE, || {
            let answer = cluster.members[place].node().http.request("PUT", "/v1/muster/check/run/n1/service:web", &[], &[]).ok()?;
            (answer.status == 200).then(|| answer.json())
        });
        assert_eq!((run["Node"].as_str(), run["Result"].as_str()), (Some("n1"), Some("passing")), "{run}");
    }
    let passing = cluster.get(3, "/v1/health/service/web?passing");
    assert_eq!(passing[0]["Node"]["Node"], "n1");

    // A blocking read goes on when the server that answers it goes away; one of the three is the one.
    let index = http.get("/v1/kv/through").index();
    let waiting = thread::spawn(move || http.request("GET", &format!("/v1/kv/through?index={index}&wait=60s&raw"), &[], &[]));
    let leader = cluster.leader();
    cluster.members[leader].kill();
    wait_within("a write through the client", DEADLINE, || {
        (http.request("PUT", "/v1/kv/through", &[], b"again").ok()?.status == 200).then_some(())
    });
    let woken = waiting.join().expect("ends").expect("answers");
    assert_eq!((woken.status, woken.text().as_str()), (200, "again"));
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
