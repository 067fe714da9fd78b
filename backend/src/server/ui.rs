//! The reads of Consul's own UI, and the first screen of ours.
//!
//! Contract: HTTP API, section Tier 3 and internal.

use std::collections::BTreeMap;

use shared::{
    health::{Counts, Health, ServiceNode},
    node::NodeDump,
    ui::{Group, Overview, Recent, ServiceSummary},
};

use super::{Call, health, list::by_name};
use crate::{
    rpc::{Answer, Error, UiNodes},
    store::{Instance, NodeRecord, State, Summary, watch::Key},
};

const HOUR_MS: u64 = 3_600_000;
/// Most transitions on the first screen.
const RECENT_MAX: usize = 20;

fn catalog_index(state: &State) -> u64 {
    state.indexes.nodes.max(state.indexes.services).max(state.indexes.checks)
}

pub(super) async fn nodes(call: Call<'_>, asked: UiNodes) -> Result<Answer<Vec<NodeDump>>, Error> {
    call.check_filter::<NodeDump>()?;
    let one = asked.node.as_str();
    let every = [Key::Nodes, Key::Services, Key::Checks];
    let keys = if one.is_empty() { &every[..] } else { &[Key::Node(one)][..] };
    call.read(keys, catalog_index, |state| {
        let wanted = |record: &&NodeRecord| call.wants_node(&record.node) && call.may_read_node(&record.node.name);
        let mut rows: Vec<_> = if one.is_empty() {
            state.nodes().filter(wanted).map(|record| dump(call, state, record)).collect()
        } else {
            state.node(one).into_iter().filter(wanted).map(|record| dump(call, state, record)).collect()
        };
        call.filter(&mut rows)?;
        Ok(rows)
    })
    .await
}

fn dump(call: Call<'_>, state: &State, record: &NodeRecord) -> NodeDump {
    let node = &record.node;
    let services = state.services_on(&node.name).filter(|instance| call.may_read_service(&instance.service.name));
    let readable = |name: &str| name.is_empty() || call.may_read_service(name);
    NodeDump {
        id: node.id.clone(),
        name: node.name.clone(),
        address: node.address.clone(),
        tagged_addresses: node.tagged_addresses.clone(),
        meta: node.meta.clone(),
        services: services.map(|instance| (*instance.service).clone()).collect(),
        checks: state.checks_on(&node.name).filter(|check| readable(&check.service_name)).map(|check| (**check).clone()).collect(),
    }
}

/// The filter expression looks at the instances, as rows of health/service.
pub(super) async fn services(call: Call<'_>) -> Result<Answer<Vec<ServiceSummary>>, Error> {
    call.check_filter::<ServiceNode>()?;
    call.read(&[Key::Services, Key::Checks, Key::Nodes], catalog_index, |state| {
        let readable = state.services().filter(|summary| call.may_read_service(&summary.name));
        Ok(readable.filter_map(|summary| summarize(call, state, summary)).collect())
    })
    .await
}

fn summarize(call: Call<'_>, state: &State, summary: &Summary) -> Option<ServiceSummary> {
    let wanted = |record: &NodeRecord, instance: &Instance| {
        let mut rows = vec![health::row(state, record, instance)];
        call.wants_node(&record.node) && call.filter(&mut rows).is_ok() && !rows.is_empty()
    };
    let all = state.instances_of(&summary.name);
    let instances: Vec<_> = all.filter(|(record, instance)| !call.is_narrowed() || wanted(record, instance)).collect();
    if instances.is_empty() {
        return None;
    }
    let count = |health: Health| instances.iter().map(|(_, instance)| instance.checks.of(health)).sum::<u32>();
    Some(ServiceSummary {
        kind: summary.kind.clone(),
        name: summary.name.clone(),
        datacenter: call.server.options.datacenter.clone(),
        tags: summary.tags.clone(),
        nodes: instances.iter().map(|(record, _)| record.node.name.clone()).collect(),
        instance_count: u32::try_from(instances.len()).unwrap_or(u32::MAX),
        checks_passing: count(Health::Passing),
        checks_warning: count(Health::Warning),
        // A maintenance check is a critical check to those who do not know maintenance.
        checks_critical: count(Health::Critical) + count(Health::Maintenance),
        external_sources: summary.sources.clone(),
        gateway_config: BTreeMap::new(),
        connected_with_proxy: false,
    })
}

pub(super) async fn overview(call: Call<'_>) -> Result<Answer<Overview>, Error> {
    let keys = [Key::Nodes, Key::Services, Key::Checks, Key::History, Key::KvPrefix("")];
    let index = |state: &State| catalog_index(state).max(state.indexes.kv).max(state.indexes.history);
    call.read(&keys, index, |state| Ok(build(call, state))).await
}

fn build(call: Call<'_>, state: &State) -> Overview {
    let now_ms = call.server.runtime.clock.wall_ms();
    let mut overview = Overview {
        keys: state.kv_len() as u64,
        changes_last_hour: state.history().count_since(now_ms.saturating_sub(HOUR_MS)),
        recent: recent(call, state),
        now_ms,
        ..Overview::default()
    };
    let mut groups: BTreeMap<&str, Vec<&Summary>> = BTreeMap::new();
    for summary in state.services().filter(|summary| call.may_read_service(&summary.name)) {
        overview.services.add(summary.health);
        sum(&mut overview.instances, &summary.instances);
        groups.entry(&summary.group).or_default().push(summary);
    }
    for record in state.nodes().filter(|record| call.may_read_node(&record.node.name)) {
        overview.nodes.add(record.health());
        sum(&mut overview.checks, &record.checks);
    }
    overview.groups = groups.into_iter().map(|(name, services)| group(name, services)).collect();
    overview
}

/// One mark a service, in name order; the worst are found by `named`.
fn group(name: &str, mut services: Vec<&Summary>) -> Group {
    services.sort_by(|a, b| by_name(&a.name, &b.name));
    let marks = services.iter().map(|summary| mark(summary.health)).collect();
    let mut failing: Vec<_> = (0_u32..).zip(&services).filter(|(_, summary)| summary.health > Health::Passing).collect();
    failing.sort_by_key(|(_, summary)| std::cmp::Reverse(summary.health));
    let named = failing.into_iter().map(|(at, summary)| (at, summary.name.clone())).collect();
    Group { name: name.to_owned(), marks, named }
}

fn mark(health: Health) -> char {
    match health {
        Health::Passing => 'p',
        Health::Warning => 'w',
        Health::Critical => 'c',
        Health::Maintenance => 'm',
        Health::None => 'n',
    }
}

fn recent(call: Call<'_>, state: &State) -> Vec<Recent> {
    let readable = |name: &str| name.is_empty() || call.may_read_service(name);
    let newest = state.history().newest().filter(|(record, _)| call.may_read_node(&record.node) && readable(&record.service_name));
    let row = |(record, transition): (&std::sync::Arc<crate::store::Record>, &shared::check::Transition)| Recent {
        node: record.node.clone(),
        check_id: record.check_id.clone(),
        check_name: record.check_name.clone(),
        service_name: record.service_name.clone(),
        transition: transition.clone(),
    };
    newest.take(RECENT_MAX).map(row).collect()
}

fn sum(into: &mut Counts, more: &Counts) {
    into.total += more.total;
    into.passing += more.passing;
    into.warning += more.warning;
    into.critical += more.critical;
    into.maintenance += more.maintenance;
    into.none += more.none;
}
