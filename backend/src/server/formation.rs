//! Forming a cluster: once as many servers as expected are there and none of them belongs to one.
//!
//! Two clusters can never come of one pool: the server with the lowest UUID forms it, and only when every other one sees exactly
//! the same servers and expects as many. Once there is a cluster nobody asks what was expected, as in Consul: who joins is added.
//! Contract: cluster, sections "Admission" and "Raft", row "Bootstrap".

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use shared::agent::{Member, status::ALIVE};

use super::{Call, Server};
use crate::{
    raft::Peer,
    rpc::{self, Answer, Error, Request, TypedOperation as _},
    rt::clock,
};

/// How often the pool is looked at, beside every change.
const AGAIN: Duration = Duration::from_millis(500);

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Plan {
    /// Not yet; why.
    Wait(String),
    /// Never, as these servers were started; why.
    Refuse(String),
    /// Form a cluster of these.
    Form(Vec<Peer>),
}

/// The servers of this datacenter that would vote, by UUID.
fn servers(members: &[Member], datacenter: &str) -> BTreeMap<String, Peer> {
    let of = |member: &Member| {
        let would_vote = member.status == ALIVE && member.serves(datacenter) && member.tag("nonvoter").is_none();
        let address = member.rpc_address().filter(|_| would_vote)?.to_string();
        let id = member.tag("id")?.to_owned();
        Some((id.clone(), Peer { id, name: member.name.clone(), address, voter: true }))
    };
    members.iter().filter_map(of).collect()
}

/// How many servers a member waits for before they form a cluster.
pub(super) fn expected_by(member: &Member) -> Option<u32> {
    member.tag("expect")?.parse().ok()
}

/// Says that a server that is added to a cluster was started to form another one than this.
pub(super) fn warn_of_expectation(server: &Server, members: &[Member], added: &Peer) {
    let ours = server.options.bootstrap_expect;
    let member = members.iter().find(|member| member.tag("id") == Some(added.id.as_str()));
    if let Some(theirs) = member.and_then(expected_by).filter(|theirs| ours != 0 && *theirs != ours) {
        let why = "the cluster is formed, bootstrap_expect counts no more: set the same all the same, for the next time";
        tracing::warn!(server = added.name, expects = theirs, ours, why, "a server that expects another number of servers is added");
    }
}

fn plan(members: &[Member], datacenter: &str, expect: u32) -> Plan {
    let servers = servers(members, datacenter);
    for member in members.iter().filter(|member| servers.values().any(|peer| peer.name == member.name)) {
        if member.tag("bootstrap") == Some("1") {
            return Plan::Wait(format!("member {} was started with bootstrap: its cluster is joined, none is formed", member.name));
        }
        if let Some(theirs) = expected_by(member).filter(|theirs| *theirs != expect) {
            return Plan::Refuse(format!(
                "member {} expects {theirs} servers, this one {expect}: set the same bootstrap_expect",
                member.name
            ));
        }
    }
    if servers.len() < expect as usize {
        return Plan::Wait(format!("{} of {expect} servers are there", servers.len()));
    }
    Plan::Form(servers.into_values().collect())
}

/// What a server answers when another one wants to form a cluster.
pub(super) async fn state(call: Call<'_>) -> Result<Answer<rpc::RaftStanding>, Error> {
    let server = call.server;
    let is_pristine = server.raft.is_pristine().await.map_err(super::consensus::refusal)?;
    let members = server.members.borrow().clone();
    let servers = servers(&members, &server.options.datacenter).into_keys().collect();
    let peers = server.raft.status().peers.into_iter().map(|peer| peer.id).collect();
    Ok(call.answer(0, rpc::RaftStanding { is_pristine, servers, peers }))
}

/// Whether a server may be added: one that never belonged to a cluster, or belongs to this one.
pub(super) async fn admit(server: &Server, peer: &Peer) -> Result<(), String> {
    let Some(pool) = server.options.rpc_pool.as_ref() else { return Ok(()) };
    let standing = standing(pool, peer).await?;
    let ours: Vec<String> = server.raft.status().peers.into_iter().map(|peer| peer.id).collect();
    foreign(&standing, &peer.id, &ours).map_or(Ok(()), Err)
}

/// Asks a server where it stands.
async fn standing(pool: &rpc::Pool, peer: &Peer) -> Result<rpc::RaftStanding, String> {
    let address = peer.address.parse().map_err(|_| format!("{:?} of server {} is no address", peer.address, peer.name))?;
    let answer = pool.call(address, &Request { forwarded: true, ..Request::default() }, rpc::RaftState {}.into()).await;
    let answer = answer.map_err(|error| format!("server {} does not answer: {error}", peer.name))?;
    rpc::RaftState::unwrap(answer.value).ok_or_else(|| "unexpected reply".to_owned())
}

/// Why a server that stands so is none of this cluster, whose servers have these ids.
fn foreign(standing: &rpc::RaftStanding, id: &str, ours: &[String]) -> Option<String> {
    let shares = standing.peers.iter().any(|peer| peer != id && ours.contains(peer));
    let is_foreign = !standing.is_pristine && !shares && !standing.peers.is_empty();
    is_foreign.then(|| {
        "it already belongs to another cluster: was it started with bootstrap, or with another bootstrap_expect? Stop it, empty its data \
         directory and start it again"
            .to_owned()
    })
}

/// Tells the gossip pool which cluster this server belongs to, once it does.
pub(super) async fn tell_cluster(server: &Server) {
    let shutdown = server.runtime.tasks.shutdown();
    while server.gossip.is_some() && !tell_cluster_now(server).await {
        tokio::select! {
            () = shutdown.requested() => return,
            () = clock::sleep(AGAIN) => {}
        }
    }
}

/// As [`tell_cluster`]; answers whether it belongs to one yet.
pub(super) async fn tell_cluster_now(server: &Server) -> bool {
    let id = server.store.state().cluster.clone();
    if let (Some(pool), Some(id)) = (&server.gossip, &id) {
        pool.set_cluster(id.to_string()).await;
    }
    id.is_some()
}

/// Looks until this server belongs to a cluster.
pub(super) async fn run(server: &Arc<Server>) {
    let expect = server.options.bootstrap_expect;
    if expect == 0 {
        return;
    }
    let shutdown = server.runtime.tasks.shutdown();
    let mut members = server.members.clone();
    let mut told = String::new();
    while !shutdown.is_requested() && server.raft.is_pristine().await.unwrap_or(false) {
        let now = members.borrow_and_update().clone();
        let (why, refused) = match plan(&now, &server.options.datacenter, expect) {
            Plan::Refuse(why) => (why, true),
            Plan::Wait(why) => (why, false),
            Plan::Form(peers) if peers.first().is_none_or(|first| first.id != server.options.node_id) => {
                (format!("server {} forms the cluster", peers.first().map_or("", |peer| peer.name.as_str())), false)
            }
            Plan::Form(peers) => match form(server, peers).await {
                Ok(()) => return,
                Err(why) => (why, false),
            },
        };
        if why != told {
            if refused {
                tracing::error!(reason = why, "no cluster is formed");
            } else {
                tracing::info!(reason = why, "no cluster is formed yet");
            }
            told = why;
        }
        tokio::select! {
            () = shutdown.requested() => return,
            _ = members.changed() => {}
            () = clock::sleep(AGAIN) => {}
        }
    }
}

async fn form(server: &Server, peers: Vec<Peer>) -> Result<(), String> {
    let ids: Vec<String> = peers.iter().map(|peer| peer.id.clone()).collect();
    let pool = server.options.rpc_pool.as_ref().ok_or("there is nothing to ask the others with")?;
    for peer in peers.iter().filter(|peer| peer.id != server.options.node_id) {
        let standing = standing(pool, peer).await?;
        if !standing.is_pristine {
            return Err(format!("server {} belongs to a cluster already, which is joined", peer.name));
        }
        if standing.servers != ids {
            return Err(format!("server {} does not see the same servers yet", peer.name));
        }
    }
    let names: Vec<&str> = peers.iter().map(|peer| peer.name.as_str()).collect();
    tracing::info!(servers = names.join(", "), "found expected number of servers, forming the cluster");
    server.raft.bootstrap(peers).await.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, tags: &[(&str, &str)]) -> Member {
        let mut all = BTreeMap::from([("role", "consul"), ("dc", "dc1"), ("id", name), ("port", "8300")]);
        all.extend(tags.iter().copied());
        let tags = all.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        Member { name: name.to_owned(), addr: "10.0.0.1".to_owned(), status: ALIVE, tags, ..Member::default() }
    }

    fn names(plan: Plan) -> Vec<String> {
        match plan {
            Plan::Form(peers) => peers.into_iter().map(|peer| peer.name).collect(),
            Plan::Wait(why) => vec![format!("waits: {why}")],
            Plan::Refuse(why) => vec![format!("refuses: {why}")],
        }
    }

    #[test]
    fn a_cluster_is_formed_of_as_many_as_expected() {
        let expecting = |name: &str| member(name, &[("expect", "3")]);
        let mut members = vec![expecting("c"), expecting("a")];
        assert_eq!(names(plan(&members, "dc1", 3)), ["waits: 2 of 3 servers are there"]);
        members.extend([member("client", &[("role", "node")]), member("replica", &[("expect", "3"), ("nonvoter", "1")])]);
        members.push(member("far", &[("dc", "dc2"), ("expect", "3")]));
        let mut failed = expecting("d");
        failed.status = 4;
        members.push(failed);
        assert_eq!(names(plan(&members, "dc1", 3)), ["waits: 2 of 3 servers are there"]);
        members.push(expecting("b"));
        assert_eq!(names(plan(&members, "dc1", 3)), ["a", "b", "c"]);
    }

    #[test]
    fn servers_that_do_not_agree_form_nothing() {
        let mut members: Vec<_> = ["a", "b", "c"].map(|name| member(name, &[("expect", "3")])).into();
        members[1].tags.insert("expect".to_owned(), "5".to_owned());
        assert!(names(plan(&members, "dc1", 3))[0].starts_with("refuses: member b expects 5 servers, this one 3"));
        assert!(names(plan(&members, "dc1", 5))[0].starts_with("refuses: member a expects 3 servers, this one 5"));
        members[1].tags.remove("expect");
        members[1].tags.insert("bootstrap".to_owned(), "1".to_owned());
        assert!(names(plan(&members, "dc1", 3))[0].starts_with("waits: member b was started with bootstrap"));
    }

    #[test]
    fn only_who_has_a_configuration_without_any_server_of_ours_is_foreign() {
        let ours = ["a", "b", "c"].map(str::to_owned);
        let check = |is_pristine: bool, peers: &[&str], expected: bool| {
            let peers = peers.iter().map(|id| (*id).to_owned()).collect();
            let why = foreign(&rpc::RaftStanding { is_pristine, servers: Vec::new(), peers }, "d", &ours);
            assert_eq!(why.is_some(), expected, "{is_pristine} {why:?}");
            assert!(why.is_none_or(|why| why.contains("already belongs to another cluster") && why.contains("empty its data directory")));
        };
        check(true, &[], false);
        // It has voted, and knows of nobody yet.
        check(false, &[], false);
        check(false, &["d", "b"], false);
        check(false, &["d"], true);
        check(false, &["d", "e", "f"], true);
        // The one that asks is in its own configuration whatever the cluster.
        check(false, &["e"], true);
    }
}
