//! Who must not become a member, and servers that do not agree on what they form: nothing is formed by accident, and both sides say why.

use tests::{
    cluster::{Cluster, DEADLINE},
    node::{Node, Product, Start},
    wait::{wait_until, wait_within},
};

/// Waits until an agent has said something.
fn says(node: &Node, text: &str) {
    wait_within(text, DEADLINE, || node.log().contains(text).then_some(()));
}

/// Names of the members an agent knows of.
fn members(node: &Node) -> Vec<String> {
    let members = node.http.get("/v1/agent/members").json();
    let names = members.as_array().expect("a list").iter().map(|member| member["Name"].as_str().unwrap_or_default().to_owned());
    names.collect()
}

#[test]
fn servers_that_expect_different_numbers_form_nothing_and_all_say_so() {
    let mut cluster = Cluster::empty();
    for expect in [3, 3, 5] {
        cluster.add_server(expect, &[]);
    }
    for place in [0, 1] {
        says(cluster.members[place].node(), "member n3 expects 5 servers, this one 3: set the same bootstrap_expect");
    }
    says(cluster.members[2].node(), "expects 3 servers, this one 5: set the same bootstrap_expect");
    for place in 0..3 {
        let node = cluster.members[place].node();
        assert!(node.log().contains("[ERROR]"), "no mere note: {}", node.log());
        wait_until("three to see each other", || (members(node).len() == 3).then_some(()));
        assert_eq!(node.http.get("/v1/status/leader").text().trim(), "\"\"");
        assert_eq!(node.http.get("/v1/status/peers").text().trim(), "[]");
    }

    // Once they agree they form, and what a later one expects counts no more, as in Consul.
    cluster.members[2].kill();
    let arguments = &mut cluster.members[2].start.arguments;
    arguments.retain(|argument| !argument.starts_with("-bootstrap-expect="));
    arguments.push("-bootstrap-expect=3".to_owned());
    cluster.members[2].restart();
    let leader = cluster.settled(3);
    let late = cluster.add_server(5, &[]);
    says(cluster.members[late].node(), "expects 3 servers, this one 5: set the same bootstrap_expect");
    let added = wait_within("it in the configuration", DEADLINE, || {
        let configuration = cluster.get(leader, "/v1/operator/raft/configuration");
        configuration["Servers"].as_array()?.iter().find(|server| server["Node"] == "n4").cloned()
    });
    assert_eq!(added["Voter"], false, "{added}");
    says(cluster.members[leader].node(), "a server that expects another number of servers is added");
    assert_eq!(cluster.leader(), leader, "one cluster");
}

#[test]
fn a_wrong_datacenter_and_a_name_or_id_that_is_taken_are_refused_and_both_sides_say_why() {
    let mut cluster = Cluster::servers(1, &[]);
    let other = cluster.add_client();
    cluster.settled(2);
    let (asked, taken) = (cluster.members[0].start.clone(), cluster.members[other].start.clone());
    let newcomer = |number: u8| {
        let directory = format!("-data-dir={}", cluster.directory().join(format!("n{number}")).display());
        let join = format!("-retry-join={}", asked.ip);
        Start::numbered(Product::Muster, number, vec!["-server".into(), "-bootstrap-expect=3".into(), directory, join])
    };
    let named = |number: u8, name: &str| Start { name: name.to_owned(), ..newcomer(number) };
    let with_id = |number: u8, id: &str| Start { id: id.to_owned(), ..newcomer(number) };
    let refused = [
        (newcomer(11).with("-datacenter=dc2"), "Member 'n11' part of wrong datacenter 'dc2'".to_owned()),
        (named(12, &asked.name), format!("Member 'n1' has the name of this agent, whose address is {}", asked.ip)),
        (with_id(13, &asked.id), format!("Member 'n13' has conflicting node ID '{}' with this agent's ID", asked.id)),
        (named(14, &taken.name), format!("Member 'n2' has the name of a living member, whose address is {}", taken.ip)),
        (with_id(15, &taken.id), format!("Member 'n15' has conflicting node ID '{}' with member 'n2'", taken.id)),
    ];
    // All at once: each takes a while to start.
    let refused = refused.map(|(start, why)| (start.spawn(), start.name, why));
    for (node, name, why) in refused {
        says(&node, &why);
        says(&node, "gossip: refused by the other side");
        says(cluster.members[0].node(), &why);
        assert_eq!(members(&node), [name.as_str()], "it is alone");
        assert_eq!(node.http.get("/v1/status/leader").text().trim(), "\"\"", "and forms nothing of its own");
    }
    assert_eq!(members(cluster.members[0].node()), ["n1", "n2"]);
    assert_eq!(cluster.get(0, "/v1/catalog/nodes").as_array().map(Vec::len), Some(2));
}
