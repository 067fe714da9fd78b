//! One command being applied: a private copy of the state, what it touched, and what has to be derived again when it is done.
//!
//! Commands are refused before they change anything, so there is nothing to take back.

use std::{collections::BTreeSet, sync::Arc};

use shared::{
    changes::{Kind, Topic},
    health::{Counts, Health},
};

use super::{
    summary::Summary,
    tables::{Name, State, worst},
    touched::{Table, Touched},
};

/// A command being applied.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) state: State,
    pub(super) index: u64,
    pub(super) at_ms: u64,
    pub(super) touched: Touched,
    /// Instances whose checks or node changed: service, node, instance id.
    instances: BTreeSet<(Name, Name, Name)>,
    /// Services whose index rises: with an instance or without any more.
    services: BTreeSet<Name>,
}

impl Write {
    pub(super) fn new(state: State, index: u64, at_ms: u64) -> Self {
        Self { state, index, at_ms, touched: Touched::default(), instances: BTreeSet::new(), services: BTreeSet::new() }
    }

    /// The instance, or something its health depends on, changed.
    pub(super) fn dirty_instance(&mut self, service: &Name, node: &Name, id: &Name) {
        self.services.insert(service.clone());
        self.instances.insert((service.clone(), node.clone(), id.clone()));
    }

    /// The node or one of its own checks changed: so did all its instances.
    pub(super) fn dirty_node(&mut self, node: &Name) {
        let on: Vec<_> = self.services_on(node).collect();
        for (id, service) in on {
            self.dirty_instance(&service, node, &id);
        }
    }

    /// Instance ids on a node with their services' names, as keys.
    pub(super) fn services_on<'a>(&'a self, node: &'a Name) -> impl Iterator<Item = (Name, Name)> + 'a {
        let range = self.state.services.range((node.clone(), super::tables::empty())..);
        range.take_while(move |((on, _), _)| on == node).map(|((_, id), service)| (id.clone(), service.clone()))
    }

    /// Adjusts a node's counts when one of its checks goes from one state to another, and notes when its health changed. Each
    /// state comes with whether the check is the node's own.
    pub(super) fn count_check(&mut self, node: &Name, old: Option<(bool, Health)>, new: Option<(bool, Health)>) {
        let at_ms = self.at_ms;
        if let Some(record) = self.state.nodes.get_mut(node) {
            let before = record.health();
            let own = |state: Option<(bool, Health)>| state.filter(|(own, _)| *own).map(|(_, health)| health);
            shift(&mut record.checks, old.map(|(_, health)| health), new.map(|(_, health)| health));
            shift(&mut record.own_checks, own(old), own(new));
            if record.health() != before {
                record.changed_at_ms = at_ms;
            }
        }
    }

    /// Derives again what the command made stale, and hands out the new state with what was touched.
    pub(super) fn finish(mut self) -> (State, Touched) {
        for at in std::mem::take(&mut self.instances) {
            let (_, node, id) = &at;
            let mut checks = self.state.nodes.get(node).map(|record| record.own_checks).unwrap_or_default();
            self.state.checks_of(node, id).map(|check| Health::of_check(check)).for_each(|health| checks.add(health));
            if let Some(instance) = self.state.instances.get_mut(&at) {
                instance.health = worst(&checks);
                instance.checks = checks;
            }
        }
        for service in std::mem::take(&mut self.services) {
            match Summary::update(&self.state, &service, self.index, self.at_ms) {
                Some(summary) => {
                    self.touched.object(Topic::Service, "", &summary.name, self.index, Kind::Set);
                    self.state.summaries.insert(service, Arc::new(summary));
                }
                None => {
                    let name = self.state.summaries.remove(&service).map_or_else(|| service.to_string(), |old| old.name.clone());
                    self.state.indexes.services_gone = self.index;
                    self.touched.object(Topic::Service, "", &name, self.index, Kind::Delete);
                }
            }
        }
        (self.state, self.touched)
    }

    pub(super) fn nodes_changed(&mut self) {
        self.state.indexes.nodes = self.index;
        self.touched.table(Table::Nodes);
    }

    pub(super) fn services_changed(&mut self) {
        self.state.indexes.services = self.index;
        self.touched.table(Table::Services);
    }

    pub(super) fn checks_changed(&mut self) {
        self.state.indexes.checks = self.index;
        self.touched.table(Table::Checks);
    }

    pub(super) fn history_changed(&mut self) {
        self.state.indexes.history = self.index;
        self.touched.table(Table::History);
    }
}

fn shift(counts: &mut Counts, old: Option<Health>, new: Option<Health>) {
    if let Some(old) = old {
        counts.total -= 1;
        *match old {
            Health::None => &mut counts.none,
            Health::Passing => &mut counts.passing,
            Health::Warning => &mut counts.warning,
            Health::Critical => &mut counts.critical,
            Health::Maintenance => &mut counts.maintenance,
        } -= 1;
    }
    if let Some(new) = new {
        counts.add(new);
    }
}
