//! Whether anybody leads, as the agent that serves this page knows it, on whatever page.
//!
//! While nobody does, every read is sent with `stale`: a server then answers at once from what it has, instead of after seven
//! seconds with an error. [`Cluster::unwritable`] tells why nothing can be written meanwhile. It ends by itself.

use std::time::Duration;

use crate::prelude::*;
use shared::{
    changes::Topic,
    endpoint::Read as Where,
    query::{Consistency, QueryOptions},
    raft::{GetRaft, Raft},
};

use crate::{
    api::{Query, fetch, query, use_live},
    format,
    router::use_dc,
};

/// How often it is asked: silence alone is no news.
const LOOK: Duration = Duration::from_secs(2);

/// What is known of consensus. Copy it freely.
#[derive(Clone, Copy)]
pub(crate) struct Cluster {
    /// As the answering server sees it, leader or not.
    pub(crate) raft: Query<Raft>,
    /// Whether a server answered, and named no leader.
    pub(crate) leaderless: Memo<bool>,
    /// Why nothing can be written; empty when it can.
    pub(crate) unwritable: Signal<String>,
}

/// What is known of consensus.
pub(crate) fn use_cluster() -> Cluster {
    expect_context()
}

/// Watches for the whole app. Needs the router and the change stream.
pub(crate) fn provide() {
    let (dc, live) = (use_dc(), use_live());
    let read = move || Where { dc: dc.get(), options: QueryOptions { consistency: Consistency::Stale, ..QueryOptions::default() } };
    let raft = query(move || Some(GetRaft { read: read() }), |change| change.topic == Topic::Raft);
    raft.poll(LOOK);
    let leaderless = Memo::new(move |_| raft.data.with(|raft| raft.as_ref().is_some_and(|raft| raft.leader.is_empty())));
    let unwritable = Signal::derive(move || if leaderless.get() { UNWRITABLE.to_owned() } else { String::new() });
    Effect::new(move |before: Option<bool>| {
        let now = leaderless.get();
        if before.unwrap_or_default() != now {
            fetch::set_stale(now);
            live.restart();
        }
        now
    });
    provide_context(Cluster { raft, leaderless, unwritable });
}

const UNWRITABLE: &str = "There is no leader: nothing can be written until one is elected.";

/// Who cannot be reached of the servers that vote, by name.
pub(crate) fn missing(raft: &Raft) -> Vec<&str> {
    let gone = |server: &&shared::raft::Server| server.role != "non-voter" && server.gossip != "alive" && server.name != raft.node;
    raft.servers.iter().filter(gone).map(|server| server.name.as_str()).collect()
}

/// For how long nobody has led, and since when; `None` while somebody does.
pub(crate) fn leaderless_since(raft: &Raft) -> Option<(u64, u64)> {
    let last = raft.elections.first().filter(|last| raft.leader.is_empty() && last.leader.is_empty())?;
    Some((raft.now_ms.saturating_sub(last.at_ms), last.at_ms))
}

/// The banner over every page: since when nobody leads, why, and how old what is shown may be.
pub(crate) fn banner(raft: &Raft, zone_min: i32) -> String {
    if !raft.failure.is_empty() {
        return format!("{} takes no part any longer: {} It shows what it had then.", raft.node, format::sentence(&raft.failure));
    }
    let since = leaderless_since(raft);
    let head = match since {
        Some((ms, _)) => format!("No leader for {}", format::span(ms)),
        None => "No leader".to_owned(),
    };
    let missing = missing(raft);
    let why = match missing.as_slice() {
        [] if raft.servers.is_empty() => ": no cluster has been formed yet.".to_owned(),
        [] => ": the servers are electing one.".to_owned(),
        [one] => format!(": {one} does not answer."),
        many => format!(": {} do not answer.", listed(many)),
    };
    let data = match since {
        Some((_, at_ms)) if !raft.servers.is_empty() => format!(" Showing data as of {}.", format::clock(at_ms, zone_min, true)),
        _ => String::new(),
    };
    format!("{head}{why}{data} Nothing can be written.")
}

/// `a, b and c`.
pub(crate) fn listed(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use shared::raft::{Election, Server};

    use super::*;

    fn server(name: &str, gossip: &str) -> Server {
        Server { name: name.to_owned(), gossip: gossip.to_owned(), role: "voter".to_owned(), ..Server::default() }
    }

    fn raft(servers: Vec<Server>) -> Raft {
        let elections = vec![Election { at_ms: 60_000, ..Election::default() }];
        Raft { node: "a".to_owned(), servers, elections, now_ms: 72_000, ..Raft::default() }
    }

    #[test]
    fn the_banner_says_since_when_who_is_missing_and_how_old_the_data_is() {
        let check = |raft: &Raft, text: &str| assert_eq!(banner(raft, 0), text);
        let two = raft(vec![server("a", "alive"), server("b", "failed"), server("c", "left")]);
        check(&two, "No leader for 12 s: b and c do not answer. Showing data as of 00:01:00. Nothing can be written.");
        let election = raft(vec![server("a", "alive"), server("b", "alive")]);
        check(&election, "No leader for 12 s: the servers are electing one. Showing data as of 00:01:00. Nothing can be written.");
        check(
            &Raft { failure: "its disk is full".to_owned(), ..raft(Vec::new()) },
            "a takes no part any longer: its disk is full. It shows what it had then.",
        );
        check(&raft(Vec::new()), "No leader for 12 s: no cluster has been formed yet. Nothing can be written.");
    }

    #[test]
    fn a_server_that_does_not_vote_is_not_missed() {
        let mut replica = server("r", "failed");
        replica.role = "non-voter".to_owned();
        assert_eq!(missing(&raft(vec![server("a", ""), replica, server("b", "failed")])), ["b"]);
        let led = Raft { leader: "x".to_owned(), ..raft(Vec::new()) };
        assert_eq!(leaderless_since(&led), None);
    }
}
