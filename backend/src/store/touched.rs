//! What a batch of commands touched: it says which watches fire and what the change ring records.

use std::collections::{BTreeMap, BTreeSet};

use shared::changes::{Change, Kind, Topic};

use super::{
    tables::Name,
    watch::{Key, Registry},
};

/// What was touched, once per object.
#[derive(Clone, Debug, Default)]
pub(super) struct Touched {
    tables: [bool; 4],
    /// Nodes whose record, services or checks were touched.
    nodes: BTreeSet<Name>,
    /// By topic, node and name, as they are spelled.
    objects: BTreeMap<(Topic, String, String), (u64, Kind)>,
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
        self.objects.insert((topic, node.to_owned(), name.to_owned()), (index, kind));
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
        for (topic, _, name) in self.objects.keys() {
            match topic {
                Topic::Service => watches.fire(Key::Service(name)),
                Topic::Kv => watches.fire(Key::Kv(name)),
                Topic::Node | Topic::Check | Topic::Session | Topic::Raft => {}
            }
        }
    }

    /// The changes in index order.
    pub(super) fn changes(self) -> Vec<Change> {
        let change = |((topic, node, name), (index, kind))| Change { topic, name, node, index, kind };
        let mut changes: Vec<_> = self.objects.into_iter().map(change).collect();
        changes.sort_by_key(|change| change.index);
        changes
    }
}
