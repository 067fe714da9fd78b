//! Servers in network namespaces whose packets are dropped or delayed: nothing acknowledged is lost, nobody answers what is no longer
//! true, and everybody agrees once the network is well again.
//!
//! Needs root, iproute2 and nftables; where namespaces cannot be made these tests fail and say so.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tests::{
    cluster::{Cluster, DEADLINE},
    http::Client,
    network::{Fault, Network},
    relay::{Relay, Way},
    wait::wait_within,
    workload::{Workload, agents, agree},
};

fn servers() -> Cluster {
    Cluster::servers_within(Network::new(3), Vec::new(), 3)
}

/// The number of a member's namespace.
fn number(place: usize) -> u8 {
    u8::try_from(place + 1).expect("few members")
}

fn term(cluster: &Cluster, place: usize) -> u64 {
    cluster.get(place, "/v1/muster/raft")["Term"].as_u64().unwrap_or_default()
}

/// Waits until a member takes a write.
fn writes(what: &str, agent: &Client) {
    wait_within(what, DEADLINE, || (agent.request("PUT", "/v1/kv/probe", &[], b"x").ok()?.status == 200).then_some(()));
}

/// Waits until a member that was just cut off refuses what may be no longer true, and checks that it answers what may be stale and says
/// how stale it is. A consistent read is never answered.
fn only_stale(agent: &Client) {
    let agent = *agent;
    let refuses = move |method: &str, target: &str| {
        let answer = agent.request(method, target, &[], b"").ok()?;
        (answer.status == 500 && answer.text() == "No cluster leader").then_some(())
    };
    // Each of them is held back for a while in the hope of a leader: all at once.
    let refused = |what: &'static str, method: &'static str, target: &'static str| {
        thread::spawn(move || wait_within(what, DEADLINE, || refuses(method, target)))
    };
    let waiting = [
        refused("default reads to be refused", "GET", "/v1/kv/before"),
        refused("writes to be refused", "PUT", "/v1/kv/refused"),
        refused("reads that are too stale to be refused", "GET", "/v1/kv/before?max_stale=1s"),
    ];
    let consistent = agent.get("/v1/kv/before?consistent");
    assert_eq!((consistent.status, consistent.text().as_str()), (500, "No cluster leader"));
    waiting.into_iter().for_each(|waiting| waiting.join().expect("it is refused"));
    for target in ["/v1/kv/before?stale&raw", "/v1/kv/before?max_stale=10m&raw"] {
        let (asked, stale) = (Instant::now(), agent.get(target));
        assert_eq!((stale.status, stale.text().as_str(), stale.header("X-Consul-Knownleader")), (200, "here", Some("false")), "{target}");
        assert!(asked.elapsed() < Duration::from_secs(5), "{target}: nobody was waited for");
        let contact = stale.header("X-Consul-Lastcontact").and_then(|text| text.parse::<u64>().ok());
        assert!(contact.is_some_and(|ms| ms > 1_000), "{target}: the last contact was {contact:?} ms ago");
    }
    assert_eq!(agent.get("/v1/status/leader").text().trim(), "\"\"");
}

/// Waits until every member takes every other one for alive.
fn all_alive(cluster: &Cluster) {
    wait_within("everybody to be alive to everybody", DEADLINE, || {
        let alive = |place: usize| {
            let members = cluster.get(place, "/v1/agent/members");
            members.as_array().is_some_and(|members| members.iter().filter(|member| member["Status"] == 1).count() == cluster.members.len())
        };
        (0..cluster.members.len()).all(alive).then_some(())
    });
}

/// Everything is well again, and nothing was lost.
fn healed(mut cluster: Cluster, load: Workload) {
    cluster.settled(cluster.members.len());
    all_alive(&cluster);
    load.more("writes through everybody", 100);
    let leader = cluster.leader();
    let http = cluster.members[leader].node().http;
    load.check(&http);
    agree(&cluster);
}

#[test]
fn a_leader_cut_off_from_the_majority_serves_only_stale_reads_and_the_others_go_on() {
    let mut cluster = servers();
    let leader = cluster.leader();
    let old = cluster.members[leader].node().http;
    assert_eq!(old.put("/v1/kv/before", "here").status, 200);
    let load = Workload::start_apart(agents(&cluster));
    load.more("writes with everybody", 50);
    let term_before = term(&cluster, leader);

    cluster.network().fault(number(leader), Fault::CutOff);
    let majority = cluster.members[cluster.others(leader)[0]].node().http;
    writes("the majority to go on", &majority);
    only_stale(&old);
    assert_eq!(majority.put("/v1/kv/before", "gone").status, 200, "the majority changes what the old leader still has");
    assert_eq!(old.get("/v1/kv/before?stale&raw").text(), "here", "a stale read shows what was there before");
    load.more("writes without the old leader", 50);

    cluster.network().heal(number(leader));
    let new = cluster.leader();
    assert!(term(&cluster, new) > term_before, "somebody was elected");
    wait_within("the old leader to follow", DEADLINE, || (old.get("/v1/kv/before?stale&raw").text() == "gone").then_some(()));
    healed(cluster, load);
}

#[test]
fn a_follower_cut_off_serves_only_stale_reads_and_does_not_disturb_when_it_comes_back() {
    let mut cluster = servers();
    let leader = cluster.leader();
    let follower = cluster.others(leader)[0];
    let (http, cut_off) = (cluster.members[leader].node().http, cluster.members[follower].node().http);
    assert_eq!(http.put("/v1/kv/before", "here").status, 200);
    wait_within("the follower to have it", DEADLINE, || (cut_off.get("/v1/kv/before?stale&raw").text() == "here").then_some(()));
    let load = Workload::start_apart(agents(&cluster));
    let term_before = term(&cluster, leader);

    cluster.network().fault(number(follower), Fault::CutOff);
    only_stale(&cut_off);
    let contact =
        |agent: &Client| agent.get("/v1/kv/before?stale").header("X-Consul-Lastcontact").and_then(|text| text.parse::<u64>().ok());
    wait_within("a true time of the last contact", DEADLINE, || contact(&cut_off).filter(|ms| *ms > 2_000));
    load.more("writes without the follower", 50);

    cluster.network().heal(number(follower));
    writes("writes through it again", &cut_off);
    assert_eq!(cluster.leader(), leader, "its return costs nobody the leadership");
    assert_eq!(term(&cluster, leader), term_before, "it asked before it stood for election");
    healed(cluster, load);
}

#[test]
fn a_leader_that_is_not_heard_is_replaced_and_one_that_does_not_hear_too() {
    let mut cluster = servers();
    let load = Workload::start_apart(agents(&cluster));
    for fault in [Fault::Mute, Fault::Deaf] {
        let leader = cluster.leader();
        load.more("writes with everybody", 30);
        cluster.network().fault(number(leader), fault);
        let other = cluster.members[cluster.others(leader)[0]].node().http;
        writes("the others to go on", &other);
        load.more("writes without the old leader", 30);
        let named = other.get("/v1/status/leader").text();
        assert!(!named.contains(&cluster.members[leader].start.ip.to_string()), "{fault:?}: {named} leads no longer");
        cluster.network().heal(number(leader));
        cluster.settled(3);
    }
    healed(cluster, load);
}

#[test]
fn a_follower_that_hears_nothing_but_is_heard_deposes_nobody() {
    let mut cluster = servers();
    let leader = cluster.leader();
    let follower = cluster.others(leader)[0];
    let load = Workload::start_apart(agents(&cluster));
    load.more("writes with everybody", 30);
    let term_before = term(&cluster, leader);
    cluster.network().fault(number(follower), Fault::Deaf);
    let deaf = cluster.members[follower].node().http;
    wait_within("it to miss the leader", DEADLINE, || (deaf.get("/v1/status/leader").text().trim() == "\"\"").then_some(()));
    load.more("writes without the follower", 100);
    cluster.network().heal(number(follower));
    wait_within("it to follow again", DEADLINE, || (deaf.get("/v1/status/leader").text().trim() != "\"\"").then_some(()));
    assert_eq!((cluster.leader(), term(&cluster, leader)), (leader, term_before));
    healed(cluster, load);
}

#[test]
fn a_fifth_of_all_packets_lost_leaves_the_cluster_usable() {
    let cluster = servers();
    let load = Workload::start(agents(&cluster));
    load.more("writes with everything delivered", 30);
    (1..=3).for_each(|number| cluster.network().fault(number, Fault::Lossy(20)));
    let begun = Instant::now();
    load.more("writes with a fifth lost", 60);
    println!("60 writes with a fifth of all packets lost took {} ms", begun.elapsed().as_millis());
    (1..=3).for_each(|number| cluster.network().heal(number));
    healed(cluster, load);
}

#[test]
fn fifty_milliseconds_each_way_slow_a_cluster_down_and_nothing_else() {
    let network = Network::new(3);
    let known_as: Vec<_> = (1..=3).map(|number| network.outside(100 + number)).collect();
    let ways = (1..=3).zip(&known_as).map(|(number, from)| Way { from: *from, to: network.address(number) }).collect();
    let _relay = Relay::start(ways, vec![8300, 8301], Duration::from_millis(50));
    let mut cluster = Cluster::servers_within(network, known_as, 3);
    let leader = cluster.leader();
    let term_before = term(&cluster, leader);
    let load = Workload::start(agents(&cluster));
    load.more("writes over a long way", 50);
    let http = cluster.members[leader].node().http;
    let begun = Instant::now();
    assert_eq!(http.put("/v1/kv/far", "x").status, 200);
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(100), "{took:?}: a write is there and back again");
    assert_eq!((cluster.leader(), term(&cluster, leader)), (leader, term_before), "nobody lost patience");
    let members: Value = cluster.get(leader, "/v1/agent/members");
    assert!(members.as_array().is_some_and(|members| members.iter().all(|member| member["Status"] == 1)), "{members}");
    healed(cluster, load);
}
