//! Client agents: they keep nothing of the cluster, find the servers by themselves, and are reached from everywhere.

use std::{net::SocketAddr, thread};

use tests::{
    cluster::{Cluster, DEADLINE},
    dns,
    node::free_address,
    wait::{wait_until, wait_within},
};

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
        let member = &mut cluster.members[place];
        member.kill();
        if place == 1 {
            member.start.ip = first;
        } else {
            member.start.arguments.push(format!("-retry-join={first}"));
        }
        member.restart();
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
    let resolver = SocketAddr::new(cluster.members[early].start.ip.into(), 8600);
    let resolved = || {
        let answer = dns::ask(resolver, "web.service.consul", "SRV", Some(4096)).expect("an answer");
        assert_eq!((answer.rcode, answer.answers.len()), (0, 1), "{answer:?}");
        assert_eq!(answer.answers[0].data, "1 1 80 n1.node.dc1.consul.");
    };
    resolved();
    let raft = |name: &str| cluster.directory().join(name).join("raft").exists();
    assert!(raft("n2") && !raft("n1"), "a client keeps nothing of the cluster's state");

    // A blocking read goes on when the server that answers it goes away; one of the three is the one.
    let index = http.get("/v1/kv/through").index();
    let waiting = thread::spawn(move || http.request("GET", &format!("/v1/kv/through?index={index}&wait=60s&raw"), &[], &[]));
    let leader = cluster.leader();
    cluster.members[leader].kill();
    (0..20).for_each(|_| resolved());
    wait_within("a write through the client", DEADLINE, || {
        (http.request("PUT", "/v1/kv/through", &[], b"again").ok()?.status == 200).then_some(())
    });
    let woken = waiting.join().expect("ends").expect("answers");
    assert_eq!((woken.status, woken.text().as_str()), (200, "again"));
}
