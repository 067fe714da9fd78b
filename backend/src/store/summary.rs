//! One summary a service, kept up to date at write time, so that a list page is a scan of summaries at most.
//!
//! Health comes only from `shared::health`; a property test compares summaries with what the tables say.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use shared::{
    health::{Counts, Health},
    service::TracePoint,
};

use super::tables::Instance;
use super::tables::{Name, NodeRecord, State};

/// How far a service's trace reaches back, milliseconds.
pub const TRACE_MS: u64 = 3_600_000;
/// Most points a trace holds.
pub(super) const TRACE_MAX: usize = 64;

/// What lists show about a service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Summary {
    /// Service name, as its first instance spells it.
    pub name: String,
    /// Kind of its first instance.
    pub kind: String,
    /// Union of the tags, sorted.
    pub tags: Vec<String>,
    /// Tags by exact spelling of the name.
    pub spellings: BTreeMap<String, Vec<String>>,
    /// Health from its instances.
    pub health: Health,
    /// Instances by state.
    pub instances: Counts,
    /// Checks by state, the node's counted with every instance.
    pub checks: Counts,
    /// Distinct nodes.
    pub nodes: u32,
    /// When `health` last changed, milliseconds since 1970.
    pub changed_at_ms: u64,
    /// Values of meta `external-source`, sorted.
    pub sources: Vec<String>,
    /// Meta `group`, else `team`, else the first tag, of the first instance that has one.
    pub group: String,
    /// Recent states, oldest first; the first may lie before the last hour.
    pub trace: Vec<TracePoint>,
    /// Index of the last change to its instances, their checks, their nodes or their nodes' checks.
    pub index: u64,
}

impl Summary {
    /// What the tables say about a service: everything but time and index. `None` when it has no instances.
    #[must_use]
    pub fn compute<'a>(instances: impl Iterator<Item = (&'a NodeRecord, &'a Instance)>) -> Option<Self> {
        let mut summary = Self::default();
        let (mut tags, mut sources, mut node) = (BTreeSet::new(), BTreeSet::new(), "");
        let mut healths = Vec::new();
        let mut spellings: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let mut groups = [None; 3];
        for (record, instance) in instances {
            let service = &instance.service;
            if summary.instances.total == 0 {
                service.name.clone_into(&mut summary.name);
                service.kind.clone_into(&mut summary.kind);
            }
            summary.instances.add(instance.health);
            healths.push(instance.health);
            sum(&mut summary.checks, &instance.checks);
            if summary.nodes == 0 || record.node.name != node {
                summary.nodes += 1;
                node = &record.node.name;
            }
            let spelling = spellings.entry(&service.name).or_default();
            for tag in &service.tags {
                tags.insert(tag.as_str());
                spelling.insert(tag);
            }
            sources.extend(service.meta.get("external-source").map(String::as_str).filter(|s| !s.is_empty()));
            groups[0] = groups[0].or(service.meta.get("group").map(String::as_str));
            groups[1] = groups[1].or(service.meta.get("team").map(String::as_str));
            groups[2] = groups[2].or(service.tags.first().map(String::as_str));
        }
        let owned = |set: BTreeSet<&str>| set.into_iter().map(str::to_owned).collect::<Vec<_>>();
        summary.health = Health::of_instances(healths);
        summary.group = groups.into_iter().flatten().find(|g| !g.is_empty()).unwrap_or_default().to_owned();
        summary.spellings = spellings.into_iter().map(|(name, tags)| (name.to_owned(), owned(tags))).collect();
        summary.tags = owned(tags);
        summary.sources = owned(sources);
        (summary.instances.total > 0).then_some(summary)
    }

    /// The summary after a change at this index and time, keeping what it remembers of the past.
    pub(super) fn update(state: &State, service: &Name, index: u64, at_ms: u64) -> Option<Self> {
        let mut new = Self::compute(state.instances_of(service))?;
        let old = state.summaries.get(service);
        new.index = index;
        new.changed_at_ms = old.map_or(at_ms, |old| old.changed_at_ms);
        new.trace = old.map(|old| old.trace.clone()).unwrap_or_default();
        if old.is_none_or(|old| old.health != new.health) {
            new.changed_at_ms = at_ms;
            new.trace.push(TracePoint { at_ms, health: new.health });
            let hour = at_ms.saturating_sub(TRACE_MS);
            let old = new.trace.iter().skip(1).take_while(|point| point.at_ms <= hour).count();
            let over = new.trace.len().saturating_sub(TRACE_MAX);
            new.trace.drain(..old.max(over));
        }
        Some(new)
    }
}

fn sum(into: &mut Counts, more: &Counts) {
    into.total += more.total;
    into.passing += more.passing;
    into.warning += more.warning;
    into.critical += more.critical;
    into.maintenance += more.maintenance;
    into.none += more.none;
}
