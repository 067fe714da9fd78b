//! Gossip between real agents: fifty processes on loopback, and clusters that must not become one.

use std::time::{Duration, Instant};

use tests::{
    cluster::{Cluster, DEADLINE},
    node::{Node, Product, Start, muster},
    processor::Processor,
    wait::{wait_until, wait_within},
};

const AGENTS: usize = 50;
const ALIVE: u64 = 1;
const FAILED: u64 = 4;
/// How long all agents may take to see each other, and to know of a kill, with a machine of two processors to themselves.
const JOINED: Duration = Duration::from_secs(10);
const KNOWN: Duration = Duration::from_secs(9);

/// Statuses of all members as this agent sees them, by name.
fn members(node: &Node) -> Option<Vec<(String, u64)>> {
    let answer = node.http.request("GET", "/v1/agent/members", &[], &[]).ok()?;
    let members = serde_json::from_slice::<serde_json::Value>(&answer.body).ok()?;
    let status = |member: &serde_json::Value| Some((member["Name"].as_str()?.to_owned(), member["Status"].as_u64()?));
    members.as_array()?.iter().map(status).collect()
}

/// Fails when something took longer than it may, counted in the time that others left of the machine. What was built without
/// optimizations only has to come to an end.
fn held(what: &str, took: Duration, most: Duration, before: &Processor, after: &Processor) {
    let others = before.taken_by_others(after) * 100.0;
    println!("{what}: {took:.1?}, at most {most:?} on a machine of their own; others took {others:.0} % of this one");
    if muster().components().any(|part| part.as_os_str() == "debug") {
        println!("not held to it: a debug build");
        return;
    }
    let most = most.mul_f64(before.patience(after));
    assert!(took <= most, "{what}: {took:?}, more than {most:?}");
}

#[test]
fn fifty_agents_find_each_other_and_know_soon_who_was_killed() {
    let mut cluster = Cluster::empty();
    cluster.add_server(1, &[]);
    cluster.settled(1);
    let (started, before) = (Instant::now(), Processor::now(&cluster));
    for _ in 1..AGENTS {
        cluster.add_client();
    }
    for member in &cluster.members {
        wait_within("everybody to see everybody", DEADLINE, || {
            let members = members(member.node())?;
            (members.len() == AGENTS && members.iter().all(|(_, status)| *status == ALIVE)).then_some(())
        });
    }
    held("50 agents, from the start of the first client until all see all", started.elapsed(), JOINED, &before, &Processor::now(&cluster));

    let name = cluster.members[AGENTS - 1].start.name.clone();
    cluster.members[AGENTS - 1].kill();
    let (killed, before) = (Instant::now(), Processor::now(&cluster));
    for member in &cluster.members[..AGENTS - 1] {
        wait_within("everybody to know who was killed", DEADLINE, || {
            members(member.node())?.contains(&(name.clone(), FAILED)).then_some(())
        });
    }
    held("a kill is known to all 49 others", killed.elapsed(), KNOWN, &before, &Processor::now(&cluster));
    for member in &cluster.members[..AGENTS - 1] {
        let members = members(member.node()).expect("answers");
        assert!(members.iter().all(|(other, status)| *status == ALIVE || *other == name), "nobody else: {members:?}");
        let log = member.node().log();
        let accused = log.lines().filter(|line| line.contains("member failed") && !line.contains(&name)).collect::<Vec<_>>();
        assert!(accused.is_empty(), "{accused:?}");
    }
}

#[test]
fn two_clusters_formed_on_their_own_are_refused_on_both_sides() {
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    let servers = [1, 2].map(|number| {
        let data = format!("-data-dir={}", directory.path().join(format!("n{number}")).display());
        Start::numbered(Product::Muster, number, vec!["-server".to_owned(), "-bootstrap".to_owned(), data])
    });
    let nodes = [servers[0].start(), servers[1].start()];
    // Each tells the pool its cluster's id soon after it leads.
    for node in &nodes {
        wait_until("the cluster to have an id", || {
            let pool = node.http.request("GET", "/v1/muster/gossip", &[], &[]).ok()?;
            let pool = serde_json::from_slice::<serde_json::Value>(&pool.body).ok()?;
            pool["Cluster"].as_str().filter(|id| !id.is_empty()).map(|_| ())
        });
    }
    let answer = nodes[0].http.request("PUT", &format!("/v1/agent/join/{}", nodes[1].ip), &[], &[]).expect("answers");
    assert_eq!(answer.status, 500);
    let why = "Member 'n1' is of another cluster: server 'n1' belongs to cluster ";
    assert!(answer.text().contains(why) && answer.text().contains("two clusters are never merged"), "{}", answer.text());
    for node in &nodes {
        wait_until("both logs to say so", || node.log().contains(why).then_some(()));
        assert_eq!(members(node).expect("answers").len(), 1);
    }
}
