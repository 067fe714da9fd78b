//! Servers whose addresses change while their data stays: the others find them there, and they count as before.

use std::net::Ipv4Addr;

use serde_json::Value;
use tests::{
    cluster::{Cluster, DEADLINE},
    http::Client,
    node::free_address,
    wait::wait_within,
    workload::{Workload, agents, agree},
};

/// Waits until a server is a voter at the address it has now.
fn votes_where_it_is(cluster: &mut Cluster, place: usize) {
    let (name, address) = (cluster.members[place].start.name.clone(), format!("{}:8300", cluster.members[place].start.ip));
    wait_within("its new address in the configuration", DEADLINE, || {
        let leader = cluster.leader();
        let configuration = cluster.get(leader, "/v1/operator/raft/configuration");
        let is_it = |server: &Value| server["Node"] == name.as_str() && server["Address"] == address.as_str() && server["Voter"] == true;
        (configuration["Servers"].as_array()?.len() == 3 && configuration["Servers"].as_array()?.iter().any(is_it)).then_some(())
    });
}

#[test]
fn servers_that_come_back_with_new_addresses_count_as_before_one_alone_and_all_at_once() {
    let mut cluster = Cluster::servers(3, &[]);
    let leader = cluster.leader();
    let moving = cluster.others(leader)[0];
    let first = free_address();
    let later: Vec<Ipv4Addr> = (0..3).map(|_| free_address()).collect();
    let mut everywhere = agents(&cluster);
    let patience = everywhere[0].timeout;
    everywhere.extend(later.iter().chain([&first]).map(|ip| Client { timeout: patience, ..Client::new((*ip).into()) }));
    let load = Workload::start(everywhere);
    load.more("writes before anything happens", 50);

    // Nobody is told: it finds the others by what it kept or was started with, and they believe it by its id.
    cluster.members[moving].kill();
    cluster.members[moving].start.ip = first;
    cluster.members[moving].restart();
    votes_where_it_is(&mut cluster, moving);
    // The third server has to be heard by it now: whoever leads, nothing goes without its vote.
    cluster.members[leader].kill();
    load.more("writes that need the server at its new address", 50);
    cluster.members[leader].restart();
    cluster.settled(3);

    // Every address that anybody kept is wrong now.
    cluster.members.iter_mut().for_each(tests::cluster::Member::kill);
    for (member, ip) in cluster.members.iter_mut().zip(&later) {
        member.start.ip = *ip;
        member.start.arguments.retain(|argument| !argument.starts_with("-retry-join="));
        member.start.arguments.extend(later.iter().map(|ip| format!("-retry-join={ip}")));
        member.restart();
    }
    cluster.settled(3);
    (0..3).for_each(|place| votes_where_it_is(&mut cluster, place));
    load.more("writes with everybody somewhere else", 50);
    let http = cluster.members[0].node().http;
    load.check(&http);
    agree(&cluster);
}
