//! Which servers the Raft configuration names, and which of them vote, also while a change of it is half done. Functions over values.
//!
//! A half-done change needs a majority of the former voters and one of the next: nobody is called a voter before both count it, and
//! nobody gone before neither names it. Contract: cluster, section "Raft".

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Peer,
    types::{Configuration, NodeId, Server},
};

/// Every server that one of these configurations names, by id. The first one knows best where it is.
pub(super) fn peers(configurations: &[&Configuration]) -> Vec<Peer> {
    let mut servers: BTreeMap<&NodeId, &Server> = BTreeMap::new();
    for (id, server) in configurations.iter().flat_map(|configuration| configuration.nodes()) {
        servers.entry(id).or_insert(server);
    }
    let halves: Vec<_> = configurations.iter().flat_map(|configuration| halves(configuration)).collect();
    let peer = |(id, server): (&NodeId, &Server)| Peer {
        id: id.to_string(),
        name: server.name.clone(),
        address: server.address.clone(),
        voter: halves.iter().all(|voters| voters.contains(id)),
    };
    servers.into_iter().map(peer).collect()
}

/// The voters before and after a change. One given by `peers.json`, which asks every server for its vote, names them last.
fn halves(configuration: &Configuration) -> &[BTreeSet<NodeId>] {
    match configuration.get_joint_config().as_slice() {
        [.., all] if configuration.get_joint_config().len() > 2 => std::slice::from_ref(all),
        halves => halves,
    }
}

/// Ids of the voters of each half of these configurations, each of which has to have a majority: more than one while a change is
/// half done.
pub(super) fn voter_sets(configurations: &[&Configuration]) -> Vec<Vec<String>> {
    let halves = configurations.iter().flat_map(|configuration| configuration.get_joint_config());
    let mut sets: Vec<Vec<String>> = halves.map(|voters| voters.iter().map(NodeId::to_string).collect()).collect();
    sets.sort_unstable();
    sets.dedup();
    sets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(halves: &[&[u64]], nodes: &[u64]) -> Configuration {
        let voters = halves.iter().map(|half| half.iter().copied().map(NodeId::from).collect::<BTreeSet<_>>()).collect();
        let server = |at: &u64| (NodeId::from(*at), Server { name: format!("s{at}"), address: format!("10.0.0.{at}:8300") });
        Configuration::new(voters, nodes.iter().map(server).collect::<BTreeMap<_, _>>()).expect("is valid")
    }

    /// `s1 s2-` for two servers of which the second has no vote.
    fn check(configurations: &[&Configuration], expected: &str) {
        let peers = peers(configurations);
        let told: Vec<_> = peers.iter().map(|peer| format!("{}{}", peer.name, if peer.voter { "" } else { "-" })).collect();
        assert_eq!(told.join(" "), expected);
    }

    #[test]
    fn who_gets_a_vote_is_a_voter_once_the_change_is_agreed_on() {
        let before = configuration(&[&[1, 2, 3]], &[1, 2, 3, 4]);
        let joint = configuration(&[&[1, 2, 3], &[1, 2, 3, 4]], &[1, 2, 3, 4]);
        let after = configuration(&[&[1, 2, 3, 4]], &[1, 2, 3, 4]);
        check(&[&before, &before], "s1 s2 s3 s4-");
        check(&[&joint, &before], "s1 s2 s3 s4-");
        check(&[&joint, &joint], "s1 s2 s3 s4-");
        check(&[&after, &joint], "s1 s2 s3 s4-");
        check(&[&after, &after], "s1 s2 s3 s4");
        check(&[&joint], "s1 s2 s3 s4-");
        assert_eq!(voter_sets(&[&after, &joint]).iter().map(Vec::len).collect::<Vec<_>>(), [3, 4]);
        assert_eq!(voter_sets(&[&after, &after]).len(), 1);
    }

    #[test]
    fn who_is_removed_is_there_until_the_change_is_agreed_on() {
        let before = configuration(&[&[1, 2, 3]], &[1, 2, 3]);
        let joint = configuration(&[&[1, 2, 3], &[1, 2]], &[1, 2, 3]);
        let after = configuration(&[&[1, 2]], &[1, 2]);
        check(&[&joint, &before], "s1 s2 s3-");
        check(&[&after, &joint], "s1 s2 s3-");
        check(&[&after, &after], "s1 s2");
        // Nothing is known to be agreed on yet.
        check(&[&after, &Configuration::default()], "s1 s2");
        check(&[&Configuration::default()], "");
    }

    #[test]
    fn who_was_given_by_an_operator_is_a_voter_although_everybody_is_asked_at_first() {
        let given = configuration(&[&[1], &[2], &[3], &[1, 2, 3]], &[1, 2, 3, 4]);
        check(&[&given, &given], "s1 s2 s3 s4-");
        assert_eq!(voter_sets(&[&given]).len(), 4);
    }

    #[test]
    fn who_moved_is_where_the_newest_configuration_says() {
        let before = configuration(&[&[1]], &[1]);
        let moved = Server { name: "s1".into(), address: "10.0.0.9:8300".into() };
        let after = Configuration::new(vec![[NodeId::from(1)].into()], BTreeMap::from([(NodeId::from(1), moved)])).expect("is valid");
        assert_eq!(peers(&[&after, &before])[0].address, "10.0.0.9:8300");
    }
}
