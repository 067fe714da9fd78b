//! What an operator does to a running cluster every week: restart it server by server, grow and shrink it, lose a machine for a while.
//! Under load, and nothing is lost.

use std::time::{Duration, Instant};

use tests::{
    cluster::{Cluster, DEADLINE},
    processor::Processor,
    wait::wait_within,
    workload::{Workload, agents, agree},
};

/// The longest time without a write that a planned restart may cost, on a machine of its own: less than losing a leader does.
const PLANNED: Duration = Duration::from_secs(1);
/// What a leader that goes says: nobody had to miss it.
const HANDED_OVER: &str = "leadership transferred";

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

/// Whether a server is in the configuration, and then whether it votes.
fn votes(cluster: &Cluster, asked: usize, name: &str) -> Option<bool> {
    let configuration = cluster.get(asked, "/v1/operator/raft/configuration");
    configuration["Servers"].as_array()?.iter().find(|server| server["Node"] == name)?["Voter"].as_bool()
}

#[test]
fn a_rolling_restart_under_load_loses_nothing_and_holds_up_writes_only_for_a_moment() {
    let mut cluster = Cluster::servers(3, &[]);
    let client = cluster.add_client();
    cluster.settled(4);
    // Half of the load goes through a client agent, which has to find another server each time.
    let through_client = Workload::start(vec![agents(&cluster)[client]]);
    through_client.more("writes through the client agent", 50);
    let (mut longest, mut handed_over, before) = (Duration::ZERO, 0, Processor::now(&cluster));
    for place in 0..3 {
        let leader = healthy(&mut cluster);
        let _ = through_client.longest_gap();
        let mut node = cluster.members[place].node.take().expect("it runs");
        let stopped = Instant::now();
        assert!(node.end_by("TERM").is_some(), "it ends by itself");
        println!("server {place} stopped in {} ms", stopped.elapsed().as_millis());
        if place == leader {
            wait_within("the leader to have handed over", DEADLINE, || node.log().contains(HANDED_OVER).then_some(()));
            handed_over += 1;
        }
        cluster.members[place].restart();
        cluster.settled(4);
        through_client.more("writes with everybody", 50);
        longest = longest.max(through_client.longest_gap());
    }
    println!("longest time without a write: {} ms", longest.as_millis());
    assert!(handed_over > 0, "whoever led at first was stopped in its turn");
    let most = PLANNED.mul_f64(before.patience(&Processor::now(&cluster)));
    assert!(longest < most, "no write for {longest:?}, more than {most:?}");
    let http = cluster.members[0].node().http;
    through_client.check(&http);
    cluster.members[client].kill();
    cluster.members.truncate(3);
    agree(&cluster);
}

fn five_vote(cluster: &mut Cluster) {
    wait_within("five servers that vote", DEADLINE, || {
        let leader = cluster.leader();
        (voters(cluster, leader) == 5).then_some(())
    });
}

/// With two to spare a dead server is taken out of the configuration without anybody's asking, and added again when it is back.
fn one_dies_and_comes_back(cluster: &mut Cluster, load: &Workload) {
    let leader = cluster.leader();
    let dead = cluster.others(leader)[0];
    let name = cluster.members[dead].start.name.clone();
    cluster.members[dead].kill();
    load.more("writes with one of five dead", 30);
    wait_within("the dead server to be taken out", DEADLINE, || {
        let leader = cluster.leader();
        (votes(cluster, leader, &name).is_none() && voters(cluster, leader) == 4).then_some(())
    });
    load.more("writes with four", 30);
    cluster.members[dead].restart();
    five_vote(cluster);
    load.more("writes with five again", 30);
}

#[test]
fn two_servers_join_and_two_leave_under_load() {
    // Reads are answered for as long by whoever leaves.
    let drain = ["-hcl=performance { leave_drain_time = \"500ms\" }".to_owned()];
    let mut cluster = Cluster::servers(3, &drain);
    let leader = cluster.leader();
    let quick = r#"{"CleanupDeadServers":true,"LastContactThreshold":"500ms","MaxTrailingLogs":250,"ServerStabilizationTime":"2s"}"#;
    assert_eq!(cluster.members[leader].node().http.put("/v1/operator/autopilot/configuration", quick).status, 200);
    let load = Workload::start(agents(&cluster));
    load.more("writes with three", 30);
    let new = [cluster.add_server(3, &drain), cluster.add_server(3, &drain)];
    for place in new {
        let name = cluster.members[place].start.name.clone();
        let voted = wait_within("a new server in the configuration", DEADLINE, || votes(&cluster, leader, &name));
        assert!(!voted, "{name} has no vote before it has been healthy for a while");
    }
    assert_eq!(cluster.get(leader, "/v1/muster/raft")["Quorum"], 2, "who only listens does not count");
    five_vote(&mut cluster);
    load.more("writes with five", 30);
    one_dies_and_comes_back(&mut cluster, &load);
    // The leader and one of the new ones.
    let leader = cluster.leader();
    let going = [leader, if leader == new[0] { new[1] } else { new[0] }];
    for place in going {
        assert_eq!(cluster.members[place].node().http.put("/v1/agent/leave", "").status, 200);
        let mut node = cluster.members[place].node.take().expect("it runs");
        assert_eq!(node.end(), Some(0), "{}", node.log());
        if place == leader {
            wait_within("the leader to have handed over", DEADLINE, || node.log().contains(HANDED_OVER).then_some(()));
        }
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
