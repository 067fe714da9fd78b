//! What the Raft page says. Pure.

use shared::raft::{Election, Raft, Server};

use crate::{
    components::hero::{Fact, Sentence},
    format::{self, count},
    state::cluster::{leaderless_since, listed, missing},
};

const WORDS: [&str; 10] = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];

/// A number as people say it in a sentence.
pub(super) fn word(number: usize) -> String {
    WORDS.get(number).map_or_else(|| count(number as u64), |word| (*word).to_owned())
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn voters(raft: &Raft) -> usize {
    raft.servers.iter().filter(|server| server.role != "non-voter").count()
}

/// The server that leads.
pub(super) fn leader(raft: &Raft) -> Option<&Server> {
    raft.servers.iter().find(|server| !raft.leader.is_empty() && server.id == raft.leader)
}

/// The state of consensus, and since when it is so.
pub(super) fn sentence(raft: &Raft) -> Sentence {
    let says = |loud: String, class: &'static str, rest: &str, more: String| Sentence { loud, class, rest: rest.to_owned(), more };
    let all = voters(raft);
    let Some(leader) = leader(raft) else {
        let for_how_long = leaderless_since(raft).map_or_else(String::new, |(ms, _)| format!("For {} now. ", format::span(ms)));
        let gone = missing(raft).len();
        if all == 0 {
            return says(
                "No cluster".to_owned(),
                "warn",
                " has been formed yet.",
                "It waits for as many servers as bootstrap_expect says.".to_owned(),
            );
        }
        if all - gone >= raft.quorum {
            let more =
                format!("{for_how_long}{} of {} servers answer, which is enough to elect one.", capital(&word(all - gone)), word(all));
            return says("No leader:".to_owned(), "warn", " an election is under way.", more);
        }
        let verb = if gone == 1 { "is" } else { "are" };
        let rest = format!(" {} of {} servers {verb} gone.", word(gone), word(all));
        let more = format!("{for_how_long}Nothing can be written until {} of {} answer again.", word(raft.quorum), word(all));
        return says("No leader:".to_owned(), "crit", &rest, more);
    };
    let unwell: Vec<&str> =
        raft.servers.iter().filter(|server| !server.healthy && server.role != "non-voter").map(|server| server.name.as_str()).collect();
    let since = raft.elections.first().filter(|last| last.leader == raft.leader && last.at_ms > 0);
    let led =
        since.map_or_else(|| "leads".to_owned(), |last| format!("has led for {}", format::span(raft.now_ms.saturating_sub(last.at_ms))));
    let agree = match all {
        1 => "It alone decides on every write.".to_owned(),
        _ if raft.quorum == all => "Every server has to agree on a write.".to_owned(),
        _ => format!("{} of {} servers have to agree on a write.", capital(&word(raft.quorum)), word(all)),
    };
    let more = format!("{} {led}. {agree}", leader.name);
    let servers = if all == 1 { "One server".to_owned() } else { format!("{} servers", capital(&word(all))) };
    let verb = if unwell.len() == 1 { "is" } else { "are" };
    match (raft.failure_tolerance, unwell.len()) {
        (0, 0) if all == 1 => says(String::new(), "", "One server, and it may not be lost.", more),
        (0, 0) => says(String::new(), "", &format!("{servers}, and none may be lost."), more),
        (0, _) => says(format!("{} {verb} not well:", listed(&unwell)), "crit", " losing one more stops writes.", more),
        (many, 0) => says(String::new(), "", &format!("{servers}, {} may be lost.", word(many as usize)), more),
        (many, _) => {
            let rest = format!(" {} more may be lost.", capital(&word(many as usize)));
            says(format!("{} {verb} not well.", listed(&unwell)), "warn", &rest, more)
        }
    }
}

/// The numbers beside it.
pub(super) fn facts(raft: &Raft) -> Vec<Fact> {
    let elected = raft.elections.iter().filter(|election| !election.leader.is_empty()).count() as u64;
    vec![
        Fact::new("Term", count(raft.term), String::new()),
        Fact::new("Committed index", count(raft.commit_index), String::new()),
        Fact::new("Elections seen", count(elected), String::new()),
    ]
}

/// One server as a row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) version: String,
    pub(crate) role: String,
    pub(crate) leads: bool,
    pub(crate) voter: bool,
    /// Icon, its class, and the word.
    pub(crate) state: (&'static str, &'static str, &'static str),
    /// For how long, in words.
    pub(crate) stable: String,
    pub(crate) term: String,
    pub(crate) index: String,
    pub(crate) lag: String,
    pub(crate) contact: String,
    /// What losing it would mean, and how loud that is.
    pub(crate) loss: (&'static str, &'static str),
}

impl Row {
    /// Everything the overview draws of it.
    pub(crate) fn key(&self) -> String {
        [self.name.as_str(), &self.lag, &self.contact, self.state.2, &self.stable, if self.leads { "leads" } else { "" }].join("\0")
    }
}

/// Everybody, the leader first.
pub(crate) fn rows(raft: &Raft) -> Vec<Row> {
    let led = !raft.leader.is_empty();
    let mut rows: Vec<Row> = raft.servers.iter().map(|server| row(raft, server, led)).collect();
    crate::order::sort_by(&mut rows, |a, b| (!a.leads, &a.name).cmp(&(!b.leads, &b.name)));
    rows
}

fn row(raft: &Raft, server: &Server, led: bool) -> Row {
    let leads = led && server.id == raft.leader;
    let own = server.name == raft.node;
    let answers = own || server.gossip == "alive";
    let state = match (server.healthy, server.gossip.as_str()) {
        (true, _) if leads => ("crown", "ok", "Leads"),
        (true, _) => ("passing", "ok", "Healthy"),
        _ if !server.failure.is_empty() => ("critical", "crit", "Disk failed"),
        (false, _) if !led && answers => ("passing", "ok", "Answers"),
        (false, "failed") => ("critical", "crit", "Failed"),
        (false, "left" | "leaving") => ("none", "none", "Left"),
        (false, "alive") => ("warning", "warn", "Not well"),
        (false, _) => ("critical", "crit", "Unknown"),
    };
    let held = if led { server.stable_ms } else { server.gossip_ms };
    let voter = server.role != "non-voter";
    let loss = match (led, voter, server.can_be_lost) {
        (false, true, _) if answers => ("", "needed"),
        (false, true, _) => ("crit", "missing"),
        (_, false, _) => ("", "safe to lose"),
        (true, true, true) if !server.healthy => ("crit", "lost already"),
        (true, true, true) => ("", "safe to lose"),
        (true, true, false) => ("warn", "losing it stops writes"),
    };
    Row {
        id: server.id.clone(),
        name: server.name.clone(),
        address: server.address.clone(),
        version: server.version.clone(),
        role: if server.role == "leader" && !led { "voter".to_owned() } else { server.role.clone() },
        leads,
        voter,
        state,
        stable: match (held, led) {
            _ if !server.failure.is_empty() => server.failure.clone(),
            (0, false) => String::new(),
            _ => format!("for {}", format::span(held)),
        },
        term: if server.last_term == 0 { String::new() } else { count(server.last_term) },
        index: if server.last_index == 0 && !own { String::new() } else { count(if own { raft.last_index } else { server.last_index }) },
        lag: match (led, server.lag) {
            (false, _) => String::new(),
            (true, 0) => "up to date".to_owned(),
            (true, 1) => "1 entry behind".to_owned(),
            (true, many) => format!("{} entries behind", count(many)),
        },
        contact: match server.last_contact_ms {
            _ if leads || !led => String::new(),
            None => "never".to_owned(),
            Some(ms) if ms >= 1000 => format!("{} ago", format::span(ms)),
            Some(ms) => format!("{ms} ms ago"),
        },
        loss,
    }
}

/// One change of leadership as a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) at_ms: u64,
    pub(super) time: String,
    pub(super) term: String,
    /// Icon and its class.
    pub(super) mark: (&'static str, &'static str),
    pub(super) text: String,
}

/// Lines of the list at most.
const LINES_MAX: usize = 8;

/// The latest changes, newest first.
pub(super) fn lines(raft: &Raft, zone_min: i32) -> Vec<Line> {
    let line = |(at, election): (usize, &Election)| {
        let before = raft.elections.get(at + 1);
        let waited = before.filter(|before| before.leader.is_empty()).map(|before| election.at_ms.saturating_sub(before.at_ms));
        let text = match (election.leader.is_empty(), before) {
            (true, None) => format!("{} began to watch", raft.node),
            (true, Some(before)) => format!("{} led no longer", before.name),
            (false, Some(before)) if before.leader == election.leader => format!("{} was elected again", election.name),
            (false, _) => match waited {
                Some(ms) if at + 2 < raft.elections.len() => format!("{} was elected after {}", election.name, format::duration(ms as f64)),
                _ => format!("{} was elected", election.name),
            },
        };
        let old = raft.now_ms.saturating_sub(election.at_ms) > 86_400_000;
        Line {
            at_ms: election.at_ms,
            time: if old { format::span(raft.now_ms - election.at_ms) } else { format::clock(election.at_ms, zone_min, true) },
            term: format!("term {}", count(election.term)),
            mark: if election.leader.is_empty() && before.is_some() { ("critical", "crit") } else { ("crown", "mid") },
            text,
        }
    };
    raft.elections.iter().enumerate().take(LINES_MAX).map(line).collect()
}

/// Who led when: a lane for every server that did and, when it happened, one for nobody. Places are per cent of the whole time.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lane {
    pub(super) name: String,
    pub(super) nobody: bool,
    pub(super) spans: Vec<(f64, f64)>,
}

/// The lanes, and since when they reach back in words.
pub(super) fn lanes(raft: &Raft) -> (Vec<Lane>, String) {
    let Some(oldest) = raft.elections.last() else { return (Vec::new(), String::new()) };
    // The wait before the first leader this server saw says nothing about the cluster.
    let from = raft.elections.iter().rev().find(|election| !election.leader.is_empty()).unwrap_or(oldest).at_ms;
    let whole = raft.now_ms.saturating_sub(from).max(1) as f64;
    let mut lanes: Vec<Lane> = Vec::new();
    let mut end = raft.now_ms;
    for election in &raft.elections {
        if end > from {
            let start = election.at_ms.max(from);
            let span = (start.saturating_sub(from) as f64 / whole * 100.0, end.saturating_sub(start) as f64 / whole * 100.0);
            let (nobody, name) = (election.leader.is_empty(), if election.leader.is_empty() { "Nobody" } else { &election.name });
            match lanes.iter_mut().find(|lane| lane.name == name && lane.nobody == nobody) {
                Some(lane) => lane.spans.push(span),
                None => lanes.push(Lane { name: name.to_owned(), nobody, spans: vec![span] }),
            }
        }
        end = election.at_ms;
    }
    crate::order::sort_by(&mut lanes, |a, b| (a.nobody, &a.name).cmp(&(b.nobody, &b.name)));
    (lanes, format!("{} ago", format::span(raft.now_ms.saturating_sub(from))))
}

/// A server that has to come back: name, address, and for how long it has been gone.
pub(super) fn lost(raft: &Raft) -> Vec<(String, String, String)> {
    let names = missing(raft);
    let of = |server: &Server| {
        let gone = match (server.gossip.as_str(), server.gossip_ms) {
            ("", _) => "not seen since this server started".to_owned(),
            (word, ms) => format!("{word} for {}", format::span(ms)),
        };
        (server.name.clone(), server.address.clone(), gone)
    };
    raft.servers.iter().filter(|server| names.contains(&server.name.as_str())).map(of).collect()
}

/// `peers.json` of the servers that still answer: what makes them a cluster of their own.
pub(super) fn peers_json(raft: &Raft) -> String {
    let gone = missing(raft);
    let rows: Vec<String> = raft
        .servers
        .iter()
        .filter(|server| !gone.contains(&server.name.as_str()))
        .map(|server| {
            let non_voter = server.role == "non-voter";
            format!("  {{\n    \"id\": \"{}\",\n    \"address\": \"{}\",\n    \"non_voter\": {non_voter}\n  }}", server.id, server.address)
        })
        .collect();
    format!("[\n{}\n]\n", rows.join(",\n"))
}

/// What taking a server out means.
pub(super) fn removal(raft: &Raft, id: &str) -> String {
    let Some(server) = raft.servers.iter().find(|server| server.id == id) else { return String::new() };
    let voter = server.role != "non-voter";
    let left = voters(raft) - usize::from(voter);
    let (quorum, healthy) =
        (left / 2 + 1, raft.servers.iter().filter(|other| other.healthy && other.role != "non-voter" && other.id != id).count());
    let after = match (left, healthy.saturating_sub(quorum)) {
        (1, _) => "One server stays; it may not be lost.".to_owned(),
        (_, 0) => format!("{} servers stay, and none of them may be lost.", capital(&word(left))),
        (_, spare) => format!("{} servers stay, and {} of them may be lost.", capital(&word(left)), word(spare)),
    };
    let alive = if server.gossip == "alive" {
        " It is running: unless it is stopped first, it is added again within seconds."
    } else {
        " It keeps its data, and may come back only after that was emptied."
    };
    format!("{after}{alive}")
}

#[cfg(test)]
mod tests;
