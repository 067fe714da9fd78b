//! What the palette lists for a text. Pure.
//!
//! `>` asks for actions only, `@` for nodes, `#` for services with a tag. A verb at the start (`run pay`) turns what is
//! found into that deed.

use shared::{health::Health, node::NodeRow, service::ServiceRow};

use crate::{components::health, format::plural, router::Page};

/// What happens when an item is chosen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Deed {
    Go(Page),
    /// A page with a dialog open: its query.
    Open(Page, String),
    /// Take a snapshot of the state.
    Snapshot,
    Run(String),
    Maintain(String),
    Register,
    NewKey,
    Theme,
    Pause,
    Help,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Item {
    pub(super) group: &'static str,
    pub(super) icon: &'static str,
    pub(super) class: &'static str,
    pub(super) label: String,
    pub(super) note: String,
    /// Which letters of the label match.
    pub(super) hits: Vec<usize>,
    pub(super) deed: Deed,
}

impl Item {
    /// Everything that is drawn, and so everything that makes it another line.
    pub(super) fn key(&self) -> String {
        let hits: Vec<String> = self.hits.iter().map(usize::to_string).collect();
        [self.group, self.icon, self.class, &self.label, &self.note, &hits.join(",")].join("\0")
    }
}

/// What the agent found.
pub(super) struct Found<'a> {
    pub(super) services: &'a [ServiceRow],
    pub(super) nodes: &'a [NodeRow],
    pub(super) keys: &'a [String],
}

const KEYS_MAX: usize = 5;
/// What a verb makes of the name behind it: the entry's text, its icon, what it does.
type Verb = fn(&str) -> (String, &'static str, Deed);

/// What a verb acts on.
#[derive(Clone, Copy, PartialEq)]
enum On {
    Services,
    Nodes,
}

const VERBS: [(&str, On, Verb); 3] = [
    ("run", On::Services, |name| (format!("Run checks of {name}"), "run", Deed::Run(name.to_owned()))),
    ("maintenance", On::Services, |name| (format!("Put {name} into maintenance"), "maintenance", Deed::Maintain(name.to_owned()))),
    ("force-leave", On::Nodes, |name| {
        let query = format!("v=leave&to={}", shared::endpoint::segment(name));
        (format!("Force {name} to leave the gossip pool"), "gossip", Deed::Open(Page::Gossip, query))
    }),
];

/// A text in its parts: a prefix character, a verb, the words.
#[derive(Debug, PartialEq, Eq)]
struct Asked<'a> {
    kind: Option<char>,
    verb: Option<usize>,
    words: &'a str,
}

impl Asked<'_> {
    fn is_on(&self, what: On) -> bool {
        self.verb.is_some_and(|verb| VERBS[verb].1 == what)
    }
}

fn asked(text: &str) -> Asked<'_> {
    let text = text.trim_start();
    if let Some(kind) = text.chars().next().filter(|kind| matches!(kind, '>' | '@' | '#')) {
        return Asked { kind: Some(kind), verb: None, words: text[1..].trim() };
    }
    let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
    let first = first.to_lowercase();
    let verb = VERBS.iter().position(|(verb, ..)| !rest.is_empty() && first.len() >= 3 && verb.starts_with(&first));
    Asked { kind: None, verb, words: if verb.is_some() { rest.trim() } else { text.trim() } }
}

/// What to search the services for; `None` not at all.
pub(super) fn service_search(text: &str) -> Option<String> {
    let asked = asked(text);
    match asked.kind {
        None if asked.is_on(On::Nodes) => None,
        None => Some(asked.words.to_owned()),
        Some('#') => Some(asked.words.split_whitespace().map(|tag| format!("tag:{tag}*")).collect::<Vec<_>>().join(" ")),
        Some(_) => None,
    }
}

/// What to search the nodes for; `None` not at all.
pub(super) fn node_search(text: &str) -> Option<String> {
    let asked = asked(text);
    let wanted =
        asked.is_on(On::Nodes) || asked.verb.is_none() && (asked.kind == Some('@') || (asked.kind.is_none() && !asked.words.is_empty()));
    wanted.then(|| asked.words.to_owned())
}

/// Which prefix of keys to list; `None` none.
pub(super) fn key_search(text: &str) -> Option<String> {
    let asked = asked(text);
    (asked.kind.is_none() && asked.verb.is_none() && asked.words.len() > 1).then(|| asked.words.to_owned())
}

/// The lines for a text: within a group, what is called so comes before what was found by its tags, metadata or nodes.
pub(super) fn items(text: &str, found: &Found<'_>) -> Vec<Item> {
    let asked = asked(text);
    let called: Vec<&ServiceRow> = {
        let (so, otherwise): (Vec<_>, Vec<_>) = found.services.iter().partition(|row| hits(asked.words, &row.name).is_some());
        so.into_iter().chain(otherwise).collect()
    };
    let mut out = Vec::new();
    let words = asked.words;
    if let Some(verb) = asked.verb {
        let (_, on, act) = VERBS[verb];
        // Nobody can run what is only reported or written into the catalog.
        let able = |row: &&ServiceRow| on == On::Services && (row.runnable || VERBS[verb].0 != "run");
        let services = called.iter().copied().filter(able).map(|row| (&row.name, state(row)));
        let nodes = found.nodes.iter().filter(|_| on == On::Nodes).map(|row| (&row.node.name, row.node.address.clone()));
        for (name, note) in services.chain(nodes) {
            let (label, icon, deed) = act(name);
            push(&mut out, words, Item { group: "Actions", icon, class: "", label, note, hits: Vec::new(), deed });
        }
    }
    if asked.kind.is_none_or(|kind| kind == '>') && asked.verb.is_none() {
        for (icon, label, note, deed) in commands() {
            let group = if matches!(deed, Deed::Go(_)) { "Pages" } else { "Actions" };
            let item = Item { group, icon, class: "", label: label.to_owned(), note: note.to_owned(), hits: Vec::new(), deed };
            if words.is_empty() || hits(words, label).is_some() {
                push(&mut out, words, item);
            }
        }
    }
    if asked.kind.is_none_or(|kind| kind == '#') {
        for row in called {
            let deed = Deed::Go(Page::service(&row.name, "instances"));
            let (icon, class) = (health::icon(row.health), health::class(row.health));
            push(
                &mut out,
                words,
                Item { group: "Services", icon, class, label: row.name.clone(), note: state(row), hits: Vec::new(), deed },
            );
        }
    }
    if node_search(text).is_some() {
        for row in found.nodes {
            let name = &row.node.name;
            let deed = Deed::Go(Page::node(name, "health-checks"));
            let (icon, class) = (health::icon(row.health), health::class(row.health));
            push(
                &mut out,
                words,
                Item { group: "Nodes", icon, class, label: name.clone(), note: row.node.address.clone(), hits: Vec::new(), deed },
            );
        }
    }
    if key_search(text).is_some() {
        for key in found.keys.iter().filter(|key| key.starts_with(words)).take(KEYS_MAX) {
            let icon = if key.ends_with('/') { "folder" } else { "file" };
            let deed = Deed::Go(Page::keys(key));
            push(&mut out, words, Item { group: "Keys", icon, class: "", label: key.clone(), note: String::new(), hits: Vec::new(), deed });
        }
    }
    out
}

fn push(out: &mut Vec<Item>, words: &str, item: Item) {
    let hits = hits(words, &item.label).unwrap_or_default();
    out.push(Item { hits, ..item });
}

fn state(row: &ServiceRow) -> String {
    match row.health {
        Health::Critical => format!("{} of {} failing", row.instances.critical, row.instances.total),
        Health::Passing => format!("{} passing", row.instances.total),
        _ => plural(row.instances.total, "instance", "instances"),
    }
}

fn commands() -> [(&'static str, &'static str, &'static str, Deed); 15] {
    [
        ("overview", "Overview", "G O", Deed::Go(Page::Overview)),
        ("services", "Services", "G S", Deed::Go(Page::Services)),
        ("nodes", "Nodes", "G N", Deed::Go(Page::Nodes)),
        ("keys", "Key / value", "G K", Deed::Go(Page::keys(""))),
        ("crown", "Raft", "G R", Deed::Go(Page::Raft)),
        ("gossip", "Gossip", "G M", Deed::Go(Page::Gossip)),
        ("snapshot", "Snapshots", "G B", Deed::Go(Page::Snapshots)),
        ("snapshot", "Take a snapshot", "", Deed::Snapshot),
        ("crown", "Transfer leadership", "", Deed::Open(Page::Raft, "v=transfer".to_owned())),
        ("gossip", "Join members", "", Deed::Open(Page::Gossip, "v=join".to_owned())),
        ("plus", "Register a service", "", Deed::Register),
        ("plus", "Create a key", "", Deed::NewKey),
        ("sun", "Switch the theme", "T", Deed::Theme),
        ("pause", "Pause or resume live updates", "P", Deed::Pause),
        ("help", "Keyboard shortcuts", "?", Deed::Help),
    ]
}

/// Where the letters of `words` occur in `label`, in order: whole words first, else scattered letters from word starts on.
fn hits(words: &str, label: &str) -> Option<Vec<usize>> {
    let (label, words) = (label.to_lowercase(), words.to_lowercase());
    let mut out: Vec<usize> = Vec::new();
    for word in words.split_whitespace() {
        let letters = |at: usize, text: &str| text.char_indices().map(|(from, _)| at + from).collect::<Vec<_>>();
        if let Some(at) = label.find(word) {
            out.extend(letters(at, word));
            continue;
        }
        let mut rest = label.char_indices();
        for letter in word.chars() {
            out.push(rest.find(|(_, found)| *found == letter)?.0);
        }
    }
    crate::order::sort_by(&mut out, Ord::cmp);
    out.dedup();
    Some(out)
}

/// The label cut where marking starts and ends.
pub(super) fn pieces(label: &str, hits: &[usize]) -> Vec<(bool, String)> {
    let mut out: Vec<(bool, String)> = Vec::new();
    for (at, letter) in label.char_indices() {
        let hit = hits.contains(&at);
        match out.last_mut() {
            Some((last, piece)) if *last == hit => piece.push(letter),
            _ => out.push((hit, letter.to_string())),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> Vec<String> {
        let service = |name: &str, runnable: bool| ServiceRow { name: name.to_owned(), runnable, ..ServiceRow::default() };
        let services = [service("payments-api", true), service("payout", false)];
        let keys = ["payments/limits".to_owned(), "other".to_owned()];
        items(text, &Found { services: &services, nodes: &[], keys: &keys }).into_iter().map(|item| item.label).collect()
    }

    #[test]
    fn a_verb_acts_on_what_is_found() {
        assert_eq!(labels("run pay"), ["Run checks of payments-api", "payments-api", "payout"]);
        assert_eq!(labels("maint pay")[0], "Put payments-api into maintenance");
        assert_eq!((service_search("force-leave n"), node_search("force-leave n")), (None, Some("n".to_owned())));
        assert_eq!(asked("run").verb, None, "a verb alone is a word to look for");
    }

    #[test]
    fn what_is_called_so_comes_first() {
        let service = |name: &str| ServiceRow { name: name.to_owned(), runnable: true, ..ServiceRow::default() };
        let services = [service("gift-cards"), service("payments")];
        let found = Found { services: &services, nodes: &[], keys: &[] };
        let labels: Vec<String> = items("run pay", &found).into_iter().map(|item| item.label).collect();
        assert_eq!(labels, ["Run checks of payments", "Run checks of gift-cards", "payments", "gift-cards"]);
    }

    #[test]
    fn a_prefix_narrows_the_kind() {
        assert_eq!(labels(">theme"), ["Switch the theme"]);
        assert_eq!(labels("pay"), ["payments-api", "payout", "payments/limits"]);
        assert_eq!(service_search("#edge v2"), Some("tag:edge* tag:v2*".to_owned()));
        assert_eq!((service_search("@n"), node_search("@n-1")), (None, Some("n-1".to_owned())));
        assert_eq!(labels("").len(), 17, "everything, when nothing is typed");
    }

    #[test]
    fn matching_letters_are_marked() {
        assert_eq!(hits("run pay", "Run checks of payments"), Some(vec![0, 1, 2, 14, 15, 16]));
        assert_eq!(hits("kv", "Key / value"), Some(vec![0, 6]));
        assert_eq!(hits("xyz", "Overview"), None);
        let marked = pieces("payout", &[0, 1, 2]);
        assert_eq!(marked, [(true, "pay".to_owned()), (false, "out".to_owned())]);
    }
}
