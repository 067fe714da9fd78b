//! The cluster itself, as far as this agent knows it: who leads, who is a member.

use crate::prelude::*;
use shared::{agent, changes::Topic, status};

use crate::{
    api::{Query, query},
    components::Icon,
    format::count,
    router::{Page, link, use_dc},
};

/// The members of the gossip pool, for both panels.
pub(super) fn members() -> Query<Option<Vec<agent::Member>>> {
    query(|| Some(agent::GetMembers { wan: false }), |change| matches!(change.topic, Topic::Raft | Topic::Node))
}

/// The servers, by address, and which leads.
#[component]
pub(super) fn Consensus(members: Query<Option<Vec<agent::Member>>>) -> impl IntoView {
    let dc = use_dc();
    let leader = query(move || Some(status::GetLeader { dc: dc.get() }), |change| change.topic == Topic::Raft);
    let peers = query(move || Some(status::GetPeers { dc: dc.get() }), |change| change.topic == Topic::Raft);
    let rows = move || {
        let leader = leader.data.get().unwrap_or_default();
        let members = members.data.get().flatten().unwrap_or_default();
        peers.data.with(|peers| peers.as_deref().map(|peers| servers(peers, &leader, &members)).unwrap_or_default())
    };
    let rows = Memo::new(move |_| rows());
    let note = move || tolerance(rows.with(Vec::len), leader.data.with(|leader| leader.as_ref().is_some_and(|leader| !leader.is_empty())));
    view! {
        <Show when=move || !rows.with(Vec::is_empty)>
            <section class="panel" aria-labelledby="h-raft">
                <header><h2 id="h-raft">"Consensus"</h2><div class="r">{note}</div></header>
                <ul class="raft">
                    <For each=move || rows.get() key=Server::key let:server>
                        <li>
                            <Icon name=if server.leads { "crown" } else { "nodes" }/>
                            {match server.name.clone() {
                                Some(name) => view! { <a href=link(Page::node(&name, "health-checks"))>{name.clone()}</a> }.into_any(),
                                None => view! { <span>"server"</span> }.into_any(),
                            }}
                            <span class="dim mono">{server.address.clone()}</span>
                            <span class="dim">{server.leads.then(|| view! { <b>"Leader"</b> })}</span>
                        </li>
                    </For>
                </ul>
            </section>
        </Show>
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Server {
    address: String,
    /// The member with that address, if there is one.
    name: Option<String>,
    leads: bool,
}

impl Server {
    fn key(&self) -> (String, Option<String>, bool) {
        (self.address.clone(), self.name.clone(), self.leads)
    }
}

fn servers(peers: &[String], leader: &str, members: &[agent::Member]) -> Vec<Server> {
    let mut out: Vec<Server> = peers
        .iter()
        .map(|address| {
            let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host).trim_matches(['[', ']']);
            let serves = |member: &&agent::Member| member.addr == host && member.tags.get("role").is_some_and(|role| role == "consul");
            let name = members.iter().find(serves).map(|member| member.name.clone());
            Server { address: address.clone(), name, leads: address == leader }
        })
        .collect();
    out.sort_by(|a, b| b.leads.cmp(&a.leads).then_with(|| a.address.cmp(&b.address)));
    out
}

/// What the set of servers can bear.
fn tolerance(servers: usize, led: bool) -> String {
    match (led, servers.saturating_sub(1) / 2) {
        (false, _) => "no leader".to_owned(),
        (true, 0) => "one failure stops writes".to_owned(),
        (true, 1) => "survives 1 server failure".to_owned(),
        (true, many) => format!("survives {many} server failures"),
    }
}

/// The members of the gossip pool by state.
#[component]
pub(super) fn Gossip(members: Query<Option<Vec<agent::Member>>>) -> impl IntoView {
    let states = Memo::new(move |_| members.data.with(|members| members.as_ref().and_then(Option::as_ref).map(|members| states(members))));
    let of = move |pick: fn(&States) -> u32| states.with(|states| states.as_ref().map(pick).unwrap_or_default());
    view! {
        <Show when=move || states.with(Option::is_some)>
            <section class="panel" aria-labelledby="h-gossip">
                <header>
                    <h2 id="h-gossip">"Gossip"</h2>
                    <div class="r">{move || format!("LAN, {}", crate::format::plural(of(|states| states.total), "member", "members"))}</div>
                </header>
                <dl class="kv2">
                    <dt>"Alive, failed, left"</dt>
                    <dd>
                        {move || count(of(|states| states.alive))}" / "
                        <span class:crit={move || { of(|states| states.failed) > 0 }}>{move || count(of(|states| states.failed))}</span>
                        " / "{move || count(of(|states| states.left))}
                    </dd>
                    <dt>"Servers, clients"</dt>
                    <dd>{move || count(of(|states| states.servers))}" / "{move || count(of(|states| states.alive + states.failed - states.servers.min(states.alive + states.failed)))}</dd>
                </dl>
            </section>
        </Show>
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct States {
    total: u32,
    alive: u32,
    failed: u32,
    left: u32,
    servers: u32,
}

fn states(members: &[agent::Member]) -> States {
    let mut states = States { total: members.len() as u32, ..States::default() };
    for member in members {
        match member.status {
            1 => states.alive += 1,
            4 => states.failed += 1,
            _ => states.left += 1,
        }
        if matches!(member.status, 1 | 4) && member.tags.get("role").is_some_and(|role| role == "consul") {
            states.servers += 1;
        }
    }
    states
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, addr: &str, role: &str, status: u8) -> agent::Member {
        let tags = [("role".to_owned(), role.to_owned())].into();
        agent::Member { name: name.to_owned(), addr: addr.to_owned(), tags, status, ..agent::Member::default() }
    }

    #[test]
    fn the_leader_comes_first_and_servers_have_their_names() {
        let members = [member("b", "10.0.0.2", "consul", 1), member("c", "10.0.0.1", "node", 1)];
        let peers = ["10.0.0.1:8300".to_owned(), "10.0.0.2:8300".to_owned()];
        let rows = servers(&peers, "10.0.0.2:8300", &members);
        assert_eq!((rows[0].name.as_deref(), rows[0].leads), (Some("b"), true));
        assert_eq!((rows[1].name.as_deref(), rows[1].leads), (None, false));
    }

    #[test]
    fn tolerance_is_said_in_words() {
        for (servers, led, text) in [
            (1, true, "one failure stops writes"),
            (3, true, "survives 1 server failure"),
            (5, true, "survives 2 server failures"),
            (3, false, "no leader"),
        ] {
            assert_eq!(tolerance(servers, led), text);
        }
    }

    #[test]
    fn members_are_counted_by_state() {
        let members = [member("a", "", "consul", 1), member("b", "", "node", 1), member("c", "", "node", 4), member("d", "", "node", 3)];
        assert_eq!(states(&members), States { total: 4, alive: 2, failed: 1, left: 1, servers: 1 });
    }
}
