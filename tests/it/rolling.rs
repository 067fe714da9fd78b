//! What an operator does to a running cluster every week: restart it server by server, grow and shrink it, lose a machine for a while.
//! Under load, and nothing is lost.

use std::time::{Duration, Instant};

use tests::{
    cluster::{Cluster, DEADLINE},
    wait::wait_within,
    workload::{Workload, agents, agree},
};

/// The longest time without a write that a planned restart may cost, on a busy machine: far less than losing a leader does.
const PLANNED: Duration = Duration::from_secs(3);

/// Waits until autopilot calls every server healthy: from then on any one may go.
fn healthy(cluster: &mut Cluster) -> usize {
    wait_within("a healthy cluster", DEADLINE, || {
        let leader = cluster.leader();
        (cluster.get(leader, "/v1/operator/autopilot/health")["Healthy"] == true).then_some(leader)
    })
}

fn voters(cluster: &Cluster, place: usize) -> usize {
    let configuration = cluster.get(place, "/v1/operator/raft/configuration");
    configuration["Servers"].as_array().map_or(0, |servers| servers.iter().filter(|server| server["Voter"] == true).count())
}

#[test]
fn a_rolling_restart_under_load_loses_nothing_and_holds_up_writes_only_for_a_moment() {
    let mut cluster = Cluster::servers(3, &[]);
    let client = cluster.add_client();
    cluster.settled(4);
    // Half of the load goes through a client agent, which has to find another server each time.
    let through_client = Workload::start(vec![agents(&cluster)[client]]);
    through_client.more("writes through the client agent", 50);
    let mut longest = Duration::ZERO;
    for place in 0..3 {
        healthy(&mut cluster);
        let _ = through_client.longest_gap();
        let mut node = cluster.members[place].node.take().expect("it runs");
        let stopped = Instant::now();
        assert!(node.end_by("TERM").is_some(), "it ends by itself");
        println!("server {place} stopped in {} ms", stopped.elapsed().as_millis());
        cluster.members[place].restart();
        cluster.settled(4);
        through_client.more("writes with everybody", 50);
        longest = longest.max(through_client.longest_gap());
    }
    println!("longest time without a write: {} ms", longest.as_millis());
    assert!(longest < PLANNED, "no write for {longest:?}");
    let http = cluster.members[0].node().http;
    through_client.check(&http);
    cluster.members[client].kill();
    cluster.members.truncate(3);
    agree(&cluster);
}

#[test]
fn two_servers_join_and_two_leave_under_load() {
    let mut cluster = Cluster::servers(3, &[]);
    let leader = cluster.leader();
    let quick = r#"{"CleanupDeadServers":true,"LastContactThreshold":"500ms","MaxTrailingLogs":250,"ServerStabilizationTime":"100ms"}"#;
    assert_eq!(cluster.members[leader].node().http.put("/v1/operator/autopilot/configuration", quick).status, 200);
    let load = Workload::start(agents(&cluster));
    load.more("writes with three", 30);
    let new = [cluster.add_server(3, &[]), cluster.add_server(3, &[])];
    wait_within("five servers that vote", DEADLINE, || {
        let leader = cluster.leader();
        (voters(&cluster, leader) == 5).then_some(())
    });
    load.more("writes with five", 30);
    // The leader and one of the new ones.
    let leader = cluster.leader();
    let going = [leader, if leader == new[0] { new[1] } else { new[0] }];
    for place in going {
        assert_eq!(cluster.members[place].node().http.put("/v1/agent/leave", "").status, 200);
        let mut node = cluster.members[place].node.take().expect("it runs");
        assert_eq!(node.end(), Some(0), "{}", node.log());
    }
    wait_within("three servers", DEADLINE, || {
        let leader = cluster.leader();
        let servers = cluster.get(leader, "/v1/operator/raft/configuration");
        (servers["Servers"].as_array()?.len() == 3 && voters(&cluster, leader) == 3).then_some(())
    });
    load.more("writes with three again", 30);
    let leader = cluster.leader();
    let http = cluster.members[leader].node().http;
    load.check(&http);
    cluster.members.retain(|member| member.node.is_some());
    agree(&cluster);
}

#[test]
fn a_leader_that_stands_still_for_20_seconds_is_replaced_and_comes_back_as_a_follower() {
    let mut cluster = Cluster::servers(3, &[]);
    let leader = cluster.leader();
    let load = Workload::start(agents(&cluster));
    load.more("writes before", 30);
    let (still, stopped) = (cluster.members[leader].node().pid(), Instant::now());
    cluster.members[leader].node().signal("STOP");
    let other = cluster.members[cluster.others(leader)[0]].node().http;
    wait_within("another leader", DEADLINE, || (other.request("PUT", "/v1/kv/still", &[], b"x").ok()?.status == 200).then_some(()));
    println!("first write {} ms after the leader stood still", stopped.elapsed().as_millis());
    let name = cluster.members[leader].start.name.clone();
    wait_within("the others to call it failed, and 20 seconds", DEADLINE, || {
        let members = other.get("/v1/agent/members").json();
        let failed = members.as_array()?.iter().any(|member| member["Name"] == name.as_str() && member["Status"] == 4);
        (failed && stopped.elapsed() >= Duration::from_secs(20)).then_some(())
    });
    cluster.members[leader].node().signal("CONT");
    cluster.settled(3);
    assert_eq!(cluster.members[leader].node().pid(), still, "the same process");
    wait_within("it to be alive to the others", DEADLINE, || {
        let members = other.get("/v1/agent/members").json();
        members.as_array()?.iter().any(|member| member["Name"] == name.as_str() && member["Status"] == 1).then_some(())
    });
    load.more("writes with everybody", 100);
    load.check(&other);
    agree(&cluster);
}
