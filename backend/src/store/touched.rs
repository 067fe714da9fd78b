//! What a batch of commands touched: it says which watches fire and what the change ring records.
//!
//! Every write passes here, so nothing is looked up while commands are applied; what was touched twice is found at the end.

use std::collections::{BTreeSet, HashSet};

use shared::changes::{Change, Kind, Topic};

use super::{
    tables::Name,
    watch::{Key, Registry},
};

/// What was touched.
#[derive(Clone, Debug, Default)]
pub(super) struct Touched {
    tables: [bool; 4],
    /// Nodes whose record, services or checks were touched.
    nodes: BTreeSet<Name>,
    /// In the order in which they were touched, the same one as often as it was.
    objects: Vec<Change>,
    /// The state was replaced as a whole.
    everything: bool,
}

/// A table as a whole.
#[derive(Clone, Copy, Debug)]
pub(super) enum Table {
    Nodes,
    Services,
    Checks,
    History,
}

impl Touched {
    pub(super) fn everything() -> Self {
        Self { everything: true, ..Self::default() }
    }

    /// Whether the state was replaced as a whole.
    pub(super) fn is_everything(&self) -> bool {
        self.everything
    }

    pub(super) fn table(&mut self, table: Table) {
        self.tables[table as usize] = true;
    }

    pub(super) fn node(&mut self, node: &Name) {
        self.nodes.insert(node.clone());
    }

    pub(super) fn object(&mut self, topic: Topic, node: &str, name: &str, index: u64, kind: Kind) {
        self.objects.push(Change { topic, name: name.to_owned(), node: node.to_owned(), index, kind });
    }

    pub(super) fn merge(&mut self, later: Self) {
        for (mine, theirs) in self.tables.iter_mut().zip(later.tables) {
            *mine |= theirs;
        }
        self.everything |= later.everything;
        self.nodes.extend(later.nodes);
        self.objects.extend(later.objects);
    }

    /// Wakes whoever waits for something touched.
    pub(super) fn fire(&self, watches: &Registry) {
        let tables = [Key::Nodes, Key::Services, Key::Checks, Key::History];
        tables.into_iter().zip(self.tables).filter(|(_, touched)| *touched).for_each(|(key, _)| watches.fire(key));
        self.nodes.iter().for_each(|node| watches.fire(Key::Node(node)));
        for Change { topic, name, .. } in &self.objects {
            match topic {
                Topic::Service => watches.fire(Key::Service(name)),
                Topic::Kv => watches.fire(Key::Kv(name)),
                Topic::Node | Topic::Check | Topic::Session | Topic::Raft => {}
            }
        }
    }

    /// The last change of each object, in the order of index, topic, node and name.
    pub(super) fn changes(mut self) -> Vec<Change> {
        if self.objects.len() > 1 {
            let mut seen = HashSet::with_capacity(self.objects.len());
            let mut is_last: Vec<bool> =
                self.objects.iter().rev().map(|change| seen.insert((change.topic, &change.node, &change.name))).collect();
            drop(seen);
            self.objects.retain(|_| is_last.pop().unwrap_or(true));
            // Nearly in order already: several objects of one command are all there is to sort.
            self.objects.sort_by(|a, b| (a.index, a.topic, &a.node, &a.name).cmp(&(b.index, b.topic, &b.node, &b.name)));
        }
        self.objects
    }
}
