//! The rows a state is written as, and what becomes of them when they are read.
//!
//! What is derived (counts, summaries' health) is not written but made again.

use std::{borrow::Cow, io, sync::Arc};

use serde::{Deserialize, Serialize};
use shared::{
    check::Check, health::Health, kv::Entry, node::Node, operator::AutopilotConfiguration, service::Service, service::TracePoint,
};

use super::damaged;
use crate::store::{
    history::Record,
    restore::Restoring,
    summary::Summary,
    tables::{Indexes, Instance, Name, NodeRecord, State, Tombstone, key, worst},
};

/// One row. Fields may be added, never renamed.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::store) enum Row<'a> {
    Head {
        index: u64,
        index_base: u64,
        indexes: Indexes,
        #[serde(default)]
        restored_at: u64,
    },
    Node {
        node: Cow<'a, Node>,
        #[serde(default)]
        changed_at_ms: u64,
    },
    Service {
        node: Cow<'a, str>,
        service: Cow<'a, Service>,
    },
    Check {
        node: Cow<'a, str>,
        check: Cow<'a, Check>,
    },
    Summary {
        service: Cow<'a, str>,
        index: u64,
        #[serde(default)]
        changed_at_ms: u64,
        #[serde(default)]
        trace: Cow<'a, [TracePoint]>,
    },
    Kv {
        entry: Cow<'a, Entry>,
    },
    Tombstone {
        key: Cow<'a, str>,
        tombstone: Tombstone,
    },
    History {
        record: Cow<'a, Record>,
    },
    Autopilot {
        configuration: Cow<'a, AutopilotConfiguration>,
    },
    Cluster {
        id: Cow<'a, str>,
    },
    /// What follows belongs to a restore under way.
    Restoring {
        id: Cow<'a, str>,
        next: u64,
        at_ms: u64,
        #[serde(default)]
        history_next: u64,
    },
    End {
        rows: u64,
        #[serde(default)]
        history_next: u64,
    },
}

impl Row<'_> {
    /// The table it belongs to, as operators know it.
    pub(super) fn table(&self) -> &'static str {
        match self {
            Self::Head { .. } | Self::Cluster { .. } | Self::Restoring { .. } | Self::End { .. } => "index",
            Self::Node { .. } => "nodes",
            Self::Service { .. } => "services",
            Self::Check { .. } => "checks",
            Self::Summary { .. } => "service-summaries",
            Self::Kv { .. } => "kv",
            Self::Tombstone { .. } => "tombstones",
            Self::History { .. } => "check-history",
            Self::Autopilot { .. } => "autopilot-config",
        }
    }
}

/// Every row of a state but the last one, in the order in which they are read again.
pub(super) fn each(state: &State, mut row: impl FnMut(&Row<'_>) -> io::Result<()>) -> io::Result<()> {
    tables(state, &mut row)?;
    if let Some(restoring) = &state.restoring {
        let history_next = restoring.state.history.next;
        row(&Row::Restoring { id: restoring.id.as_str().into(), next: restoring.next, at_ms: restoring.at_ms, history_next })?;
        tables(&restoring.state, &mut row)?;
    }
    Ok(())
}

fn tables(state: &State, row: &mut impl FnMut(&Row<'_>) -> io::Result<()>) -> io::Result<()> {
    let State { index, index_base, indexes, restored_at, .. } = *state;
    row(&Row::Head { index, index_base, indexes, restored_at })?;
    for record in state.nodes.values() {
        row(&Row::Node { node: Cow::Borrowed(&record.node), changed_at_ms: record.changed_at_ms })?;
    }
    for ((_, node, _), instance) in &state.instances {
        row(&Row::Service { node: Cow::Borrowed(node), service: Cow::Borrowed(&instance.service) })?;
    }
    for ((node, _), check) in &state.checks {
        row(&Row::Check { node: Cow::Borrowed(node), check: Cow::Borrowed(check) })?;
    }
    for (service, summary) in &state.summaries {
        let Summary { index, changed_at_ms, ref trace, .. } = **summary;
        row(&Row::Summary { service: Cow::Borrowed(service), index, changed_at_ms, trace: Cow::Borrowed(trace) })?;
    }
    for entry in state.kv.values() {
        row(&Row::Kv { entry: Cow::Borrowed(entry) })?;
    }
    for (key, tombstone) in &state.tombstones {
        row(&Row::Tombstone { key: Cow::Borrowed(key), tombstone: *tombstone })?;
    }
    for record in state.history.records.values() {
        row(&Row::History { record: Cow::Borrowed(record) })?;
    }
    if let Some(configuration) = &state.autopilot {
        row(&Row::Autopilot { configuration: Cow::Borrowed(configuration) })?;
    }
    if let Some(id) = &state.cluster {
        row(&Row::Cluster { id: Cow::Borrowed(id) })?;
    }
    Ok(())
}

/// Adds a row to the state it belongs to.
pub(in crate::store) fn insert(state: &mut State, row: Row<'_>) -> io::Result<()> {
    if let Row::Restoring { id, next, at_ms, history_next } = row {
        let mut under_way = State::default();
        under_way.history.next = history_next;
        state.restoring = Some(Arc::new(Restoring { id: id.into_owned(), next, at_ms, state: under_way }));
        return Ok(());
    }
    match row {
        Row::End { history_next, .. } => state.history.next = history_next,
        row => match state.restoring.as_mut() {
            Some(restoring) => add(&mut Arc::make_mut(restoring).state, row)?,
            None => add(state, row)?,
        },
    }
    Ok(())
}

fn add(state: &mut State, row: Row<'_>) -> io::Result<()> {
    match row {
        Row::Head { index, index_base, indexes, restored_at } => {
            (state.index, state.index_base, state.indexes, state.restored_at) = (index, index_base, indexes, restored_at);
        }
        Row::Node { node, changed_at_ms } => {
            let (name, node) = (key(&node.name), node.into_owned());
            if !node.id.is_empty() {
                state.node_ids.insert(key(&node.id), name.clone());
            }
            state.nodes.insert(name, NodeRecord { node: Arc::new(node), changed_at_ms, ..NodeRecord::default() });
        }
        Row::Service { node, service } => {
            let (node, id, name) = (Name::from(node), Name::from(service.id.as_str()), key(&service.name));
            state.nodes.get_mut(&node).ok_or_else(|| damaged("a service without its node"))?.services += 1;
            state.services.insert((node.clone(), id.clone()), name.clone());
            state.instances.insert((name, node, id), Instance { service: Arc::new(service.into_owned()), ..Instance::default() });
        }
        Row::Check { node, check } => {
            let (node, id) = (Name::from(node), Name::from(check.id.as_str()));
            let record = state.nodes.get_mut(&node).ok_or_else(|| damaged("a check without its node"))?;
            let health = Health::of_check(&check);
            record.checks.add(health);
            if check.service_id.is_empty() {
                record.own_checks.add(health);
            }
            state.checks_of.insert((node.clone(), Name::from(check.service_id.as_str()), id.clone()));
            state.checks.insert((node, id), Arc::new(check.into_owned()));
        }
        Row::Summary { service, index, changed_at_ms, trace } => {
            let summary = Summary { index, changed_at_ms, trace: trace.into_owned(), ..Summary::default() };
            state.summaries.insert(Name::from(service), Arc::new(summary));
        }
        Row::Kv { entry } => {
            state.kv.insert(Name::from(entry.key.as_str()), Arc::new(entry.into_owned()));
        }
        Row::Tombstone { key, tombstone } => {
            state.tombstones.insert(Name::from(key), tombstone);
        }
        Row::Autopilot { configuration } => state.autopilot = Some(Arc::new(configuration.into_owned())),
        Row::Cluster { id } => state.cluster = Some(Arc::from(id.into_owned())),
        Row::History { record } => {
            let at = (key(&record.node), Name::from(record.check_id.as_str()));
            for (seq, transition) in &record.transitions {
                state.history.order.insert(*seq, (at.0.clone(), at.1.clone(), transition.at_ms));
            }
            state.history.bytes += record.bytes();
            state.history.records.insert(at, Arc::new(record.into_owned()));
        }
        Row::Restoring { .. } => return Err(damaged("a restore within a restore")),
        Row::End { history_next, .. } => state.history.next = history_next,
    }
    Ok(())
}

/// Makes again what is derived from the tables.
pub(in crate::store) fn derive(state: &mut State) {
    let places: Vec<_> = state.instances.keys().cloned().collect();
    for at in places {
        let mut checks = state.nodes.get(&at.1).map(|record| record.own_checks).unwrap_or_default();
        state.checks_of(&at.1, &at.2).map(|check| Health::of_check(check)).for_each(|health| checks.add(health));
        if let Some(instance) = state.instances.get_mut(&at) {
            (instance.health, instance.checks) = (worst(&checks), checks);
        }
    }
    let kept: Vec<_> = state.summaries.iter().map(|(service, summary)| (service.clone(), summary.clone())).collect();
    for (service, old) in kept {
        match Summary::compute(state.instances_of(&service)) {
            Some(new) => {
                let new = Summary { index: old.index, changed_at_ms: old.changed_at_ms, trace: old.trace.clone(), ..new };
                state.summaries.insert(service, Arc::new(new));
            }
            None => {
                state.summaries.remove(&service);
            }
        }
    }
}
