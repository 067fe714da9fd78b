//! The tables of the state and how to look into them. Cloning a [`State`] is cheap: every table is a persistent map.
//!
//! Never changed but by `apply`. Names of nodes and services are keyed in lower case: look-ups do not regard case.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use serde::{Deserialize, Serialize};
use shared::{catalog, check::Check, health::Counts, health::Health, kv, node::Node, operator::AutopilotConfiguration, service::Service};

use super::{history::Log, restore::Restoring, summary::Summary};

/// A name or id as a key.
pub(super) type Name = Arc<str>;

/// Last index at which each table changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Indexes {
    /// Nodes.
    pub nodes: u64,
    /// Service instances.
    pub services: u64,
    /// Checks.
    pub checks: u64,
    /// Keys, removals included.
    pub kv: u64,
    /// Last index at which some service lost its last instance.
    pub services_gone: u64,
    /// The check history.
    pub history: u64,
}

/// A node with what is derived from its checks and services.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeRecord {
    /// The node.
    pub node: Arc<Node>,
    /// Checks on the node by state, its services' included.
    pub checks: Counts,
    /// The node's own checks by state.
    pub own_checks: Counts,
    /// Service instances on the node.
    pub services: u32,
    /// When `health` last changed, milliseconds since 1970.
    pub changed_at_ms: u64,
}

impl NodeRecord {
    /// Worst of all checks on the node, as [`Health::of_node`] says: a service's maintenance is the service's.
    #[must_use]
    pub fn health(&self) -> Health {
        worst(&Counts { maintenance: self.own_checks.maintenance, ..self.checks })
    }
}

/// The worst state that is counted at all: the same as [`Health::of_checks`] over what was counted.
#[must_use]
pub(super) fn worst(counts: &Counts) -> Health {
    [Health::Maintenance, Health::Critical, Health::Warning, Health::Passing]
        .into_iter()
        .find(|health| counts.of(*health) > 0)
        .unwrap_or_default()
}

/// A service instance with what is derived from its checks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Instance {
    /// The instance.
    pub service: Arc<Service>,
    /// Worst of its own and its node's checks.
    pub health: Health,
    /// Those checks by state.
    pub checks: Counts,
}

/// A removed key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tombstone {
    /// Index of the removal.
    pub index: u64,
    /// The proposer's clock, milliseconds since 1970.
    pub at_ms: u64,
}

/// Every table. Cloning is cheap: the tables are persistent maps.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Index of the last command applied, `index_base` included.
    pub index: u64,
    /// Added to every index handed to `commit`, so that a restored snapshot only raises indexes.
    pub index_base: u64,
    /// Last change by table.
    pub indexes: Indexes,
    /// Nodes by name.
    pub(super) nodes: OrdMap<Name, NodeRecord>,
    /// Node names by UUID.
    pub(super) node_ids: OrdMap<Name, Name>,
    /// Service names by node and instance id.
    pub(super) services: OrdMap<(Name, Name), Name>,
    /// Instances by service, node and instance id.
    pub(super) instances: OrdMap<(Name, Name, Name), Instance>,
    /// Checks by node and check id.
    pub(super) checks: OrdMap<(Name, Name), Arc<Check>>,
    /// Node, instance id (empty for node checks) and check id.
    pub(super) checks_of: OrdSet<(Name, Name, Name)>,
    /// Services with at least one instance.
    pub(super) summaries: OrdMap<Name, Arc<Summary>>,
    /// Keys.
    pub(super) kv: OrdMap<Name, Arc<kv::Entry>>,
    /// Removed keys, kept a while so that a prefix's index does not fall.
    pub(super) tombstones: OrdMap<Name, Tombstone>,
    /// Recorded transitions of checks.
    pub(super) history: Log,
    /// What autopilot does, once an operator has changed it.
    pub autopilot: Option<Arc<AutopilotConfiguration>>,
    /// Id drawn when the cluster was formed: by it two clusters are told apart.
    pub cluster: Option<Arc<str>>,
    /// Index of the last restore: no read tells an earlier one.
    pub restored_at: u64,
    /// A restore under way.
    pub(super) restoring: Option<Arc<Restoring>>,
}

/// The key of a name: lower case.
#[must_use]
pub(super) fn key(name: &str) -> Name {
    if name.bytes().any(|b| b.is_ascii_uppercase() || b >= 0x80) { Arc::from(name.to_lowercase()) } else { Arc::from(name) }
}

pub(super) fn empty() -> Name {
    Arc::from("")
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Nodes.
    pub nodes: usize,
    /// Services by name.
    pub services: usize,
    /// Their instances.
    pub instances: usize,
    /// Keys.
    pub keys: usize,
}

impl State {
    /// How much there is; costs nothing.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        Sizes { nodes: self.nodes.len(), services: self.summaries.len(), instances: self.instances.len(), keys: self.kv.len() }
    }

    /// Every node, by name.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeRecord> {
        self.nodes.values()
    }

    /// A node by name or UUID.
    #[must_use]
    pub fn node(&self, name_or_id: &str) -> Option<&NodeRecord> {
        let name = key(name_or_id);
        self.nodes.get(&name).or_else(|| self.nodes.get(self.node_ids.get(&name)?))
    }

    /// The instances on a node, by id.
    pub fn services_on<'a>(&'a self, node: &str) -> impl Iterator<Item = &'a Instance> {
        let node = key(node);
        let range = self.services.range((node.clone(), empty())..);
        range.take_while(move |((on, _), _)| *on == node).filter_map(|((node, id), service)| self.instance(service, node, id))
    }

    /// One instance on a node.
    #[must_use]
    pub fn service_on(&self, node: &str, id: &str) -> Option<&Instance> {
        let at = (key(node), Name::from(id));
        let service = self.services.get(&at)?;
        self.instance(service, &at.0, &at.1)
    }

    fn instance(&self, service: &Name, node: &Name, id: &Name) -> Option<&Instance> {
        self.instances.get(&(service.clone(), node.clone(), id.clone()))
    }

    /// The instances of a service with their nodes, by node and instance id.
    pub fn instances_of<'a>(&'a self, service: &str) -> impl Iterator<Item = (&'a NodeRecord, &'a Instance)> {
        let service = key(service);
        let range = self.instances.range((service.clone(), empty(), empty())..);
        range
            .take_while(move |((of, _, _), _)| *of == service)
            .filter_map(|((_, node, _), instance)| Some((self.nodes.get(node)?, instance)))
    }

    /// Every service that has instances, by name.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Summary>> {
        self.summaries.values()
    }

    /// A service that has instances.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<&Arc<Summary>> {
        self.summaries.get(&key(name))
    }

    /// The index a read of this service reports: of its last change, or for a service that is not there of the last time some
    /// service disappeared.
    #[must_use]
    pub fn service_index(&self, name: &str) -> u64 {
        self.service(name).map_or(self.indexes.services_gone, |summary| summary.index).max(self.restored_at)
    }

    /// Every check, by node and id.
    pub fn checks(&self) -> impl Iterator<Item = &Arc<Check>> {
        self.checks.values()
    }

    /// A check by node and id.
    #[must_use]
    pub fn check(&self, node: &str, id: &str) -> Option<&Arc<Check>> {
        self.checks.get(&(key(node), Name::from(id)))
    }

    /// The checks of a node and of its services, by id.
    pub fn checks_on<'a>(&'a self, node: &str) -> impl Iterator<Item = &'a Arc<Check>> {
        let node = key(node);
        self.checks.range((node.clone(), empty())..).take_while(move |((on, _), _)| *on == node).map(|(_, check)| check)
    }

    /// The checks of one instance, or with an empty instance id of the node itself, by id.
    pub fn checks_of<'a>(&'a self, node: &str, service_id: &str) -> impl Iterator<Item = &'a Arc<Check>> {
        let of = (key(node), Name::from(service_id));
        let range = self.checks_of.range((of.0.clone(), of.1.clone(), empty())..);
        range
            .take_while(move |(node, service, _)| *node == of.0 && *service == of.1)
            .filter_map(|(node, _, id)| self.checks.get(&(node.clone(), id.clone())))
    }

    /// A key.
    #[must_use]
    pub fn kv(&self, key: &str) -> Option<&Arc<kv::Entry>> {
        self.kv.get(key)
    }

    /// How many keys there are.
    #[must_use]
    pub fn kv_len(&self) -> usize {
        self.kv.len()
    }

    /// The keys with a prefix, in order.
    pub fn kv_with<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a Arc<kv::Entry>> {
        self.kv.range(Name::from(prefix)..).take_while(move |(key, _)| key.starts_with(prefix)).map(|(_, entry)| entry)
    }

    /// The index a read of a prefix reports: the newest change or removal in it, or the table's when nothing ever was there.
    #[must_use]
    pub fn kv_index(&self, prefix: &str) -> u64 {
        if prefix.is_empty() {
            return self.indexes.kv;
        }
        let entries = self.kv_with(prefix).map(|entry| entry.modify_index);
        let removed = self.tombstones.range(Name::from(prefix)..).take_while(|(key, _)| key.starts_with(prefix)).map(|(_, t)| t.index);
        entries.chain(removed).max().unwrap_or(self.indexes.kv)
    }

    /// Whether some removed key was removed before this time, milliseconds since 1970.
    #[must_use]
    pub fn has_tombstones_before(&self, at_ms: u64) -> bool {
        self.tombstones.values().any(|tombstone| tombstone.at_ms < at_ms)
    }

    /// The recorded transitions of checks.
    #[must_use]
    pub fn history(&self) -> &Log {
        &self.history
    }

    /// A node with everything the catalog says about its instances.
    #[must_use]
    pub fn node_services(&self, name_or_id: &str) -> Option<catalog::NodeServices> {
        let record = self.node(name_or_id)?;
        let services = self.services_on(&record.node.name).map(|i| (i.service.id.clone(), (*i.service).clone())).collect();
        Some(catalog::NodeServices { node: (*record.node).clone(), services })
    }
}
